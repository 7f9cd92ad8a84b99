"""What holds of any books: sums of zero, wallets covered by lots, folds that agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import BILLING
from schemas.envelope import Event
from services.ledger.books.columns import ColumnFold
from services.ledger.books.projection import AMOUNT_COLUMNS, amount_rows
from services.ledger.reports.balance_report import report
from services.ledger.reports.scope import Scope
from services.ledger.rules.accounts import (
    BONUS_OFFSET,
    GATEWAYS,
    WALLET_BONUS,
    WALLET_PAID,
    chart_entry,
)
from services.ledger.rules.amounts import amounts_of
from services.ledger.rules.postings import Balances, post
from services.ledger.rules.rule_file import load_rules
from services.runtime.errors import Park
from tests.books import OPERATIONS, Books, Operation
from tests.controls import T0

RULES = load_rules()
BY_GATEWAY = datetime(2026, 12, 1, tzinfo=UTC)
MOMENTS = st.sampled_from([T0, BY_GATEWAY - timedelta(microseconds=1), BY_GATEWAY])
BATCH = pa.schema(
    [
        ("shard", pa.int32()),
        ("position", pa.int64()),
        ("ordinal", pa.int32()),
        ("kind", pa.string()),
        ("account_id", pa.string()),
        ("jurisdiction", pa.string()),
        ("gateway", pa.string()),
        ("currency", pa.string()),
        ("amount_minor", pa.int64()),
        ("occurred_at", pa.timestamp("us", tz="UTC")),
        ("recorded_at", pa.timestamp("us", tz="UTC")),
    ]
)


def by_bodies(events: Sequence[Event], at: datetime = T0) -> Balances:
    balances: Balances = defaultdict(int)
    for event in events:
        for posting in post(event, at, RULES).postings:
            balances[0, posting.account, posting.currency] += posting.amount_minor
    return dict(balances)


def rows_of(books: Books, at: datetime = T0) -> list[tuple[object, ...]]:
    return [
        row
        for each in books.stored(at)
        for row in amount_rows(each, amounts_of(each.event(BILLING)))
    ]


def batch(rows: Sequence[tuple[object, ...]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(AMOUNT_COLUMNS)
    arrays = [
        pa.array(list(column), each.type) for column, each in zip(columns, BATCH, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=BATCH)


@given(OPERATIONS, MOMENTS)
def test_books_sum_to_zero_in_each_currency(operations: list[Operation], at: datetime) -> None:
    balances = by_bodies(Books().play(operations).filed, at)
    found = report(balances, Scope({0: 0}), RULES)
    assert set(found.trial_balance.values()) <= {0}


@given(OPERATIONS)
def test_every_entry_sums_to_zero_in_each_currency(operations: list[Operation]) -> None:
    for event in Books().play(operations).filed:
        sums: dict[str, int] = defaultdict(int)
        for posting in post(event, T0, RULES).postings:
            sums[posting.currency] += posting.amount_minor
        assert set(sums.values()) <= {0}


@given(OPERATIONS)
def test_no_lot_is_ever_overdrawn(operations: list[Operation]) -> None:
    books = Books()
    for operation in operations:
        books.play([operation])
        lots = [lot for wallet in books.wallets.values() for lot in wallet.lots.values()]
        assert all(lot.remaining_minor >= 0 for lot in lots)


@given(OPERATIONS)
def test_no_account_is_on_the_wrong_side(operations: list[Operation]) -> None:
    for (_, account, _), minor in by_bodies(Books().play(operations).filed).items():
        entry = chart_entry(account)
        assert not entry.one_sided or (minor >= 0 if entry.normal == "debit" else minor <= 0)


@given(OPERATIONS)
def test_wallet_accounts_are_the_sums_of_their_lots(operations: list[Operation]) -> None:
    books = Books().play(operations)
    lots: dict[tuple[str, str], int] = defaultdict(int)
    for account_id, wallet in books.wallets.items():
        for lot in wallet.lots.values():
            prefix = WALLET_PAID if lot.kind == "paid" else WALLET_BONUS
            lots[prefix + account_id, lot.currency] -= lot.remaining_minor
    balances = by_bodies(books.filed)
    wallets = {
        (account, currency): minor
        for (_, account, currency), minor in balances.items()
        if account.startswith((WALLET_PAID, WALLET_BONUS))
    }
    assert wallets == dict(lots)
    offset = {key[2]: minor for key, minor in balances.items() if key[1] == BONUS_OFFSET}
    for currency, minor in offset.items():
        assert minor == -sum(
            each
            for (account, name), each in wallets.items()
            if account.startswith(WALLET_BONUS) and name == currency
        )


@given(OPERATIONS, MOMENTS)
def test_columnar_fold_agrees_with_the_postings(operations: list[Operation], at: datetime) -> None:
    books = Books().play(operations)
    fold = ColumnFold(RULES)
    assert fold.balances(fold.step(batch(rows_of(books, at)))) == by_bodies(books.filed, at)


@given(OPERATIONS, MOMENTS)
def test_gateways_of_a_method_add_up_to_what_the_method_was_before(
    operations: list[Operation], at: datetime
) -> None:
    filed = Books().play(operations).filed
    together: Balances = defaultdict(int)
    for (shard, account, currency), minor in by_bodies(filed, at).items():
        parts = account.split(":")
        method = ":".join(parts[:3]) if account.startswith(GATEWAYS) else account
        together[shard, method, currency] += minor
    assert together == by_bodies(filed, T0)


@given(OPERATIONS, st.randoms(use_true_random=False), st.integers(1, 5))
def test_order_of_rows_and_shape_of_batches_do_not_matter(
    operations: list[Operation], random: Random, size: int
) -> None:
    fold = ColumnFold(RULES)
    rows = rows_of(Books().play(operations))
    whole = fold.balances(fold.step(batch(rows)))
    random.shuffle(rows)
    partials = [
        fold.step(batch(rows[first : first + size])) for first in range(0, len(rows), size)
    ] or [fold.step(batch([]))]
    left = partials[0]
    for partial in partials[1:]:
        left = fold.merge([left, partial])
    right = partials[-1]
    for partial in reversed(partials[:-1]):
        right = fold.merge([partial, right])
    assert fold.balances(left) == fold.balances(right) == whole


def test_sum_beyond_64_bits_is_exact() -> None:
    fold = ColumnFold(RULES)
    row = (0, 1, 0, "BonusGranted.amount", "acct-1", None, None, "USD", 10**15, T0, T0)
    partial = fold.step(batch([row] * 100))
    for _ in range(2):
        partial = fold.merge([partial] * 100)
    assert fold.balances(partial)[0, BONUS_OFFSET, "USD"] == 10**21


def test_report_is_the_same_whatever_the_order_of_the_balances() -> None:
    balances: Balances = {(0, "b", "USD"): 1, (1, "a", "USD"): -2, (0, "a", "USD"): 1}
    backwards = dict(reversed(balances.items()))
    scope, backwards_scope = Scope({0: 1, 1: 2}), Scope({1: 2, 0: 1})
    assert report(balances, scope, RULES).body == report(backwards, backwards_scope, RULES).body


@pytest.mark.parametrize("first", range(5))
@pytest.mark.parametrize("last", range(1, 6))
def test_batch_with_moments_on_both_sides_of_a_boundary_is_booked_by_both_versions(
    first: int, last: int
) -> None:
    instant = timedelta(microseconds=1)
    moments = [T0, BY_GATEWAY - instant, BY_GATEWAY, BY_GATEWAY + instant, BY_GATEWAY + 9 * instant]
    rows = [
        (0, number, 0, "WalletToppedUp.card.amount", "a", None, "g", "USD", 10**number, at, at)
        for number, at in list(enumerate(moments))[first:last]
    ]
    fold = ColumnFold(RULES)
    found = fold.balances(fold.step(batch(rows)))
    shared = sum(10**number for number in range(first, min(last, 2)))
    own = sum(10**number for number in range(max(first, 2), last))
    debits = {account: minor for (_, account, _), minor in found.items() if minor > 0}
    expected = {"Assets:Gateway:Card": shared, "Assets:Gateway:Card:g": own}
    assert debits == {account: minor for account, minor in expected.items() if minor}


def test_moment_before_every_rule_halts_beside_moments_that_have_one() -> None:
    before = datetime(2019, 12, 31, tzinfo=UTC)
    rows = [
        (0, n, 0, "BonusGranted.amount", "a", None, None, "USD", 1, at, at)
        for n, at in enumerate([BY_GATEWAY, before, T0])
    ]
    fold = ColumnFold(RULES)
    told = r"^no posting rule for BonusGranted\.amount at 2020-01-01T00:00:00\+00:00: "
    with pytest.raises(Park, match=told):
        fold.balances(fold.step(batch(rows)))
