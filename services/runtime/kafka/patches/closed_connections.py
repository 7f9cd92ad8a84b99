"""Lets aiokafka see that a connection is closed, under uvloop as under asyncio.

A write to a connection that the broker has just closed raises RuntimeError in uvloop. aiokafka (0.14)
expects OSError only (aio-libs/aiokafka#1038), so the task that writes ends: the one that refreshes the
metadata, for example, and with it the client waits for good. Waits for that issue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka import conn
from aiokafka.errors import KafkaConnectionError


def expect_closed_connections() -> None:
    """Have every client of this process take a closed connection for a broken one."""
    conn.AIOKafkaConnection = Connection


class Connection(conn.AIOKafkaConnection):  # type: ignore[misc]
    """A connection whose writes fail with KafkaError alone."""

    def send(self, request: Any, expect_response: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002 - aiokafka's
        """Send `request`, and return what awaits its answer.

        Raises:
            KafkaConnectionError: the connection is closed.
        """
        return self._written(super().send, request, expect_response)

    def _send_sasl_token(self, payload: Any, expect_response: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002 - as above
        return self._written(super()._send_sasl_token, payload, expect_response)

    def _written(self, write: Callable[..., Any], *what: Any) -> Any:  # noqa: ANN401 - as above
        try:
            return write(*what)
        except RuntimeError as error:
            self.close(reason=conn.CloseReason.CONNECTION_BROKEN)
            message = f"Connection at {self.host}:{self.port} broken: {error}"
            raise KafkaConnectionError(message) from error
