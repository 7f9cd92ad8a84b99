"""`perennial ledger verify` finds every kind of tampering, by somebody whom no trigger stops."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.ledger.ledger_database import LedgerDatabase, open_ledger_database
from tests.integration.ledger.test_ledger_books import played

A_TOP_UP = (
    "(shard, position) = (SELECT shard, position FROM event"
    " WHERE type = 'billing.WalletToppedUp.v1' ORDER BY shard, position LIMIT 1)"
)
LAST_EVENT = (
    "(shard, position) = (SELECT shard, head_position FROM shard"
    " WHERE head_position > 0 ORDER BY shard LIMIT 1)"
)


@pytest.fixture
async def ledger(fresh_database: str) -> AsyncIterator[LedgerDatabase]:
    async with open_ledger_database(fresh_database) as database:
        await database.feed(played(80).records())
        assert await database.failed() == {}
        yield database


TAMPERINGS = {
    "a changed body": (
        f"UPDATE event SET body = body || ' '::bytea WHERE {A_TOP_UP}",
        {"hash chain"},
    ),
    "a changed amount in a body": (
        (
            "UPDATE event SET body = convert_to(regexp_replace(convert_from(body, 'UTF8'),"
            f" '\"amount_minor\":', '\"amount_minor\":1'), 'UTF8') WHERE {A_TOP_UP}"
        ),
        {"hash chain", "amount table", "SQL fold = body fold", "columnar fold = body fold"},
    ),
    "a refund of another payment": (
        (
            "UPDATE event SET body = convert_to(replace(convert_from(body, 'UTF8'),"
            " '\"payment_id\":\"', '\"payment_id\":\"x'), 'UTF8')"
            " WHERE type = 'billing.RefundCompleted.v1'"
        ),
        {"hash chain", "refunds are owed"},
    ),
    "an unreadable body": (
        f"UPDATE event SET body = '{{}}' WHERE {A_TOP_UP}",
        {"hash chain", "bodies and rules", "SQL fold = body fold", "columnar fold = body fold"},
    ),
    "a changed moment": (
        f"UPDATE event SET recorded_at = recorded_at - interval '1 day' WHERE {A_TOP_UP}",
        {"hash chain", "amount table"},
    ),
    "a changed account": (
        f"UPDATE event SET account_id = 'acct-thief' WHERE {A_TOP_UP}",
        {"hash chain", "amount table"},
    ),
    "a deleted event": (
        f"DELETE FROM event WHERE {A_TOP_UP}",
        {
            "hash chain",
            "dense positions",
            "dense stream versions",
            "complete sequences",
            "amount table",
            "SQL fold = body fold",
            "columnar fold = body fold",
        },
    ),
    "the last event deleted": (
        f"DELETE FROM event WHERE {LAST_EVENT}",
        {
            "hash chain",
            "dense positions",
            "complete sequences",
            "amount table",
            "SQL fold = body fold",
            "columnar fold = body fold",
        },
    ),
    "a changed balance": (
        (
            "UPDATE balance SET amount_minor = amount_minor + 1"
            " WHERE ctid = (SELECT min(ctid) FROM balance)"
        ),
        {"cache = replay"},
    ),
    "a deleted balance": (
        "DELETE FROM balance WHERE ctid = (SELECT min(ctid) FROM balance)",
        {"cache = replay"},
    ),
    "a changed amount row": (
        f"UPDATE amount SET amount_minor = amount_minor + 1 WHERE {A_TOP_UP}",
        {
            "amount table",
            "SQL fold = body fold",
            "columnar fold = body fold",
            "cache = replay",
        },
    ),
    "an amount of no event": (
        (
            "INSERT INTO amount SELECT shard, 1000000, 0, kind, account_id, jurisdiction, currency,"
            f" amount_minor, occurred_at, recorded_at FROM amount WHERE {A_TOP_UP}"
        ),
        {"amount table"},
    ),
    "an amount of no rule": (
        f"UPDATE amount SET kind = 'Gift.amount' WHERE {A_TOP_UP}",
        {
            "amount table",
            "SQL fold = body fold",
            "columnar fold = body fold",
            "cache = replay",
        },
    ),
    "a changed sequence": (
        f"UPDATE event SET sequence = 1000000 WHERE {A_TOP_UP}",
        {"hash chain", "complete sequences"},
    ),
    "a high-water mark ahead of the log": (
        "UPDATE source_sequence SET last_sequence = last_sequence + 1",
        {"complete sequences"},
    ),
    "a forgotten source": ("DELETE FROM source_sequence", {"complete sequences"}),
    "a head behind the log": (
        "UPDATE shard SET head_sequence = head_sequence - 1 WHERE head_sequence > 0",
        {"complete sequences"},
    ),
    "a cursor put back": ("UPDATE cursor SET next_offset = 0", {"cursors"}),
    "a forged head": (
        "UPDATE shard SET head_hash = decode(repeat('ff', 32), 'hex') WHERE head_position > 0",
        {"hash chain"},
    ),
    "a skipped stream version": (
        (
            "UPDATE event SET stream_version = stream_version + 50 WHERE stream_id LIKE 'wallet/%'"
            " AND stream_version = 2"
        ),
        {"hash chain", "dense stream versions"},
    ),
    "an open dead letter": (
        (
            "INSERT INTO dead_letter (topic, partition, record_offset, record_headers, reason, detail,"
            " attempts, dead_lettered_at) VALUES ('billing.orders.v1', 0, 9, '[]', 'body_invalid', '',"
            " 1, now())"
        ),
        {"no open dead letter"},
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
async def test_verify_finds(ledger: LedgerDatabase, name: str) -> None:
    statement, expected = TAMPERINGS[name]
    await ledger.tamper(statement)
    failed = await ledger.failed()
    assert set(failed) == expected
    assert all(check.problem and check.advice for check in failed.values())


async def test_first_difference_is_named_by_its_place(ledger: LedgerDatabase) -> None:
    place = await ledger.pool.fetchval(
        f"SELECT format('shard %s position %s ', shard, position) FROM event WHERE {A_TOP_UP}"
    )
    await ledger.tamper(f"UPDATE amount SET currency = 'JPY' WHERE {A_TOP_UP}")
    problem = (await ledger.failed())["amount table"].problem
    assert problem is not None
    assert problem.startswith(place)
    assert "currency of amount 0 is JPY" in problem


async def test_gateway_of_an_amount_is_missed_once_an_account_needs_it(fresh_database: str) -> None:
    def one(since: str, until: str) -> str:
        return (
            "(shard, position, ordinal) = (SELECT shard, position, ordinal FROM amount"
            f" WHERE kind LIKE 'WalletToppedUp.%' AND occurred_at >= '{since}'"
            f" AND occurred_at < '{until}' ORDER BY shard, position LIMIT 1)"
        )

    in_november = one("2026-11-01T00:00Z", "2026-12-01T00:00Z")
    in_december = one("2026-12-01T00:00Z", "2027-01-01T00:00Z")
    async with open_ledger_database(fresh_database) as ledger:
        await ledger.feed(played().records())
        # As a version before gateways were kept has written it.
        await ledger.tamper(
            "UPDATE amount SET gateway = NULL WHERE occurred_at < '2026-12-01T00:00Z'"
        )
        assert await ledger.failed() == {}
        await ledger.tamper(f"UPDATE amount SET gateway = 'elsewhere' WHERE {in_november}")
        assert set(await ledger.failed()) == {"amount table"}
        await ledger.tamper(
            f"UPDATE amount SET gateway = NULL WHERE {in_november}",
            f"UPDATE amount SET gateway = NULL WHERE {in_december}",
        )
        failed = await ledger.failed()
        assert set(failed) == {
            "amount table",
            "SQL fold = body fold",
            "columnar fold = body fold",
            "cache = replay",
        }
        problem = failed["amount table"].problem
        assert problem is not None
        assert "gateway of amount 0 is None, the body says " in problem
