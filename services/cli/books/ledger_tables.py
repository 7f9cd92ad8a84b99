"""Tables of `perennial ledger` for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.table import Column, Table
from rich.text import Text

from schemas.envelope import utc_text
from schemas.money import decimal_text
from services.cli.tables import print_table, screen_console
from services.cli.words import counted
from services.ledger.reports.balance_report import Report
from services.ledger.reports.gateway_report import GatewayReport
from services.ledger.reports.statement import Statement, StatementLine, Totals
from services.runtime.verify.checks import Check

NOT_NAMED: Final = "(not named)"
"""No gateway has such a name."""


def print_report(report: Report, source: str) -> None:
    """Print the balances, the trial balance, and where they come from."""
    table = Table("account", "currency", title="Balances (debit +, credit -)")
    table.add_column("amount", justify="right")
    for (account, currency), minor in sorted(report.totals.items()):
        table.add_row(Text(account), currency, decimal_text(minor, currency))
    print_table(table)
    console = screen_console()
    covered = sum(report.scope.positions.values())
    sums = report.trial_balance
    shards = counted(len(report.scope.positions), "shard")
    console.print(f"source: {source}, {counted(covered, 'event')} in {shards}")
    told = ", ".join(f"{decimal_text(sums[name], name)} {name}" for name in sorted(sums)) or "empty"
    console.print(f"sum of these accounts: {told}")
    console.print(f"sha256 {report.sha256}", soft_wrap=True)


def print_statement(statement: Statement) -> None:
    """Print the opening balances, every posting, and the closing balances."""
    table = Table(
        Column("recorded (UTC)", no_wrap=True),
        Column("event, place, rule", overflow="fold"),
        Column("account", overflow="fold"),
        Column("amount", justify="right", no_wrap=True),
        Column("balance", justify="right", no_wrap=True),
        title=f"Statement of {statement.of} (debit +, credit -)",
    )
    _add_totals(table, "opening", {key: minor for key, minor in statement.opening.items() if minor})
    for line in statement.lines:
        event = line.event_type.removeprefix("billing.")
        rule = f"{line.rule_id} v{line.rule_version}"
        table.add_row(
            _times(line),
            Text(f"{event}\n{line.shard}/{line.position} {rule}"),
            Text(line.account),
            f"{decimal_text(line.amount_minor, line.currency)} {line.currency}",
            decimal_text(line.balance_minor, line.currency),
        )
    table.add_section()
    _add_totals(table, "closing", statement.closing)
    print_table(table)


def print_gateways(found: GatewayReport) -> None:
    """Print a line for each account of a gateway, and what each gateway has to pay out in all."""
    table = Table(
        Column("gateway", overflow="fold"), "method", "currency", title="Gateways: what they owe us"
    )
    for name in ("captured", "fees", "returned", "to pay out"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in found.lines:
        amounts = (line.captured_minor, line.fees_minor, line.returned_minor, line.to_pay_out_minor)
        shown = (decimal_text(minor, line.currency) for minor in amounts)
        table.add_row(_named(line.gateway), line.method, line.currency, *shown)
    table.add_section()
    for (gateway, currency), minor in found.totals.items():
        shown_total = decimal_text(minor, currency)
        table.add_row(_named(gateway), "all", currency, "", "", "", shown_total)
    print_table(table)
    console = screen_console()
    if any(line.gateway is None for line in found.lines):
        console.print(f"{NOT_NAMED}: before 2026-12-01, or the fact names none")
    console.print(f"sha256 {found.sha256}", soft_wrap=True)


def _named(gateway: str | None) -> Text:
    return Text(gateway or NOT_NAMED)


def _add_totals(table: Table, label: str, totals: Totals) -> None:
    for (account, currency), minor in sorted(totals.items()):
        shown = decimal_text(minor, currency)
        table.add_row(label, "", Text(account), currency, shown)
    if not totals:
        table.add_row(label, "", "nothing", "", "0")
    table.add_section()


def _times(line: StatementLine) -> str:
    """Return when the event was recorded, and when it happened if that was in another second."""
    recorded, happened = (
        utc_text(moment)[:19].replace("T", " ") for moment in (line.recorded_at, line.occurred_at)
    )
    return recorded if recorded == happened else f"{recorded}\nof {happened[:16]}"


def print_checks(checks: Sequence[Check]) -> None:
    """Print what was compared, and for each failure the first difference and what to do."""
    table = Table("check", "result", "compared", title="Verification of the ledger")
    for check in checks:
        result = Text("ok", "green") if check.ok else Text("FAILED", "bold red")
        table.add_row(Text(check.name), result, Text(check.compared))
    print_table(table)
    console = screen_console()
    for check in checks:
        if check.problem is not None:
            console.print(Text(f"{check.name}: {check.problem}"), soft_wrap=True)
            console.print(Text(f"  what to do: {check.advice}"), soft_wrap=True)
    failed = sum(not check.ok for check in checks)
    console.print(f"{failed} of {len(checks)} checks FAILED" if failed else "the books are sound")
