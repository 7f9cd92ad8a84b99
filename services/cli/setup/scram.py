"""What Postgres stores of a password, made here: the password itself never reaches the server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

from services.runtime.errors import ConfigurationError

ITERATIONS: Final = 4096
"""Postgres's own default; the passwords are long and random, so more would not help."""
_SALT_BYTES: Final = 16


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """Return `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>` (RFC 5803, RFC 7677).

    Printable ASCII is what SASLprep (RFC 4013) leaves as it is, so that every client means the
    same password.

    Raises:
        ConfigurationError: the password is empty or has another character.
    """
    if not password or not password.isascii() or not password.isprintable():
        message = "a password must be printable ASCII and not empty, such as `openssl rand -hex 24`"
        raise ConfigurationError(message)
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${_text(stored_key)}:{_text(server_key)}"


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
