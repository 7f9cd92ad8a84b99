"""The texts as reviewed, in `golden/`. After an intended change write them anew, and read the diff:

.venv/bin/python -m tests.unit.notifier_sms.sms_files
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Final

from services.notifier.channels.sms.segments import segments_of
from services.notifier.channels.sms.texts import render, wording
from services.notifier.channels.sms.texts.wording import WORDING
from services.notifier.notification.templates import TEMPLATE_OF
from tests.unit.notifier_emails.facts import EVERY_CASE, LOCALES, contact

GOLDEN: Final = Path(__file__).parent / "golden" / "sms.txt"
_TEXTS: Final = Path(wording.__file__).parent


def golden_texts() -> str:
    """Return every text, and how many segments of which encoding it takes."""
    lines = []
    for event, locale in EVERY_CASE:
        text = render(event, contact(locale)).text
        segments = segments_of(text)
        lines.append(
            f"{TEMPLATE_OF[type(event)]} {locale} {segments.encoding} {segments.count}: {text}\n"
        )
    return "".join(lines)


def fingerprint(template: str) -> str:
    """Return the digest of the words that `template` is made of."""
    others = set(TEMPLATE_OF.values()) - {template}
    words = [
        WORDING[locale].model_dump(mode="json", exclude={"messages": others}) for locale in LOCALES
    ]
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def write() -> None:
    """Write the golden file and every fingerprint; versions stay the author's to raise."""
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(golden_texts(), encoding="utf-8")
    path = _TEXTS / "versions.toml"
    versions = path.read_text(encoding="utf-8")
    for template in TEMPLATE_OF.values():
        table = rf'(\[{template}\]\nversion = ".*"\nfingerprint = )".*"'
        versions = re.sub(table, rf'\g<1>"{fingerprint(template)}"', versions)
    path.write_text(versions, encoding="utf-8")


if __name__ == "__main__":
    write()
