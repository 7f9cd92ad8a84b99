"""A wallet with a long past and more than 64 bits of credit: booked, folded, loaded, verified."""

from __future__ import annotations

import asyncio

from schemas.ledger import WalletCharged
from schemas.money import AMOUNT_MINOR_MAX
from schemas.requests import PaymentMethod
from services.ledger.books.cache import cached_balances, rebuild_balances
from services.ledger.books.columns import fold_columns
from services.ledger.books.coverage import resolve_scope
from services.ledger.books.sql_fold import fold_sql
from services.ledger.handlers import build_processor
from services.ledger.reports.statement import statement
from services.runtime.flow.journal import Journal
from tests.books import LOW_BALANCE, Books, Kind, Operation
from tests.integration.ledger.ledger_database import RULES, open_ledger_database

TOP_UPS = 9_300
PAID = "Liabilities:Wallet:Paid:acct-1"
HELD = (TOP_UPS - 1) * AMOUNT_MINOR_MAX


def operation(kind: Kind) -> Operation:
    return Operation(kind, 1, AMOUNT_MINOR_MAX, 0, "USD", None, PaymentMethod.CARD)


async def test_wallet_beyond_64_bits_agrees_in_every_fold_and_loads_without_holding_the_loop(
    fresh_database: str,
) -> None:
    books = Books().play([operation("top_up")] * TOP_UPS)
    records = books.records()
    books.play([operation("wallet")])
    (charged,) = (event for event in books.filed if isinstance(event, WalletCharged))
    assert charged.balance_after.amount_minor == AMOUNT_MINOR_MAX
    async with open_ledger_database(fresh_database) as ledger:
        await ledger.feed(records, batch=500)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        processor = build_processor(rules=RULES, low_balance=LOW_BALANCE)
        ledger.intake._journal = Journal(processor)  # noqa: SLF001 - as after a restart
        working = asyncio.create_task(others())
        await ledger.feed(books.records()[len(records) :])
        working.cancel()
        assert turns > TOP_UPS // 100

        async with ledger.connect() as connection:
            scope = await resolve_scope(connection)
            by_sql = await fold_sql(connection, scope, RULES)
            cached = await cached_balances(connection)
            told = await statement(connection, PAID, scope, RULES)
            await rebuild_balances(connection, RULES)
            rebuilt = await cached_balances(connection)
        assert cached == rebuilt == by_sql == fold_columns(ledger.dsn, "ledger", scope, RULES)
        assert told.closing[PAID, "USD"] == -HELD
        assert told.closing[PAID, "USD"] < -(2**63)
        assert (await ledger.replay()).totals[PAID, "USD"] == -HELD
        assert await ledger.failed() == {}
