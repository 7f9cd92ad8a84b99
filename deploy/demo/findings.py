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

from deploy.demo.result import Check, Comparison, DemoResult, Mail, Moment
from deploy.demo.tally import Counts, Tally, nested_counts
from deploy.local.processes import ROOT
from deploy.local.services import SERVICES, Addresses
from schemas.access import OPERATOR
from schemas.money import exponent_of

_SHOWN_MAILS: Final = 18
_WALLET: Final = "Liabilities:Wallet:"
_COMMAND_SECONDS: Final = 120
_UNCHECKED: Final = {"name": "any check", "ok": False, "compared": "nothing"}


def compare(area: str, expected: Counts, seen: Counts) -> list[Comparison]:
    """Return one row for everything that was expected or seen."""
    return [
        Comparison(area, name, detail, expected[name, detail], seen[name, detail])
        for name, detail in sorted(expected.keys() | seen.keys())
    ]


def compare_outcomes(
    result: DemoResult,
    manifest: Mapping[str, Any],
    tally: Tally,
    dead_letters: Counts,
    mails: Counts,
) -> None:
    """Compare events, dead letters and emails, and how many orders each account had accepted."""
    for area, seen in (
        ("outcomes", tally.counts),
        ("dead letters", dead_letters),
        ("emails", mails),
    ):
        expected = nested_counts(manifest[area.replace(" ", "_")])
        result.comparisons += compare(area, expected, seen)
    orders = Counter({(account_id, ""): n for account_id, n in manifest["orders"].items()})
    result.comparisons += _one_row(
        "accepted orders", "accounts", compare("accepted orders", orders, tally.orders_by_account())
    )


def find_mails(
    result: DemoResult, folder: Path, notifications: Mapping[str, tuple[str, str]]
) -> Counts:
    """Read the accepted messages; count them by (template, locale) and keep one of each to show.

    A message that no NotificationSent speaks of, or that came twice, counts as `unexplained`.
    """
    counts: Counts = Counter()
    seen: set[str] = set()
    shown: dict[tuple[str, str], Mail] = {}
    for file in sorted(folder.glob("*.eml")):
        message = email.message_from_bytes(file.read_bytes(), policy=modern)
        message_id = str(message["Message-ID"])
        kind = notifications.get(message_id, ("unexplained", ""))
        if message_id in seen:
            kind = ("unexplained", "sent twice")
        seen.add(message_id)
        counts[kind] += 1
        if kind not in shown:
            shown[kind] = _mail(message, kind, file)
    result.mails = [shown[kind] for kind in sorted(shown)][:_SHOWN_MAILS]
    result.mail_count = counts.total()
    result.mail_folder = folder
    return counts


def _mail(message: EmailMessage, kind: tuple[str, str], file: Path) -> Mail:
    text = message.get_body(("plain",))
    html = message.get_body(("html",))
    return Mail(
        template=kind[0],
        locale=kind[1],
        subject=str(message["Subject"]),
        text=text.get_content() if text else "",
        html=html.get_content() if html else "",
        file=file.name,
    )


def find_books(result: DemoResult, addresses: Addresses, manifest: Mapping[str, Any]) -> None:
    """Replay the ledger and compare every account and every wallet; then verify it."""
    replayed = perennial(addresses, "ledger", "replay")
    result.replay_sha256 = replayed["sha256"]
    compare_books(result, manifest, replayed["report"])
    # Also against the heads that were kept while the logs grew.
    kept = ("--expected-head", str(addresses.heads[0])) if addresses.heads else ()
    result.checks = verified(perennial(addresses, "verify", *kept)["checks"])


def compare_books(
    result: DemoResult, manifest: Mapping[str, Any], report: Mapping[str, Any]
) -> None:
    """Compare the balances of a replay's report with those of the manifest."""
    result.replay_positions = sum(report["positions"].values())
    seen: Counter[tuple[str, str]] = Counter()
    wallets: Counter[tuple[str, str]] = Counter()
    for row in report["balances"]:
        account, currency, amount = row["account"], row["currency"], row["amount_minor"]
        if account.startswith((f"{_WALLET}Paid:", f"{_WALLET}Bonus:")):
            kind, account_id = account.removeprefix(_WALLET).split(":", 1)
            wallets[f"{account_id} {kind.lower()}", currency] -= amount
            account = f"{_WALLET}{kind}"
        seen[currency, account] += amount
    expected = nested_counts(manifest["trial_balance"])
    result.comparisons += compare("trial balance", expected, _without_zeros(seen))
    wanted = Counter(
        {
            (f"{account_id} {kind}", wallet["currency"]): wallet[kind]
            for account_id, wallet in manifest["wallets"].items()
            for kind in ("paid", "bonus")
        }
    )
    result.comparisons += _one_row(
        "wallets", "balances", compare("wallets", _without_zeros(wanted), _without_zeros(wallets))
    )
    for (currency, account), amount in sorted(_without_zeros(seen).items()):
        result.balances.setdefault(currency, {})[account] = amount
    result.exponents = {currency: exponent_of(currency) for currency in result.balances}


def verified(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Check]:
    """Return the checks of each service by its name; one without any is a check that failed."""
    return [
        Check(f"{service}: {each['name']}", each["ok"], each["compared"])
        for service in SERVICES
        for each in found.get(service) or [_UNCHECKED]
    ]


def _one_row(area: str, what: str, rows: list[Comparison]) -> list[Comparison]:
    """Return rows that differ, and one that counts those that agree."""
    agreeing = sum(row.agrees for row in rows)
    return [
        *(row for row in rows if not row.agrees),
        Comparison(area, f"{what} that agree", "", len(rows), agreeing),
    ]


def _without_zeros(counts: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    return Counter({key: amount for key, amount in counts.items() if amount})


def find_timeline(result: DemoResult, addresses: Addresses, renewal_id: str) -> None:
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


def perennial(addresses: Addresses, *arguments: str) -> Any:  # noqa: ANN401 - any JSON
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
