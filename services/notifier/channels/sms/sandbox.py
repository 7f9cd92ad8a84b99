"""An aggregator that sends nothing: each message is a file, and the number says what becomes of it."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Final

from schemas.envelope import utc_text
from schemas.notifier import UndeliveredReason
from services.notifier.channels.sms.channel import (
    NoSuchMessage,
    OutgoingSms,
    Status,
)
from services.notifier.notification.outcomes import (
    Arrived,
    Delivered,
    DeliveryOutcome,
    Lost,
    Refused,
    Unknown,
)

REFUSED: Final = "9001"
UNDELIVERABLE: Final = "9002"
ANSWER_LOST: Final = "9003"
"""What a number ends with that is refused, that cannot be reached, whose answer is lost."""


class SandboxSms:
    """`SmsChannel` on a folder: `<message_id>.json` each."""

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        """Make the folder where there is none."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._clock = clock

    async def send(self, sms: OutgoingSms) -> DeliveryOutcome:
        """Write the message, once under its id."""
        if sms.recipient.endswith(REFUSED):
            return Refused("recipient")
        await asyncio.to_thread(self._write, sms)
        return Unknown() if sms.recipient.endswith(ANSWER_LOST) else Delivered()

    async def look_up(self, message_id: str) -> Status:
        """Read the file."""
        path = self._folder / f"{message_id}.json"
        try:
            kept = json.loads(await asyncio.to_thread(path.read_text, "utf-8"))
        except FileNotFoundError:
            return NoSuchMessage()
        at = datetime.fromisoformat(kept["accepted_at"])
        if kept["recipient"].endswith(UNDELIVERABLE):
            return Lost(UndeliveredReason.UNDELIVERABLE, at)
        return Arrived(at)

    async def close(self) -> None:
        """Hold nothing, so give up nothing."""

    def _write(self, sms: OutgoingSms) -> None:
        kept = {**asdict(sms), "accepted_at": utc_text(self._clock())}
        with tempfile.NamedTemporaryFile(
            "w", dir=self._folder, encoding="utf-8", delete=False
        ) as file:
            json.dump(kept, file, ensure_ascii=False, indent=1)
        try:
            os.link(file.name, self._folder / f"{sms.message_id}.json")
        except FileExistsError:
            return  # it was sent before
        finally:
            Path(file.name).unlink()
