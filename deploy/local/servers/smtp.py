"""An SMTP server that keeps messages as files: `python -m deploy.local.servers.smtp PORT FOLDER`."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.local.ports import HOST

_MESSAGE_BYTES_MAX = 10_000_000


class MailFolder:
    """Files each accepted message as `<number>.eml`, numbered in the order of arrival."""

    def __init__(self, folder: Path) -> None:
        """File into `folder`, after what is there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._numbers = itertools.count(1 + max(map(_number, folder.glob("*.eml")), default=0))

    async def handle_DATA(  # noqa: N802 - the name that aiosmtpd calls
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Accept a message once it is on disk."""
        content = envelope.original_content or b""
        path = self._folder / f"{next(self._numbers):06d}.eml"
        partial = path.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(path)
        return "250 OK"


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdecimal() else 0


def main() -> None:
    """Serve until a signal."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    stopped = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stopped.set())
    server = Controller(
        MailFolder(folder), hostname=HOST, port=port, data_size_limit=_MESSAGE_BYTES_MAX
    )
    server.start()
    stopped.wait()
    server.stop()


if __name__ == "__main__":
    main()
