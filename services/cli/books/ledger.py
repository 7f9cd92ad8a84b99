"""`perennial ledger`: balances, statements, replays, and the verification of the books."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import asyncpg
import typer

from services.cli.addresses import load_addresses
from services.cli.books import ledger_tables as tables
from services.cli.clock.now import now
from services.cli.connections import connect
from services.cli.words import counted
from services.ledger.books.cache import cached_report, rebuild_balances
from services.ledger.books.coverage import covered_rows, resolve_scope
from services.ledger.reports.balance_report import Report, canonical_json, report
from services.ledger.reports.gateway_report import GatewayReport, gateway_report
from services.ledger.reports.scope import Scope
from services.ledger.reports.statement import Statement, statement
from services.ledger.rules.rule_file import POSTING_RULES, RELEASED, load_rules
from services.ledger.rules.rule_set import RuleSet
from services.runtime.verify.checks import Check
from services.runtime.verify.slices import heads_of

SERVICE = "ledger"
EXIT_FAILED = 1
FoldedT = TypeVar("FoldedT")

app = typer.Typer(help="The books: who is owed what, and whether it adds up.", no_args_is_help=True)


def moment(text: str) -> datetime:
    """Read a past moment.

    Raises:
        typer.BadParameter: it has no time zone, or is not over yet, so that it could still change.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        message = "write it as 2026-11-20T08:00:00Z"
        raise typer.BadParameter(message) from None
    if found.tzinfo is None:
        message = "say which time zone: end it with Z for UTC, or with an offset such as +08:00"
        raise typer.BadParameter(message)
    if found > now():
        message = "it lies in the future: what was known then can still change"
        raise typer.BadParameter(message)
    return found.astimezone(UTC)


def rules_file(text: str) -> Path:
    """Return the file of an earlier rule set by its name, or the file of that path."""
    released = RELEASED / f"{text}.toml"
    return released if released.parent == RELEASED and released.is_file() else Path(text)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
KnownAt = Annotated[
    datetime | None,
    typer.Option(
        "--known-at", parser=moment, metavar="MOMENT", help="Only what was recorded by then."
    ),
]
EffectiveAt = Annotated[
    datetime | None,
    typer.Option(
        "--effective-at", parser=moment, metavar="MOMENT", help="Only what had happened by then."
    ),
]
Rules = Annotated[
    Path,
    typer.Option(
        "--rules",
        parser=rules_file,
        metavar="FILE or NAME",
        envvar="PERENNIAL_LEDGER_POSTING_RULES",
        help="Posting rules to book by, not by the installed: a file, or an earlier set.",
        show_default=False,
    ),
]


@app.command()
def balances(
    account: Annotated[
        str | None, typer.Option("--account", help="The wallets of one customer's account id.")
    ] = None,
    rules: Rules = POSTING_RULES,
    as_json: AsJson = False,
) -> None:
    """Show the balances that the ledger keeps up to date with every event (the cache)."""
    found = asyncio.run(_cached(load_rules(rules), account))
    if account and not found.totals:
        _refuse_empty(account)
    _print_report(found, source="cache", as_json=as_json)


@app.command()
def replay(  # noqa: PLR0913, PLR0917 - each option of the command is one argument
    account: Annotated[
        str | None, typer.Option("--account", help="Only what one customer's account id did.")
    ] = None,
    known_at: KnownAt = None,
    effective_at: EffectiveAt = None,
    rules: Rules = POSTING_RULES,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the canonical report to a file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Derive the balances from the log, from scratch. The same input gives the same SHA-256."""
    found = asyncio.run(_replayed(load_rules(rules, whole=False), account, known_at, effective_at))
    if account and not found.totals:
        _refuse_empty(account)
    if output is not None:
        output.write_bytes(found.body)
    _print_report(found, source="replay", as_json=as_json)


@app.command("statement")
def statement_(  # noqa: PLR0913, PLR0917 - each option of the command is one argument
    of: Annotated[str, typer.Argument(help="An account of the chart, or a customer's account id.")],
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since", parser=moment, metavar="MOMENT", help="Earlier lines are the opening."
        ),
    ] = None,
    known_at: KnownAt = None,
    effective_at: EffectiveAt = None,
    rules: Rules = POSTING_RULES,
    as_json: AsJson = False,
) -> None:
    """Show every posting of an account with its event, rule and running balance."""
    found = asyncio.run(_stated(load_rules(rules, whole=False), of, since, known_at, effective_at))
    if not found.lines and not found.opening:
        _refuse_empty(of)
    if as_json:
        _print_json(found.content())
    else:
        tables.print_statement(found)


@app.command()
def gateways(
    known_at: KnownAt = None,
    effective_at: EffectiveAt = None,
    rules: Rules = POSTING_RULES,
    as_json: AsJson = False,
) -> None:
    """Show what each gateway captured, kept as fees and gave back, and so has to pay out."""
    found = asyncio.run(_reconciled(load_rules(rules, whole=False), known_at, effective_at))
    if as_json:
        _print_json({"sha256": found.sha256, "report": json.loads(found.body)})
    else:
        tables.print_gateways(found)


@app.command("verify")
def verify_(rules: Rules = POSTING_RULES, as_json: AsJson = False) -> None:
    """Check the log, the tables and the folds against each other; exit 1 when anything differs."""
    checks = asyncio.run(_verified(load_rules(rules)))
    failed = [check for check in checks if not check.ok]
    if as_json:
        _print_json({"ok": not failed, "checks": [c.content() for c in checks]})
    else:
        tables.print_checks(checks)
    if failed:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def rebuild_cache(rules: Rules = POSTING_RULES) -> None:
    """Throw the cached balances away and derive them anew; the ledger waits meanwhile."""
    count = asyncio.run(_rebuilt(load_rules(rules)))
    typer.echo(f"rebuilt {counted(count, 'balance')} from the log")


def _refuse_empty(of: str) -> NoReturn:
    typer.echo(f"the books hold nothing of {of}: is it the account_id of an event?", err=True)
    raise typer.Exit(EXIT_FAILED)


async def _cached(rules: RuleSet, account_id: str | None) -> Report:
    async with connect(SERVICE) as connection:
        return await cached_report(connection, rules, account_id)


async def _replayed(
    rules: RuleSet, account: str | None, known_at: datetime | None, effective_at: datetime | None
) -> Report:
    async with connect(SERVICE) as connection:
        scope = await resolve_scope(
            connection, known_at=known_at, effective_at=effective_at, account_id=account
        )
        # Arrow takes longer to import than to see that the database does not answer.
        from services.ledger.books.columns import fold_columns  # noqa: PLC0415

        return report(await _folded(connection, fold_columns, rules, scope), scope, rules)


async def _reconciled(
    rules: RuleSet, known_at: datetime | None, effective_at: datetime | None
) -> GatewayReport:
    async with connect(SERVICE) as connection:
        scope = await resolve_scope(
            connection, known_at=known_at, effective_at=effective_at, account_id=None
        )
        from services.ledger.books.columns import fold_transfers  # noqa: PLC0415 - as above

        transfers = await _folded(connection, fold_transfers, rules, scope)
        return gateway_report(transfers, scope, rules)


async def _folded(
    connection: asyncpg.Connection,
    fold: Callable[[str, str, Scope, RuleSet, Callable[[int], None]], FoldedT],
    rules: RuleSet,
    scope: Scope,
) -> FoldedT:
    from services.cli.progress import progress_bar  # noqa: PLC0415 - as above

    dsn = load_addresses().dsn(SERVICE)
    with progress_bar("replaying amounts") as bar:
        if bar.shown:
            bar.expect(await covered_rows(connection, scope))
        return await asyncio.to_thread(fold, dsn, SERVICE, scope, rules, bar.advance)


async def replay_digest() -> str:
    """Replay everything by the installed rules; return the digest of the books."""
    return (await _replayed(load_rules(POSTING_RULES), None, None, None)).sha256


async def _stated(
    rules: RuleSet,
    of: str,
    since: datetime | None,
    known_at: datetime | None,
    effective_at: datetime | None,
) -> Statement:
    async with connect(SERVICE) as connection:
        scope = await resolve_scope(connection, known_at=known_at, effective_at=effective_at)
        return await statement(connection, of, scope, rules, since=since)


async def _verified(rules: RuleSet) -> list[Check]:
    dsn = load_addresses().dsn(SERVICE)
    async with connect(SERVICE, dsn) as connection:
        from services.cli.progress import progress_bar  # noqa: PLC0415 - as above
        from services.ledger.verification.verify import verify  # noqa: PLC0415

        with progress_bar("reading events") as bar:
            heads = await heads_of(connection)
            bar.expect(sum(head.position for head in heads.values()))
            return await verify(connection, dsn, SERVICE, rules, bar.advance)


async def _rebuilt(rules: RuleSet) -> int:
    async with connect(SERVICE) as connection:
        return await rebuild_balances(connection, rules)


def _print_report(found: Report, *, source: str, as_json: bool) -> None:
    if as_json:
        content = {"source": source, "sha256": found.sha256, "report": json.loads(found.body)}
        _print_json(content)
    else:
        tables.print_report(found, source)


def _print_json(content: object) -> None:
    typer.echo(canonical_json(content).decode(), nl=False)
