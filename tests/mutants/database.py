"""A Postgres server for the tests that judge, as `python -m tests.mutants.database`.

A process of its own runs it: who judges imports nothing of the code, and reads the DSN.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_NOBODY: Final = "127.0.0.1:1"
"""No broker: a test that needs one fails in the run without a bug."""


@contextmanager
def database() -> Iterator[None]:
    """Name a new server in the environment, as `PERENNIAL_TEST_INFRA=external` has it."""
    command = [sys.executable, "-m", "tests.mutants.database"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        os.environ["PERENNIAL_TEST_INFRA"] = "external"
        os.environ["PERENNIAL_TEST_ADMIN_DSN"] = server.stdout.readline().strip()
        os.environ["PERENNIAL_TEST_BOOTSTRAP_SERVERS"] = _NOBODY
        yield
        server.stdin.close()


def _serve() -> None:
    """Run a server until standard input ends."""
    from deploy.local.ports import choose_ports  # noqa: PLC0415 - of the code, see above
    from deploy.local.processes import Processes  # noqa: PLC0415
    from deploy.local.servers.postgres import PostgresServer  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        processes = Processes(folder)
        try:
            port = choose_ports(folder / "ports", ["postgres"])["postgres"]
            server = PostgresServer(folder, port, "secret", processes)
            server.start()
            print(server.admin_dsn, flush=True)
            sys.stdin.read()
        finally:
            processes.close()


if __name__ == "__main__":
    _serve()
