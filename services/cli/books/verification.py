"""What `perennial log verify` checks, once connected: importing it takes longer than to connect."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas import BILLING
from schemas.topics import TOPICS, source_of
from services.cli.addresses import load_addresses
from services.cli.archive.archivals import ARCHIVED
from services.cli.books.log import Results
from services.cli.progress import progress_bar
from services.ledger.rules.rule_file import POSTING_RULES, load_rules
from services.ledger.verification.verify import verify as verify_books
from services.ledger.wallets import WALLETS
from services.notifier.notification.claims import told_fact
from services.orders.payments.claims.claim_check import check_claims
from services.orders.payments.claims.wallet_claims import wallet_payment
from services.runtime.archive.events import hold_archive
from services.runtime.archive.ranges import open_archive
from services.runtime.key_ring import KeyRing
from services.runtime.log.stream_ids import of_kind
from services.runtime.settings import KafkaSettings
from services.runtime.verify.anchors import AnchorCheck, Expected
from services.runtime.verify.archived_streams import check_archived_streams
from services.runtime.verify.checks import Check
from services.runtime.verify.logs import Filing, Log, verify_logs
from services.runtime.verify.topics import check_topic

if TYPE_CHECKING:
    import asyncpg


async def verify_all(
    connections: Mapping[str, asyncpg.Connection],
    heads: Expected,
    folder: Path | None,
    keys: KeyRing | None,
    broker: KafkaSettings | None,
) -> Results:
    """Check the log of each service that there is a connection for; with a `broker`, its topic, too.

    `heads` and `folder` are what is kept where no database is, `keys` those that signed it.
    """
    logs = [log_of(service, connection) for service, connection in connections.items()]
    for log in logs:
        await hold_archive(log.connection)
        log.archive = await open_archive(log.connection, folder, keys)
    with progress_bar("reading events") as bar:
        for log in logs:
            await log.take_heads()
        bar.expect(
            sum(head.position - head.begin.position for log in logs for head in log.heads.values())
        )
        anchored = {
            log.service: [AnchorCheck(heads[log.service], log.archive)]
            for log in logs
            if log.service in heads
        }
        results = await verify_logs(logs, anchored, bar.advance)
        for log in logs:
            results[log.service] = [*results[log.service], *await _more(log, broker)]
    return results


async def _more(log: Log, broker: KafkaSettings | None) -> list[Check]:
    """Return what is checked of one service beside its log."""
    found = [] if broker is None else [await _with_topic(log, broker)]
    if log.service == "ledger":
        dsn, rules = load_addresses().dsn("ledger"), load_rules(POSTING_RULES)
        found += await verify_books(log.connection, dsn, "ledger", rules, chain=False)
    if log.service in ARCHIVED and not log.archive.empty:
        streams = ARCHIVED[log.service]
        found.append(await check_archived_streams(log.connection, log.archive, streams))
    if log.service == "orders":
        found.append(await check_claims(log.connection, log.archive))
    return found


async def _with_topic(log: Log, broker: KafkaSettings) -> Check:
    topic = next(each.name for each in TOPICS if each.written_by == log.service)
    heads = dict(log.heads)
    return await check_topic(
        broker, log.connection, heads, events=BILLING, topic=topic, archive=log.archive
    )


def log_of(service: str, connection: Any) -> Log:  # noqa: ANN401 - asyncpg's
    """Return the log of a service with what it takes of the others."""
    source = source_of(service)
    match service:
        case "orders":
            return Log(service, source, connection, reads=("ledger",), claim=wallet_payment)
        case "ledger":
            filing = Filing("orders", moved_to=of_kind(WALLETS.name))
            return Log(service, source, connection, reads=("orders",), filing=filing)
        case _:
            return Log(service, source, connection, reads=("orders", "ledger"), claim=told_fact)
