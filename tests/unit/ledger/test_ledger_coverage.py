"""What a report covers, as SQL that the folds have in common: every value in it was checked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.ledger.books.coverage import condition_of, source_of
from services.ledger.reports.scope import Scope
from tests.controls import T0

LAST = "amount.position <= bound.position"


def test_positions_bound_the_rows_of_each_shard() -> None:
    assert source_of(Scope({3: 9, 1: 4})) == (
        "amount JOIN (VALUES (1, 4::bigint), (3, 9::bigint)) AS bound(shard, position)"
        " ON bound.shard = amount.shard"
    )


def test_conditions_are_those_that_the_scope_names() -> None:
    later = T0 + timedelta(seconds=1)
    known = "amount.recorded_at <= '2026-11-20T08:00:00.000000Z'"
    effective = "amount.occurred_at <= '2026-11-20T08:00:01.000000Z'"
    whose = "amount.account_id = 'acct-1'"
    assert condition_of(Scope({1: 4})) == LAST
    assert condition_of(Scope({1: 4}, T0)) == f"{LAST} AND {known}"
    assert condition_of(Scope({1: 4}, effective_at=later)) == f"{LAST} AND {effective}"
    assert condition_of(Scope({1: 4}, account_id="acct-1")) == f"{LAST} AND {whose}"
    every = Scope({1: 4}, T0, later, "acct-1")
    assert condition_of(every) == f"{LAST} AND {known} AND {effective} AND {whose}"


@pytest.mark.parametrize("account_id", ["", "a'b", "a b", "a" * 65, "a\n", "-a;", "ä"])
def test_account_id_that_could_be_sql_is_refused(account_id: str) -> None:
    with pytest.raises(ValueError, match=r"^an account id has letters, digits and \._:- only"):
        condition_of(Scope({1: 4}, account_id=account_id))


@pytest.mark.parametrize("account_id", ["a", "A1._:-", "0" * 64])
def test_account_id_of_the_contract_is_taken(account_id: str) -> None:
    assert condition_of(Scope({1: 4}, account_id=account_id)).endswith(f"= '{account_id}'")
