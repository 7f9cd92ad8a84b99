"""The ledger on Postgres: what it keeps is what a replay finds, now and at any past moment."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from schemas.requests import PaymentMethod
from services.ledger.books.cache import cached_balances, cached_report, rebuild_balances
from services.ledger.books.columns import fold_columns
from services.ledger.books.coverage import resolve_scope
from services.ledger.books.sql_fold import fold_sql
from services.ledger.reports.statement import statement
from tests.books import Books, Kind, Operation
from tests.controls import T0
from tests.integration.ledger.ledger_database import RULES, LedgerDatabase, open_ledger_database
from tests.unit.ledger.builders import GATEWAY_METHODS

KINDS: tuple[Kind, ...] = ("top_up", "card", "wallet", "fail")


def played(count: int = 200, customers: int = 9, seed: int = 11) -> Books:
    """Return books of `count` operations; the same seed gives the same books."""
    random = Random(seed)  # noqa: S311 - the same books every time
    return Books().play(
        [
            Operation(
                kind=random.choices(KINDS, (4, 3, 4, 1))[0],
                customer=random.randint(1, customers),
                amount_minor=random.randint(1, 5_000),
                extra_minor=random.randint(0, 900),
                currency=random.choice(["USD", "CNY"]),
                days=random.choice([None, 1, 30]),
                method=random.choice(GATEWAY_METHODS),
                gateway=random.choice(["sandbox-card", "stripe", "stripe:eu", "Card", "3A"]),
            )
            for _ in range(count)
        ]
    )


@pytest.fixture
async def ledger(fresh_database: str) -> AsyncIterator[LedgerDatabase]:
    async with open_ledger_database(fresh_database) as database:
        yield database


async def test_verify_passes_on_generated_books_and_compares_everything(
    ledger: LedgerDatabase,
) -> None:
    books = played()
    await ledger.feed(books.records())
    checks = await ledger.verify()
    assert {name: check.problem for name, check in checks.items() if not check.ok} == {}
    assert checks["hash chain"].compared == f"{len(books.filed)} hashes in 4 shards"
    assert any(wallet.charges for wallet in books.wallets.values())


async def test_facts_that_bear_one_event_id_are_booked_to_their_own_accounts(
    ledger: LedgerDatabase,
) -> None:
    books = played(60)
    records = books.records()
    for record in records:
        record.headers = [
            (name, b"00000000-0000-4000-8000-000000000001" if name == "ce_id" else value)
            for name, value in record.headers
        ]
    await ledger.feed(records)
    checks = await ledger.verify()
    assert {name: check.problem for name, check in checks.items() if not check.ok} == {}
    async with ledger.connect() as connection:
        shared = await connection.fetchval(
            "SELECT count(*) - count(DISTINCT event_id) FROM event WHERE source = '/billing/ledger'"
        )
    assert shared == 0


async def test_cache_and_every_fold_are_equal(ledger: LedgerDatabase) -> None:
    await ledger.feed(played().records(), batch=7)
    async with ledger.connect() as connection:
        scope = await resolve_scope(connection)
        cached = await cached_balances(connection)
        sql = await fold_sql(connection, scope, RULES)
    columns = fold_columns(ledger.dsn, "ledger", scope, RULES)
    assert len(columns) > 20
    assert cached == columns == sql


async def test_records_delivered_twice_are_booked_once(ledger: LedgerDatabase) -> None:
    records = played(40).records()
    await ledger.feed(records)
    before = await ledger.replay()
    result = await ledger.intake.handle(records)
    assert result.events == 0
    assert (await ledger.replay()).sha256 == before.sha256


async def test_past_moment_is_the_same_before_and_after_more_events(
    ledger: LedgerDatabase,
) -> None:
    records = played().records()
    half = len(records) // 2
    await ledger.feed(records[:half])
    moment = T0 + timedelta(minutes=5)
    before, known_now = await ledger.replay(known_at=moment), await ledger.replay()
    ledger.now = T0 + timedelta(minutes=10)
    await ledger.feed(records[half:])
    assert (await ledger.replay(known_at=moment)).body == before.body
    assert before.totals == known_now.totals
    assert (await ledger.replay()).totals != before.totals


async def test_effective_at_counts_what_had_happened_whenever_it_was_recorded(
    ledger: LedgerDatabase,
) -> None:
    books = played()
    await ledger.feed(books.records())
    middle = books.published[len(books.published) // 2].occurred_at
    found = await ledger.replay(effective_at=middle)
    async with ledger.connect() as connection:
        scope = await resolve_scope(connection, effective_at=middle)
        assert await fold_sql(connection, scope, RULES) == fold_columns(
            ledger.dsn, "ledger", scope, RULES
        )
    assert found.totals != (await ledger.replay()).totals
    assert set(found.trial_balance.values()) == {0}


async def test_verify_holds_while_the_ledger_goes_on(ledger: LedgerDatabase) -> None:
    records = played().records()
    await ledger.feed(records[:100])
    feeding = asyncio.create_task(ledger.feed(records[100:], batch=5))
    assert await ledger.failed() == {}
    await feeding
    assert await ledger.failed() == {}


async def test_rebuilt_cache_is_the_cache(ledger: LedgerDatabase) -> None:
    await ledger.feed(played().records())
    async with ledger.connect() as connection:
        before = await cached_balances(connection)
        await connection.execute("UPDATE balance SET amount_minor = amount_minor + 1")
        count = await rebuild_balances(connection, RULES)
        assert await cached_balances(connection) == before
    assert count == len(before)


async def test_cached_report_has_the_bytes_of_a_replay(ledger: LedgerDatabase) -> None:
    await ledger.feed(played(50).records())
    async with ledger.connect() as connection:
        cached = await cached_report(connection, RULES)
    assert cached.body == (await ledger.replay()).body


async def test_statement_runs_from_opening_to_closing_and_ends_in_the_balance(
    ledger: LedgerDatabase,
) -> None:
    records = played().records()
    await ledger.feed(records[:120])
    ledger.now = T0 + timedelta(minutes=10)
    await ledger.feed(records[120:])
    totals = (await ledger.replay()).totals
    async with ledger.connect() as connection:
        scope = await resolve_scope(connection)
        for account in sorted({account for account, _ in totals}):
            found = await statement(
                connection, account, scope, RULES, since=T0 + timedelta(minutes=5)
            )
            assert found.closing == {key: totals[key] for key in totals if key[0] == account}
            running = dict(found.opening)
            for line in found.lines:
                running[line.account, line.currency] += line.amount_minor
                assert line.balance_minor == running[line.account, line.currency]
            assert running == found.closing


async def test_customer_statement_balances_and_names_only_that_customer(
    ledger: LedgerDatabase,
) -> None:
    await ledger.feed(played().records())
    async with ledger.connect() as connection:
        found = await statement(connection, "acct-3", await resolve_scope(connection), RULES)
    sums = {currency: 0 for _, currency in found.closing}
    for (_, currency), minor in found.closing.items():
        sums[currency] += minor
    assert set(sums.values()) == {0}
    assert found.lines
    wallets = {line.account for line in found.lines if ":Wallet:Paid:" in line.account}
    assert wallets == {"Liabilities:Wallet:Paid:acct-3"}


def command(
    ledger: LedgerDatabase, *words: str, hash_seed: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run `perennial ledger` as a person would."""
    environ = os.environ | {
        "PERENNIAL_LEDGER_POSTGRES_DSN": ledger.dsn,
        "PERENNIAL_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "PYTHONHASHSEED": str(hash_seed),
        "COLUMNS": "200",
    }
    return subprocess.run(
        [sys.executable, "-m", "services.cli", "ledger", *words],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def replayed(ledger: LedgerDatabase, output: Path, hash_seed: int) -> tuple[str, bytes]:
    """Return what one process prints and writes."""
    ran = command(ledger, "replay", "--json", "--output", str(output), hash_seed=hash_seed)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout, output.read_bytes()


async def test_replay_gives_the_same_bytes_in_every_process(
    ledger: LedgerDatabase, tmp_path: Path
) -> None:
    await ledger.feed(played().records())
    first, again = (replayed(ledger, tmp_path / f"{seed}.json", seed) for seed in (1, 2))
    assert first == again
    assert first[1] == (await ledger.replay()).body
    assert json.loads(first[0])["sha256"] == hashlib.sha256(first[1]).hexdigest()


async def test_commands_tell_people_and_programs_the_same(ledger: LedgerDatabase) -> None:
    await ledger.feed(played(60).records())
    replayed = command(ledger, "replay")
    kept = command(ledger, "balances", "--json")
    assert replayed.returncode == kept.returncode == 0, replayed.stderr + kept.stderr
    assert json.loads(kept.stdout)["source"] == "cache"
    assert json.loads(kept.stdout)["sha256"] in replayed.stdout
    assert replayed.stderr == ""
    told = command(ledger, "statement", "acct-1")
    assert "opening" in told.stdout or "closing" in told.stdout
    lines = json.loads(command(ledger, "statement", "acct-1", "--json").stdout)["lines"]
    assert f"{lines[0]['shard']}/{lines[0]['position']}" in told.stdout


@pytest.mark.parametrize(
    "arguments",
    [("balances", "--account"), ("replay", "--account"), ("statement",)],
)
async def test_account_that_nothing_is_known_of_is_named(
    ledger: LedgerDatabase, arguments: tuple[str, ...]
) -> None:
    await ledger.feed(played(60).records())
    told = command(ledger, *arguments, "acct-nobody")
    assert (told.returncode, told.stdout) == (1, "")
    assert "the books hold nothing of acct-nobody" in told.stderr
    assert command(ledger, *arguments, "acct-1").returncode == 0


async def test_verify_exits_0_when_sound_and_1_with_what_to_do_when_not(
    ledger: LedgerDatabase,
) -> None:
    await ledger.feed(played(60).records())
    sound = command(ledger, "verify")
    assert (sound.returncode, sound.stderr) == (0, "")
    assert "the books are sound" in sound.stdout
    await ledger.tamper("UPDATE balance SET amount_minor = amount_minor + 7")
    broken = command(ledger, "verify", "--json")
    assert broken.returncode == 1
    (failed,) = (check for check in json.loads(broken.stdout)["checks"] if not check["ok"])
    assert failed["name"] == "cache = replay"
    assert "rebuild-cache" in failed["advice"]
    assert command(ledger, "rebuild-cache").returncode == 0
    assert command(ledger, "verify").returncode == 0


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        ("yesterday", "write it as"),
        ("2026-11-20T08:00:00", "time zone"),
        ("2999-01-01T00:00:00Z", "future"),
    ],
)
async def test_moment_that_cannot_be_replayed_is_refused(
    ledger: LedgerDatabase, moment: str, told: str
) -> None:
    ran = command(ledger, "replay", "--known-at", moment)
    assert ran.returncode == 2
    assert told in ran.stderr


def test_generated_books_hold_wallet_payments_refused_charges_and_refunds_to_wallets() -> None:
    books = played()
    kinds = {type(event).__name__ for event in books.filed}
    assert {"WalletCharged", "WalletChargeRefused", "LowBalanceDetected"} <= kinds
    assert any(
        getattr(event, "method", None) is PaymentMethod.WALLET
        for event in books.filed
        if type(event).__name__ == "RefundCompleted"
    )


async def test_gateways_are_told_apart_and_what_they_owe_is_the_balance_of_their_accounts(
    ledger: LedgerDatabase,
) -> None:
    await ledger.feed(played().records())
    report = json.loads(command(ledger, "gateways", "--json").stdout)["report"]
    names = {line["gateway"] for line in report["lines"]}
    assert names == {None, "sandbox-card", "stripe", "stripe:eu", "Card", "3A"}
    balances = json.loads(command(ledger, "replay", "--json").stdout)["report"]["balances"]
    assert [
        (each["account"], each["currency"], each["to_pay_out_minor"])
        for each in sorted(report["lines"], key=lambda line: (line["account"], line["currency"]))
    ] == [
        (each["account"], each["currency"], each["amount_minor"])
        for each in balances
        if each["account"].startswith("Assets:Gateway:")
    ]
    shown = command(ledger, "gateways").stdout
    assert "stripe:eu" in shown
    assert "(not named): before 2026-12-01" in shown
    (line, *_) = report["lines"]
    statement_of = command(ledger, "statement", report["lines"][-1]["account"], "--json")
    closing = json.loads(statement_of.stdout)["closing"]
    assert {each["account"] for each in closing} == {report["lines"][-1]["account"]}
    assert line["gateway"] is None
