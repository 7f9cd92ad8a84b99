"""How a DSN reaches Postgres: over TLS, and verified, unless it says otherwise itself.

asyncpg and libpq take what the DSN says, and without a word of it try TLS and trust anybody. Every
connection of ours goes through `verified`.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit, urlunsplit

from services.runtime.errors import ConfigurationError
from services.runtime.hosts import is_loopback, is_port

_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_VERIFIED: Final = ("verify-ca", "verify-full")
_SYSTEM: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where distributions keep the authorities that they trust, in one file: libpq 15 needs one."""


def verified(dsn: str) -> str:
    """Return `dsn` with what it leaves open about TLS: verify-full, and the system's authorities.

    A DSN that names a weaker `sslmode` is left as it is, and so is one to this machine.

    Raises:
        ConfigurationError: it is no DSN, its sslmode is none, or there are no authorities.
    """
    form = "write it as postgresql://user:password@host:port/database"
    try:
        parts = urlsplit(dsn)
    except ValueError:
        raise ConfigurationError(form) from None
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ConfigurationError(form)
    if any(not is_port(each) for each in _ports(parts)):
        message = f"{form}, the port from 1 to 65535"
        raise ConfigurationError(message)
    mode, authority = _asked(parts.query)
    if mode is not None and mode not in _MODES:
        message = f"sslmode is one of {', '.join(_MODES)}"
        raise ConfigurationError(message)
    if mode is None and authority is None and is_local(dsn):
        return dsn
    added = []
    if mode is None:
        added.append("sslmode=verify-full")
    if authority in {None, "system"} and (mode is None or mode in _VERIFIED):
        added.append(f"sslrootcert={quote(str(_system_authorities()), safe='/')}")
    return urlunsplit(parts._replace(query="&".join([*filter(None, [parts.query]), *added])))


def weakness(dsn: str) -> str | None:
    """Return what is weak about a connection over a network; None when it is verified or local."""
    mode, _ = _asked(urlsplit(dsn).query)
    if mode is None or mode == "verify-full" or is_local(dsn):
        return None
    return f"sslmode={mode}: who answers as Postgres is not proven; leave sslmode out"


def refusal(error: BaseException) -> str | None:
    """Return in words why TLS to Postgres did not come about; None for any other error."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of Postgres is not trusted ({error.verify_message}): name the "
            "authority that signed it, `?sslrootcert=FILE` in the DSN"
        )
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return (
            "Postgres speaks no TLS: switch it on there (ssl = on); where the network between is "
            "trusted, `?sslmode=disable` in the DSN does without"
        )
    return None


def is_local(dsn: str) -> bool:
    """Return whether every host of `dsn` is this machine: a loopback address or a socket."""
    return all(is_loopback(host) for host in _hosts(dsn))


def _ports(parts: SplitResult) -> Iterator[str]:
    for each in parts.netloc.rpartition("@")[2].split(","):
        _, separator, port = each.rpartition("]")[2].rpartition(":")
        if separator and port:
            yield unquote(port)
    for named in parse_qs(parts.query).get("port", []):
        yield from filter(None, named.split(","))


def _hosts(dsn: str) -> Iterator[str]:
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    # As asyncpg cuts it: at the first @.
    _, _, after = parts.netloc.partition("@")
    named = [after if "@" in parts.netloc else parts.netloc]
    named += query.get("host", []) + query.get("hostaddr", [])
    named = [each for each in named if each]
    if not named and ("service" in query or os.environ.get("PGSERVICE")):
        yield "(of a service file)"
    for hosts in named or [os.environ.get("PGHOST", "")]:
        for each in hosts.split(","):
            yield unquote(_without_port(each))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


def _asked(query: str) -> tuple[str | None, str | None]:
    """Return the mode and the file of authorities that the DSN, else the environment, names."""
    said = parse_qs(query)
    mode = said.get("sslmode", [os.environ.get("PGSSLMODE")])[-1]
    return mode or None, said.get("sslrootcert", [os.environ.get("PGSSLROOTCERT")])[-1] or None


def _system_authorities() -> Path:
    found = ssl.get_default_verify_paths().cafile
    for path in ([found] if found else []) + list(_SYSTEM):
        if Path(path).is_file():
            return Path(path)
    message = (
        "this machine has no file of certificate authorities: install ca-certificates, or name one "
        "with `?sslrootcert=FILE` in the DSN"
    )
    raise ConfigurationError(message)
