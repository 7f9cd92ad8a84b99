"""The settings of the ledger, `PERENNIAL_LEDGER_*`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.ledger.handlers import LOW_BALANCE
from services.ledger.rules.rule_file import POSTING_RULES
from services.runtime.settings import FetchWait, RuntimeSettings


class LedgerSettings(RuntimeSettings):
    """What the ledger needs beside the runtime.

    Behind one missing event everything of its shard is dead-lettered, so the limit is small: the
    ledger stops at a gap and skips nothing.
    """

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_LEDGER_")

    dead_letter_limit: int = Field(default=10, ge=1)
    fetch_wait_ms: FetchWait = 100
    posting_rules: Path = POSTING_RULES
    low_balance: Path = LOW_BALANCE
