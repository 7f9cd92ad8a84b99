"""The end of the demo in a terminal."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.demo.result import DemoResult
from schemas.money import decimal_text


def show(result: DemoResult, page: Path, console: Console) -> None:
    """Print outcomes against the manifest, the books, and where things lie."""
    for area, rows in groupby(result.comparisons, key=lambda row: row.area):
        if area == "trial balance":
            continue
        table = Table("", "", "expected", "seen", "", title=area, title_justify="left")
        for row in rows:
            mark = "ok" if row.agrees else "[red bold]DIFFERS[/]"
            table.add_row(row.name, row.detail, f"{row.expected:,}", f"{row.seen:,}", mark)
        console.print(table)
    console.print(_trial_balance(result))
    checks = Table("check", "", "compared", title="perennial log verify", title_justify="left")
    for check in result.checks:
        checks.add_row(check.name, "ok" if check.ok else "[red bold]FAILED[/]", check.compared)
    console.print(checks)
    memory = ", ".join(f"{used.process} {used.memory_bytes >> 20} MiB" for used in result.memory)
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.stages.items())
    console.print(f"""
requests        {result.requests:,} over {result.accounts} accounts
replay digest   {result.replay_sha256} over {result.replay_positions:,} events
emails          {result.mail_count:,} in {result.mail_folder}
sms             {result.sms_count:,} in {result.sms_folder}
page            {page}
memory          {memory}
time            {result.seconds:.1f} s: {stages}
throughput      {result.renewals_per_second:.0f} renewals/s from request to PlanActivated in phase 1""")
    for difference in result.differences:
        console.print(f"[red bold]DIFFERS[/] {difference}", highlight=False)
    verdict = "[red bold]the run differs from its manifest[/]"
    console.print(verdict if result.differences else "[green bold]everything agrees[/]")


def _trial_balance(result: DemoResult) -> Table:
    table = Table(
        "account", "debit", "credit", title="trial balance, replayed", title_justify="left"
    )
    for currency, accounts in result.balances.items():
        for account, amount in sorted(accounts.items()):
            text = f"{decimal_text(abs(amount), currency)} {currency}"
            table.add_row(account, *((text, "") if amount > 0 else ("", text)))
        debit = sum(amount for amount in accounts.values() if amount > 0)
        credit = -sum(amount for amount in accounts.values() if amount < 0)
        totals = [f"{decimal_text(side, currency)} {currency}" for side in (debit, credit)]
        table.add_row(f"[bold]{currency}: sums to {debit - credit}", *totals, end_section=True)
    return table
