"""What the ledger makes of records and of its settings."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from schemas.envelope import Envelope, Event
from schemas.topics import ORDERS, Source
from services.ledger.decider import AddLot, ChargeWallet, FileFact, RestoreCharge
from services.ledger.handlers import build_processor, load_low_balance
from services.ledger.rules.rule_file import RECORDED, load_rules
from services.ledger.settings import LedgerSettings
from services.runtime.errors import ConfigurationError, Poison
from services.runtime.processor import Task
from services.runtime.settings import load_settings
from tests.controls import T0
from tests.unit.ledger.builders import (
    IN_WALLET,
    bonus,
    captured,
    charge_requested,
    consideration,
    money,
    refunded,
    topped_up,
)

PROCESSOR = build_processor(rules=load_rules(), low_balance={"USD": money(300)})


def task_for(event: Event, subject: str | None = "order/r-1") -> Task:
    envelope = Envelope(
        id=UUID(int=1),
        source=Source.ORDERS,
        type=event.wire_type(),
        subject=subject,
        time=T0,
        partitionkey=event.account_id,
    )
    task = PROCESSOR.handlers[type(event)](envelope, event, T0)
    assert isinstance(task, Task)
    return task


def test_every_event_of_orders_is_filed() -> None:
    wanted = {name for name, model in RECORDED.items() if model in PROCESSOR.handlers}
    assert wanted == RECORDED.keys() - {
        "WalletCharged",
        "WalletChargeRefused",
        "LowBalanceDetected",
    }
    (subscription,) = PROCESSOR.subscriptions
    assert (subscription.topic, subscription.strict) == (ORDERS.name, True)
    assert PROCESSOR.records_incoming


@pytest.mark.parametrize(
    ("event", "command"),
    [
        (topped_up(100), AddLot(topped_up(100))),
        (bonus(100), AddLot(bonus(100))),
        (charge_requested(100), ChargeWallet(charge_requested(100), money(300), T0)),
        (
            refunded(consideration(100), method=IN_WALLET),
            RestoreCharge(refunded(consideration(100), method=IN_WALLET)),
        ),
    ],
)
def test_event_that_moves_a_wallet_becomes_a_command_on_its_stream(
    event: Event, command: object
) -> None:
    assert task_for(event) == Task("wallet/acct-1", command)


@pytest.mark.parametrize("event", [captured(100), refunded(consideration(100))])
def test_other_fact_is_filed_in_the_stream_that_orders_keeps_it_in(event: Event) -> None:
    assert task_for(event, "order/r-9") == Task("order/r-9", FileFact(), stateless=True)


def test_currency_without_threshold_gives_no_notice() -> None:
    task = task_for(charge_requested(100, currency="GBP"))
    assert isinstance(task.command, ChargeWallet)
    assert task.command.low_balance is None


def test_fact_without_subject_is_poison() -> None:
    with pytest.raises(Poison, match="ce_subject"):
        task_for(captured(100), subject=None)


@pytest.mark.parametrize(
    "content", ["[low_balance]\nXXX = 5", "[low_balance]\nUSD = 1.5", "[low_balance]\nUSD = 0", "["]
)
def test_unusable_thresholds_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "low_balance.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="restore the file"):
        load_low_balance(path)


def test_ledger_stops_after_few_dead_letters_unless_told_otherwise(tmp_path: Path) -> None:
    environ = {
        "PERENNIAL_LEDGER_POSTGRES_DSN": "postgresql://u:p@127.0.0.1/x",
        "PERENNIAL_LEDGER_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    }
    settings = load_settings(LedgerSettings, environ)
    assert settings.dead_letter_limit == 10
    assert load_rules(settings.posting_rules).name
    own = environ | {
        "PERENNIAL_LEDGER_DEAD_LETTER_LIMIT": "3",
        "PERENNIAL_LEDGER_POSTING_RULES": str(tmp_path / "rules.toml"),
    }
    changed = load_settings(LedgerSettings, own)
    assert (changed.dead_letter_limit, changed.posting_rules.parent) == (3, tmp_path)
    assert isinstance(changed.postgres_dsn, SecretStr)
