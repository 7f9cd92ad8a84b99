"""The kinds of failure that decide what happens to a record. Their messages say what to do next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MALFORMED: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What taking JSON apart raises that is none, is nested too deep, or has another form than ours."""


class PerennialError(Exception):
    """Everything that this project raises on purpose."""


class Transient(PerennialError):
    """The world is unwell: roll back, wait, try the same records again."""


class VersionConflict(Transient):
    """Another writer appended to the stream first: decide again on what is there now."""


class Poison(PerennialError):
    """This record can never be right: dead-letter it. `reason` is a short stable code."""

    def __init__(self, reason: str, message: str | Callable[[], str]) -> None:
        """Keep the `reason` (at most 64 characters, no personal data) beside the `message`.

        A message that costs more than the refusal is a function: most of a flood is never told.
        """
        super().__init__(message)
        self.reason = reason
        self._message = message

    def __str__(self) -> str:
        return self._message if isinstance(self._message, str) else self._message()


class SettlementRefused(PerennialError):
    """What a person says of an effect is none of what it can be, or is contradicted: say what is."""


class Park(PerennialError):
    """Going on with one shard would make the books wrong: it waits for a person, the others go on.

    `record` is the consumed record it came of, as soon as somebody knows.
    """

    def __init__(self, reason: str, message: str) -> None:
        """Keep the `reason` (a short stable code) beside the `message`, which says what to do."""
        super().__init__(message)
        self.reason = reason
        self.record: object | None = None


class Halt(PerennialError):
    """Going on would be wrong for every shard: stop the process, change nothing, say what to do."""


class Stuck(PerennialError):
    """The process is alive and no longer moves: end it, and start it again."""


class ConfigurationError(PerennialError):
    """The process cannot start as configured."""
