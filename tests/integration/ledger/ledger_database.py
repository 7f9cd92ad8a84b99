"""A ledger on a real database: fed by the runtime's intake, read as its own role, or tampered with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from services.cli.connections import connect
from services.cli.setup.setup import set_up_postgres
from services.ledger.books.columns import fold_columns
from services.ledger.books.coverage import resolve_scope
from services.ledger.handlers import build_processor
from services.ledger.reports.balance_report import Report, report
from services.ledger.rules.rule_file import load_rules
from services.ledger.rules.rule_set import RuleSet
from services.ledger.verification.verify import verify
from services.runtime.app.start import open_pool
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.log.postgres_log import PostgresEventLog
from services.runtime.verify.checks import Check
from tests.books import LOW_BALANCE, SHARDS, Record
from tests.controls import T0, dsn_for, settings_for

ROLE: Final = "perennial_ledger:secret"
RULES: Final = load_rules()


@dataclass(slots=True)
class LedgerDatabase:
    """One ledger's database and the clock its intake sees."""

    admin_dsn: str
    pool: asyncpg.Pool
    intake: Intake
    now: datetime = T0
    rules: RuleSet = RULES

    @property
    def dsn(self) -> str:
        """Return the address that the ledger's role uses."""
        return dsn_for(self.admin_dsn, ROLE)

    def connect(self) -> AbstractAsyncContextManager[asyncpg.Connection]:
        """Open a connection as the ledger's role."""
        return connect("ledger", self.dsn)

    async def feed(self, records: Sequence[Record], *, batch: int = 50) -> None:
        """Have the intake handle records in batches."""
        for first in range(0, len(records), batch):
            result = await self.intake.handle(records[first : first + batch])
            assert not result.seeks
            assert not any(outcome.startswith("dead_lettered") for outcome in result.outcomes)

    async def verify(self) -> dict[str, Check]:
        """Run every check as the ledger's role."""
        async with self.connect() as connection:
            checks = await verify(connection, self.dsn, "ledger", self.rules)
        return {check.name: check for check in checks}

    async def failed(self) -> dict[str, Check]:
        """Return the checks that fail."""
        return {name: check for name, check in (await self.verify()).items() if not check.ok}

    async def replay(
        self, known_at: datetime | None = None, effective_at: datetime | None = None
    ) -> Report:
        """Fold the log as `perennial ledger replay` does."""
        async with self.connect() as connection:
            scope = await resolve_scope(connection, known_at=known_at, effective_at=effective_at)
        balances = fold_columns(self.dsn, "ledger", scope, self.rules)
        return report(balances, scope, self.rules)

    async def tamper(self, *statements: str) -> None:
        """Change rows as the administrator, with every trigger off."""
        connection = await asyncpg.connect(
            self.admin_dsn, server_settings={"search_path": "ledger"}
        )
        try:
            await connection.execute("SET session_replication_role = replica")
            for statement in statements:
                status = await connection.execute(statement)
                assert not status.endswith(" 0"), f"changed nothing: {statement}"
        finally:
            await connection.close()


@asynccontextmanager
async def open_ledger_database(
    admin_dsn: str, rules: RuleSet = RULES
) -> AsyncIterator[LedgerDatabase]:
    """Set up an empty ledger, which books by `rules`, in an empty database."""
    await set_up_postgres(admin_dsn, "ledger", "secret", SHARDS)
    pool = await open_pool("ledger", settings_for(admin_dsn, role=ROLE))
    log = PostgresEventLog(pool)
    await log.ensure_cursors({("billing.orders.v1", shard): 0 for shard in range(SHARDS)})
    processor = build_processor(rules=rules, low_balance=LOW_BALANCE)
    intake = Intake(
        log=log,
        processor=processor,
        journal=Journal(processor),
        shard_count=SHARDS,
        clock=lambda: database.now,
    )
    database = LedgerDatabase(admin_dsn, pool, intake, rules=rules)
    try:
        yield database
    finally:
        await pool.close()
