"""Free TCP ports on the loopback interface, the same ones again where possible."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from deploy.local.errors import StackError

HOST: Final = "127.0.0.1"
# Below the range that Linux and macOS take the ports of outgoing connections from.
_LOWEST, _HIGHEST = 20_000, 32_000
_ATTEMPTS: Final = 1_000
_RANDOM: Final = random.SystemRandom()
# What this process chose: nothing may listen on it yet, and the next choice must be another.
_CHOSEN: Final[set[int]] = set()
_part = (0, 1)


def choose_from_part(number: int, parts: int) -> None:
    """Choose from one of equal parts of the range from now on.

    Processes that choose at the same time then never choose the same port.
    """
    global _part  # noqa: PLW0603 - it belongs to the process, as the ports do
    _part = (number, parts)


def choose_ports(file: Path, names: Iterable[str]) -> dict[str, int]:
    """Return a free port for each name and remember them in `file`; those in it come first.

    Raises:
        StackError: no port is free.
    """
    remembered = json.loads(file.read_text()) if file.is_file() else {}
    chosen: dict[str, int] = {}
    for name in names:
        port = remembered.get(name)
        if port is None or port in chosen.values() or not _is_free(port):
            port = _free_port()
        _CHOSEN.add(port)
        chosen[name] = port
    file.write_text(json.dumps(chosen))
    return chosen


def _free_port() -> int:
    number, parts = _part
    size = (_HIGHEST - _LOWEST) // parts
    lowest = _LOWEST + number * size
    for _ in range(_ATTEMPTS):
        port = _RANDOM.randrange(lowest, lowest + size)
        if port not in _CHOSEN and _is_free(port):
            return port
    message = f"no free port from {lowest} to {lowest + size - 1} on {HOST}: stop what holds them"
    raise StackError(message)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def is_open(port: int) -> bool:
    """Return whether something listens on `port`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
