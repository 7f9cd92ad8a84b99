"""`python -m deploy.demo.generate` writes requests.jsonl and manifest.json; `--check` compares."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from deploy.demo.expected.records import to_line
from deploy.demo.expected.scenarios import CUSTOMERS, Story, rows, tell
from deploy.demo.publish import MANIFEST_FILE, REQUESTS_FILE

_INDENT: Final = 2


def contents() -> dict[Path, str]:
    """Return the text of both files, the same on every machine."""
    story = tell(rows())
    lines = "".join(f"{to_line(record)}\n" for record in story.records)
    return {REQUESTS_FILE: lines, MANIFEST_FILE: f"{_written(manifest(story))}\n"}


def manifest(story: Story) -> dict[str, Any]:
    """Return what was sent and everything that must come of it."""
    customers = CUSTOMERS.values()
    accounts = {customer.account_id.encode() for customer in customers}
    phases = Counter(record.phase for record in story.records)
    sent = {
        "requests": len(story.records),
        "requests_by_phase": {str(phase): count for phase, count in sorted(phases.items())},
        "accounts": len({record.key for record in story.records} & accounts),
        "locales": sorted({customer.contact["locale"] for customer in customers}),
        "currencies": sorted({customer.currency for customer in customers}),
    }
    return {"sent": sent, **story.expected.as_json()}


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or say which of them differ."""
    parser = argparse.ArgumentParser(prog="deploy.demo.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    options = parser.parse_args(arguments)
    wanted = contents()
    stale = [path for path, text in wanted.items() if not _holds(path, text)]
    if options.check:
        for path in stale:
            print(f"{path.name} is not up to date: run `python -m deploy.demo.generate`")
        return 1 if stale else 0
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8", newline="\n")
    return 0


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_bytes() == text.encode()


def _written(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=_INDENT)


if __name__ == "__main__":
    sys.exit(main())
