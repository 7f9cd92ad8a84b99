"""Values that many tests share: moments, settings for a test database, small builders."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from services.runtime.settings import RuntimeSettings

T0: Final = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def dsn_for(admin_dsn: str, role: str) -> str:
    """Return `admin_dsn` with its user and password replaced by `role` (user:password)."""
    parts = urlsplit(admin_dsn)
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}@{address}"))


def settings_for(
    admin_dsn: str, *, role: str, bootstrap_servers: str = "127.0.0.1:1"
) -> RuntimeSettings:
    """Return the least settings that a service role needs to work on a test database."""
    return RuntimeSettings(
        postgres_dsn=SecretStr(dsn_for(admin_dsn, role)), bootstrap_servers=bootstrap_servers
    )
