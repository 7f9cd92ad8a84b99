"""Opens Stripe's SDK over our own bounded HTTP, and keeps it from writing tokens into a log."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Final

import httpx
import stripe
from pydantic import SecretStr

from services.runtime.errors import ConfigurationError
from services.runtime.http_access import send

ANSWER_BYTES_MAX: Final = 2 * 1024 * 1024
"""A page of a hundred PaymentIntents has a quarter of a megabyte."""


class BoundedClient(stripe.HTTPClient):
    """The SDK's HTTP: no redirects, no proxy of the environment, and an end to every answer."""

    name = "httpx"

    def __init__(self, client: httpx.AsyncClient) -> None:
        """Use `client`, which its owner closes."""
        super().__init__()
        self._client = client

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Ask once.

        Raises:
            stripe.APIConnectionError: there is no answer; its cause is the `httpx.RequestError`.
        """
        try:
            request = self._client.build_request(
                method, url, content=post_data, headers=dict(headers)
            )
            answer = await send(self._client, request, bytes_max=ANSWER_BYTES_MAX)
        except httpx.RequestError as error:
            name = type(error).__name__
            raise stripe.APIConnectionError(name) from error  # type: ignore[no-untyped-call]
        return answer.body, answer.status, {}


def open_client(
    http: httpx.AsyncClient, api_key: SecretStr | None, url: str
) -> stripe.StripeClient:
    """Return the SDK's client: it asks once, and what it does not know for sure we look up.

    Raises:
        ConfigurationError: the SDK was told to write requests to standard error.
    """
    if os.environ.get("STRIPE_LOG"):
        message = "unset STRIPE_LOG: the SDK would write tokens to standard error"
        raise ConfigurationError(message)
    logging.getLogger("stripe").setLevel(logging.WARNING)
    stripe.enable_telemetry = False
    return stripe.StripeClient(
        api_key.get_secret_value() if api_key else "",
        base_addresses={"api": url},
        http_client=BoundedClient(http),
        max_network_retries=0,
    )
