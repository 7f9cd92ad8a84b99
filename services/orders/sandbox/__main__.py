"""`python -m services.orders.sandbox`: the sandbox gateway and provider as one HTTP server."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from services.orders.ports import sandbox_ports
from services.orders.sandbox.server import sandbox_app


def _clock() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="services.orders.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal-folder", type=Path, required=True)
    parser.add_argument("--timeout-seconds", type=float, default=30.0)
    parser.add_argument("--slow-seconds", type=float, default=2.0)
    options = parser.parse_args()
    with sandbox_ports(
        options.journal_folder, _clock, options.timeout_seconds, options.slow_seconds
    ) as ports:
        app = sandbox_app(ports.gateway, ports.provider)
        uvicorn.run(app, host=options.host, port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
