"""No page, help text or script shows a secret on a command line, where `ps` and histories keep it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from services.cli.app import Commands

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "services").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.sh"),
        *(ROOT / "deploy" / "images").rglob("Dockerfile"),
        ROOT / "Makefile",
    ]
)
SHOWN = (
    # A DSN with a password in it; the form of one in a sentence has no place for a real one.
    re.compile(r"postgres(?:ql)?://(?!user:password@)[^\s:/@`]+:[^\s@`]+@"),
    # A variable with a secret, expanded or set in a command.
    re.compile(r"\$\{?PERENNIAL_\w*(?:DSN|PASSWORD|TOKEN|SALT|KEY)\}?(?!_FILE)\b"),
    re.compile(r"\bPERENNIAL_\w*(?:_DSN|_PASSWORD|_TOKEN|_SALT|_KEY)=\S"),
    re.compile(r"\bPGPASSWORD=\S|sasl\.password=|--(?:admin-dsn|dsn|password|token)\b"),
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_shows_a_secret_in_a_command(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = [found.group() for pattern in SHOWN for found in pattern.finditer(text)]
    assert shown == []


def test_no_option_of_a_command_takes_a_secret() -> None:
    commands: list[Any] = list(Commands.load_all().values())
    assert len(commands) == len(Commands.entries)
    options: set[str] = set()
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        options |= {name for each in command.params for name in each.opts}
    secret = {name for name in options if re.search(r"dsn|password|token|secret|salt", name)}
    assert secret == set()
