"""TLS in front of a real Postgres: the server of the wheel is built without it.

It answers the request for TLS as Postgres does (protocol 53.2.10), shows a certificate, and passes
on what it decrypts.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import trustme

REMOTE: Final = "127.1"
"""Resolves to the loopback, and is not written as one: what is said of other machines holds."""
_REQUEST_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class TlsPostgres:
    """Where it listens, and the authority to trust."""

    port: int
    ca_file: Path

    def dsn(self, plain: str, *, query: str = "", host: str = REMOTE) -> str:
        """Return `plain` as it is written to go through here."""
        return at(plain, f"{host}:{self.port}", query)


def at(dsn: str, address: str, query: str = "") -> str:
    """Return `dsn` with another address and query."""
    parts = urlsplit(dsn)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@{address}", query=query))


@contextmanager
def tls_postgres(folder: Path, dsn: str) -> Iterator[TlsPostgres]:
    """Yield TLS in front of the server of `dsn`, with a certificate for `REMOTE`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "postgres-ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(REMOTE).configure_cert(context)
    parts = urlsplit(dsn)
    server = (parts.hostname or "127.0.0.1", parts.port or 5432)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context, server), daemon=True).start()
        yield TlsPostgres(listener.getsockname()[1], folder / "postgres-ca.pem")


def _accept(listener: socket.socket, context: ssl.SSLContext, server: tuple[str, int]) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, context, server), daemon=True).start()


def _serve(client: socket.socket, context: ssl.SSLContext, server: tuple[str, int]) -> None:
    with suppress(OSError), client:
        client.recv(_REQUEST_BYTES, socket.MSG_WAITALL)
        client.sendall(b"S")
        with (
            context.wrap_socket(client, server_side=True) as secure,
            socket.create_connection(server) as plain,
        ):
            back = threading.Thread(target=_pass_on, args=(plain, secure), daemon=True)
            back.start()
            _pass_on(secure, plain)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
