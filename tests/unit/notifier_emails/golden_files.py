"""The emails as reviewed, in `golden/`. After an intended change write them anew, and read the diff:

.venv/bin/python -m tests.unit.notifier_emails.golden_files
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

from services.notifier.channels.email.texts import render, wording
from services.notifier.channels.email.texts.wording import WORDING
from services.notifier.notification.templates import TEMPLATE_OF
from tests.unit.notifier_emails.facts import EVERY_CASE, EVERY_FACT, HOUSE, LOCALES, contact

FOLDER: Final = Path(__file__).parent / "golden"
_EMAILS: Final = Path(wording.__file__).parent


def golden_emails() -> dict[str, str]:
    """Return what each file must hold: the text of all emails, the HTML of one for each template."""
    files = {}
    for event, locale in EVERY_CASE:
        email = render(event, contact(locale), (), HOUSE)
        files[f"{email.template}.{locale}.txt"] = f"Subject: {email.subject}\n\n{email.text}"
    for number, event in enumerate(EVERY_FACT):
        locale = LOCALES[number % len(LOCALES)]
        email = render(event, contact(locale), (), HOUSE)
        files[f"{email.template}.{locale}.html"] = email.html
    return files


def fingerprint(template: str) -> str:
    """Return the digest of the words and layouts that `template` is made of."""
    layouts = [path.read_text(encoding="utf-8") for path in sorted(_EMAILS.glob("layouts/*"))]
    words = [_words_of(template, locale) for locale in LOCALES]
    return hashlib.sha256(json.dumps([layouts, words], sort_keys=True).encode()).hexdigest()


def _words_of(template: str, locale: str) -> dict[str, Any]:
    others = set(TEMPLATE_OF.values()) - {template}
    if template != "payment_failed":
        others |= {"reasons", "wallet_insufficient_funds"}
    return WORDING[locale].model_dump(mode="json", exclude=others)


def write() -> None:
    """Write every golden file and fingerprint; versions stay the author's to raise."""
    for name, text in golden_emails().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    path = _EMAILS / "versions.toml"
    versions = path.read_text(encoding="utf-8")
    for template in TEMPLATE_OF.values():
        table = rf'(\[{template}\]\nversion = ".*"\nfingerprint = )".*"'
        versions = re.sub(table, rf'\g<1>"{fingerprint(template)}"', versions)
    path.write_text(versions, encoding="utf-8")


if __name__ == "__main__":
    write()
