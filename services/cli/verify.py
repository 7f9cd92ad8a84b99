"""`perennial verify`: the logs against themselves, against each other, and the books of the ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.topics import TOPICS
from services.cli.addresses import SERVICES, load_addresses
from services.cli.archive import ARCHIVALS
from services.cli.broker import broker_settings
from services.cli.connections import connect
from services.cli.ledger_tables import check_content
from services.cli.progress import progress_bar
from services.ledger.rules import POSTING_RULES, load_rules
from services.ledger.verify import verify as verify_books
from services.notifier.claims import told_fact
from services.orders.claim_check import check_claims
from services.orders.claims import wallet_payment
from services.runtime.archive.events import hold_archive
from services.runtime.archive.ranges import open_archive
from services.runtime.errors import ConfigurationError
from services.runtime.key_ring import KeyRing
from services.runtime.settings import KafkaSettings
from services.runtime.verify.anchors import AnchorCheck, Expected, heads_line, read_heads
from services.runtime.verify.archived_streams import check_archived_streams
from services.runtime.verify.checks import Check
from services.runtime.verify.logs import Filing, Log, verify_logs
from services.runtime.verify.slices import heads_of
from services.runtime.verify.topics import check_topic

EXIT_FAILED: Final = 1
Results = Mapping[str, Sequence[Check]]


def verify(  # noqa: PLR0913, PLR0917 - an option each
    service: Annotated[
        list[str] | None, typer.Option("--service", help="One service's log only; may be repeated.")
    ] = None,
    all_: Annotated[
        bool,
        typer.Option("--all", help="All three logs, and each against the others: the default."),
    ] = False,
    expected_head: Annotated[
        Path | None,
        typer.Option("--expected-head", help="A file or folder of heads that were kept outside."),
    ] = None,
    topics: Annotated[
        bool,
        typer.Option("--topics", help="Compare each log with what its topic still holds, too."),
    ] = False,
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive",
            exists=True,
            file_okay=False,
            help="A folder with the files of archived events: they are read, too.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Check that no log was changed and that nothing was taken that its producer did not write.

    Exit 1 when anything differs. The services may go on meanwhile.
    """
    chosen = SERVICES if all_ or not service else tuple(dict.fromkeys(service))
    if unknown := [each for each in chosen if each not in SERVICES]:
        message = f"there is no service {unknown[0]}: name {', '.join(SERVICES)}"
        raise ConfigurationError(message)
    settings = broker_settings()
    keys = KeyRing.of(settings.anchor_keys)
    outside = Outside(read_heads(expected_head, keys) if expected_head else {}, archive, keys)
    results = asyncio.run(_verified(chosen, outside, settings if topics else None))
    failed = sum(not check.ok for checks in results.values() for check in checks)
    if as_json:
        typer.echo(json.dumps(_content(results), indent=2))
    else:
        _print(results, failed)
    if failed:
        raise typer.Exit(EXIT_FAILED)


class Outside(NamedTuple):
    """What is kept where no database is: heads, files of events, and the keys that signed them."""

    heads: Expected
    archive: Path | None
    keys: KeyRing | None


async def _verified(
    services: Sequence[str], outside: Outside, broker: KafkaSettings | None
) -> Results:
    async with AsyncExitStack() as resources:
        logs = [
            log_of(service, await resources.enter_async_context(connect(service)))
            for service in services
        ]
        for log in logs:
            await hold_archive(log.connection)
            log.archive = await open_archive(log.connection, outside.archive, outside.keys)
        with progress_bar("reading events") as bar:
            for log in logs:
                await log.take_heads()
            bar.expect(
                sum(
                    head.position - head.begin.position
                    for log in logs
                    for head in log.heads.values()
                )
            )
            anchored = {
                log.service: [AnchorCheck(outside.heads[log.service], log.archive)]
                for log in logs
                if log.service in outside.heads
            }
            results = await verify_logs(logs, anchored, bar.advance)
            if broker is not None:
                for log in logs:
                    results[log.service] += [await _with_topic(log, broker)]
            for log in logs:
                if log.service == "ledger":
                    dsn = load_addresses().dsn("ledger")
                    books = await verify_books(
                        log.connection, dsn, "ledger", load_rules(POSTING_RULES), chain=False
                    )
                    results["ledger"] = [*results["ledger"], *books]
                if log.service in ARCHIVALS and not log.archive.empty:
                    archival = ARCHIVALS[log.service]
                    left = await check_archived_streams(log.connection, log.archive, archival)
                    results[log.service] += [left]
                if log.service == "orders":
                    results["orders"] += [await check_claims(log.connection, log.archive)]
        return results


async def _with_topic(log: Log, broker: KafkaSettings) -> Check:
    topic = next(each.name for each in TOPICS if each.written_by == log.service)
    heads = dict(log.heads)
    return await check_topic(
        broker, log.connection, heads, source=log.source, topic=topic, archive=log.archive
    )


def heads(
    service: Annotated[
        list[str] | None, typer.Option("--service", help="One service only; may be repeated.")
    ] = None,
) -> None:
    """Print the heads of the logs, a line for each service, to be kept where no database is.

    With PERENNIAL_ANCHOR_KEYS_FILE they are signed. `perennial verify --expected-head` takes them.
    """
    keys = KeyRing.of(broker_settings().anchor_keys)
    for each in service or SERVICES:
        typer.echo(asyncio.run(_heads_line(each, keys)))


async def _heads_line(service: str, keys: KeyRing | None) -> str:
    async with connect(service) as connection:
        return heads_line(service, await heads_of(connection), datetime.now(UTC), keys)


def log_of(service: str, connection: Any) -> Log:  # noqa: ANN401 - asyncpg's
    """Return the log of a service with what it takes of the others."""
    match service:
        case "orders":
            return Log(service, connection, reads=("ledger",), claim=wallet_payment)
        case "ledger":
            return Log(
                service, connection, reads=("orders",), filing=Filing("orders", moved_to="wallet/")
            )
        case _:
            return Log(service, connection, reads=("orders", "ledger"), claim=told_fact)


def _content(results: Results) -> dict[str, Any]:
    checks = {name: [check_content(check) for check in found] for name, found in results.items()}
    return {"ok": all(check.ok for found in results.values() for check in found), "checks": checks}


def _print(results: Results, failed: int) -> None:
    table = Table("log of", "check", "result", "compared")
    for service, checks in results.items():
        for check in checks:
            result = _result(check)
            table.add_row(service, Text(check.name), result, Text(check.compared))
    console = Console()
    console.print(table)
    for service, checks in results.items():
        for check in checks:
            if check.problem is not None:
                console.print(Text(f"{service}: {check.name}: {check.problem}"), soft_wrap=True)
                console.print(Text(f"  what to do: {check.advice}"), soft_wrap=True)
            if check.unread:
                told = f"{service}: {check.name}: not compared: {check.unread}"
                console.print(Text(told), soft_wrap=True)
    total = sum(len(checks) for checks in results.values())
    partly = any(check.unread for checks in results.values() for check in checks)
    sound = "what was read of the logs is sound" if partly else "the logs are sound"
    console.print(f"{failed} of {total} checks FAILED" if failed else sound)


def _result(check: Check) -> Text:
    if not check.ok:
        return Text("FAILED", "bold red")
    return Text("in part", "yellow") if check.unread else Text("ok", "green")
