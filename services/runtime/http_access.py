"""How others are reached over HTTP: where, with which credentials, how safely."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import httpx
from pydantic import AfterValidator, SecretStr

from services.runtime.errors import ConfigurationError
from services.runtime.hosts import is_loopback

ANSWER_BYTES_MAX: Final = 64 * 1024
"""No answer of the contract comes near it."""
_BEYOND_TIMEOUT: Final = 2
"""How often the time-out for the next sign of life an answer may take in all."""
_JSON: Final = {"content-type": "application/json"}


def _http_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = "write it as https://host/path"
        raise ValueError(message)
    if "@" in parts.netloc or parts.query or parts.fragment:
        message = "give credentials by _TOKEN_FILE, or _USERNAME and _PASSWORD_FILE, not in the URL"
        raise ValueError(message)
    return value


HttpAddress = Annotated[str, AfterValidator(_http_address)]


def is_private(url: str) -> bool:
    """Return whether traffic to `url` is safe from being read or changed on the way."""
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "?")


@dataclass(frozen=True, slots=True)
class HttpAccess:
    """An address and what proves who we are: a token, or a name and a password, or nothing."""

    url: str | None
    token: SecretStr | None
    username: str | None
    password: SecretStr | None


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back: the body says the outcome, and the status must not say otherwise."""

    status: int
    body: bytes

    @property
    def reports_success(self) -> bool:
        """Whether the status goes with something that was done: no error reports that."""
        return self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def reports_answer(self) -> bool:
        """Whether the status goes with a plain no: neither a redirect nor a failure of the server."""
        redirects = HTTPStatus.MULTIPLE_CHOICES <= self.status < HTTPStatus.BAD_REQUEST
        return self.status < HTTPStatus.INTERNAL_SERVER_ERROR and not redirects


def http_client(
    access: HttpAccess,
    *,
    ca_file: Path | None,
    ca_setting: str = "the file of certificate authorities",
    timeout_seconds: float,
    connections_max: int,
) -> httpx.AsyncClient:
    """Return a client for `access`. It follows no redirect, so that credentials go nowhere else.

    `ca_setting` is what an error calls `ca_file`: the variable that names it.

    Raises:
        ConfigurationError: `ca_file` cannot be used.
    """
    headers = {}
    if access.token is not None:
        headers["authorization"] = f"Bearer {access.token.get_secret_value()}"
    basic = None
    if access.username is not None and access.password is not None:
        basic = httpx.BasicAuth(access.username, access.password.get_secret_value())
    return httpx.AsyncClient(
        base_url=access.url or "",
        headers=headers,
        auth=basic,
        verify=True if ca_file is None else _trusting(ca_file, ca_setting),
        timeout=httpx.Timeout(timeout_seconds),
        limits=httpx.Limits(max_connections=connections_max),
        follow_redirects=False,
        trust_env=False,
    )


def _trusting(ca_file: Path, ca_setting: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        message = (
            f"{ca_setting} cannot be used ({type(error).__name__}): "
            "name a PEM file of certificate authorities"
        )
        raise ConfigurationError(message) from None


async def exchange(
    client: httpx.AsyncClient, method: str, path: str, content: str | None = None
) -> HttpAnswer:
    """Ask for JSON as `send` does."""
    return await send(client, client.build_request(method, path, content=content, headers=_JSON))


async def send(
    client: httpx.AsyncClient, request: httpx.Request, *, bytes_max: int = ANSWER_BYTES_MAX
) -> HttpAnswer:
    """Ask, and read a whole answer of at most `bytes_max` in a bounded time.

    Raises:
        httpx.RequestError: there is none; a `ConnectError` or `ConnectTimeout` when nothing was
            sent, and a `TimeoutException` when the time was up.
    """
    seconds = client.timeout.read or 0
    request.headers["accept-encoding"] = "identity"
    try:
        async with asyncio.timeout(_BEYOND_TIMEOUT * seconds):
            response = await client.send(request, stream=True)
            try:
                return HttpAnswer(response.status_code, await _body(response, bytes_max))
            finally:
                await response.aclose()
    except TimeoutError:
        message = "the answer took too long"
        raise httpx.ReadTimeout(message, request=request) from None


async def _body(response: httpx.Response, bytes_max: int) -> bytes:
    """Return the body as it came: what is compressed or larger than any answer is not read."""
    if response.headers.get("content-encoding", "identity") != "identity":
        message = "the answer is compressed although nobody asked for that"
        raise httpx.DecodingError(message)
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > bytes_max:
            message = f"the answer has more than {bytes_max} bytes"
            raise httpx.DecodingError(message)
    return bytes(body)
