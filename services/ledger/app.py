"""The only wiring of the ledger: settings and a pool in, a processor out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import asyncpg

from services.ledger.handlers import build_processor, load_low_balance
from services.ledger.rules.rule_file import load_rules
from services.ledger.settings import LedgerSettings
from services.runtime.processor import Processor
from services.runtime.toml.toml_file import digests_of


@asynccontextmanager
async def open_ledger(
    settings: LedgerSettings, _pool: asyncpg.Pool, _clock: Callable[[], datetime]
) -> AsyncIterator[Processor]:
    """Read the posting rules and the low-balance thresholds, and yield the ledger."""
    rules = load_rules(settings.posting_rules)
    processor = build_processor(rules=rules, low_balance=load_low_balance(settings.low_balance))
    yield replace(processor, rules=digests_of({"posting_rules": settings.posting_rules}))
