"""Compares what a run left behind with the manifest, from topics, databases, mail and commands."""

from __future__ import annotations

import email
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path
from typing import Any, Final

from deploy.demo.expected.comparison import books_seen, compare_books, kinds_of_messages
from deploy.demo.expected.outcomes import Counts, nested
from deploy.demo.result import DemoCheck, DemoMail, DemoResult, Moment
from deploy.local.processes import ROOT
from deploy.local.services import SERVICES, LocalAddresses
from schemas.access import OPERATOR
from schemas.money import exponent_of

_SHOWN_MAILS: Final = 18
_COMMAND_SECONDS: Final = 120
_GATEWAYS: Final = "Assets:Gateway:"
_UNCHECKED: Final = {"name": "any check", "ok": False, "compared": "nothing"}


def find_mails(
    result: DemoResult, folder: Path, notifications: Mapping[str, tuple[str, str]]
) -> Counts:
    """Read the accepted messages; count them by (template, locale) and keep one of each to show.

    A message that no NotificationSent speaks of, or that came twice, counts as `unexplained`.
    """
    files = sorted(folder.glob("*.eml"))
    kinds = kinds_of_messages(
        "email", (str(_message(file)["Message-ID"]) for file in files), notifications
    )
    shown: dict[tuple[str, str], DemoMail] = {}
    for kind, file in zip(kinds, files, strict=True):
        if kind not in shown:
            shown[kind] = _mail(file, kind[0].removesuffix(" by email"), kind[1])
    result.mails = [shown[kind] for kind in sorted(shown)][:_SHOWN_MAILS]
    result.mail_count = len(kinds)
    result.mail_folder = folder
    return Counter(kinds)


def find_sms(
    result: DemoResult, folder: Path, notifications: Mapping[str, tuple[str, str]]
) -> Counts:
    """Count the accepted SMS by (template, locale), as `find_mails` does."""
    kinds = kinds_of_messages(
        "sms", (file.stem for file in sorted(folder.glob("*.json"))), notifications
    )
    result.sms_count = len(kinds)
    result.sms_folder = folder
    return Counter(kinds)


def _message(file: Path) -> EmailMessage:
    return email.message_from_bytes(file.read_bytes(), policy=modern)


def _mail(file: Path, template: str, locale: str) -> DemoMail:
    message = _message(file)
    text = message.get_body(("plain",))
    html = message.get_body(("html",))
    return DemoMail(
        template=template,
        locale=locale,
        subject=str(message["Subject"]),
        text=text.get_content() if text else "",
        html=html.get_content() if html else "",
        file=file.name,
    )


def find_books(result: DemoResult, addresses: LocalAddresses, manifest: Mapping[str, Any]) -> None:
    """Replay the ledger and compare every account and every wallet; then verify it."""
    replayed = perennial(addresses, "ledger", "replay")
    result.replay_sha256 = replayed["sha256"]
    find_balances(result, replayed["report"], manifest)
    # Also against the heads that were kept while the logs grew.
    kept = ("--expected-head", str(addresses.heads[0])) if addresses.heads else ()
    result.checks = verified(perennial(addresses, "log", "verify", *kept)["checks"])


def find_balances(
    result: DemoResult, report: Mapping[str, Any], manifest: Mapping[str, Any]
) -> None:
    """Compare the balances of a replay's report with those of the manifest, and keep them."""
    result.replay_positions = sum(report["positions"].values())
    rows = ({**row, "account": _method_of(row["account"])} for row in report["balances"])
    balances, wallets = books_seen(rows)
    result.comparisons += compare_books(manifest, balances, wallets)
    result.balances = nested(balances)
    result.exponents = {currency: exponent_of(currency) for currency in result.balances}


def _method_of(account: str) -> str:
    """Return the account, of a gateway that of its method: until December 2026 they shared it."""
    return ":".join(account.split(":")[:3]) if account.startswith(_GATEWAYS) else account


def verified(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[DemoCheck]:
    """Return the checks of each service by its name; one without any is a check that failed."""
    return [
        DemoCheck(f"{service}: {each['name']}", each["ok"], each["compared"])
        for service in SERVICES
        for each in found.get(service) or [_UNCHECKED]
    ]


def find_timeline(result: DemoResult, addresses: LocalAddresses, renewal_id: str) -> None:
    """Tell the life of one renewal across the services."""
    entries = perennial(addresses, "orders", "show", renewal_id)
    result.renewal_id = renewal_id
    moments = [datetime.fromisoformat(entry["recorded_at"]) for entry in entries]
    result.timeline = [
        Moment(
            entry["service"],
            entry["type"].split(".")[1],
            entry["told"],
            round((moment - moments[0]).total_seconds() * 1000),
        )
        for entry, moment in zip(entries, moments, strict=True)
    ]


def perennial(addresses: LocalAddresses, *arguments: str) -> Any:  # noqa: ANN401 - any JSON
    """Run `perennial ... --json` on the demo's stack, as an operator would, and return what it says.

    Raises:
        RuntimeError: it printed no JSON; the message holds what it said instead.
    """
    environment = {
        f"PERENNIAL_{service.upper()}_POSTGRES_DSN": dsn
        for service, dsn in addresses.postgres.items()
    }
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments, "--json"],
        cwd=ROOT,
        env={
            **environment,
            "PATH": "",
            **({"PERENNIAL_ANCHOR_KEYS": addresses.heads[1]} if addresses.heads else {}),
            **{f"PERENNIAL_{name}": each for name, each in addresses.kafka(OPERATOR).items()},
        },
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    try:
        return json.loads(done.stdout)
    except ValueError:
        message = f"perennial {' '.join(arguments)} ended with {done.returncode}: {done.stderr}"
        raise RuntimeError(message) from None
