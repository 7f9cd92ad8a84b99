"""Which hosts are this machine: what goes to them crosses no network."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

_HOST: Final = re.compile(r"[^\s/@\[\]:,]+|\[[0-9A-Fa-f:.%]+\]")
_PORT_MAX: Final = 65_535


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine: empty, a socket, or an address or name of it."""
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_port(text: str) -> bool:
    """Return whether `text` is a number of a TCP port that something can listen on."""
    return text.isascii() and text.isdigit() and 0 < int(text[:6]) <= _PORT_MAX


def is_address(text: str) -> bool:
    """Return whether `text` is a host, or host:port; an IPv6 address stands in brackets."""
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        return _HOST.fullmatch(text) is not None
    return _HOST.fullmatch(host) is not None and is_port(port)
