"""Names of accounts are told apart whatever the values in them, which others choose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.requests import PaymentMethod
from services.ledger.rules.accounts import CHART, AccountRef, account_ref, chart_entry
from services.ledger.rules.variables import (
    VARIABLES,
    WORDS,
    Choice,
    Word,
    pattern_of,
    variables_in,
)
from tests.unit.ledger.builders import GATEWAY_METHODS, captured

BY_GATEWAY = "Assets:Gateway:{Method}:{gateway}"
IDENTIFIERS = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")
HOSTILE = IDENTIFIERS | st.sampled_from(
    [
        "a",
        "a:b",
        "a:",
        "a::b",
        "a.b",
        "a-3Ab",
        "Card",
        "Card:stripe",
        "3A",
        "None",
        "gateway",
        "account",
    ]
)


def values(**given_words: str | None) -> dict[str, str | None]:
    return {word.column: None for word in WORDS} | given_words


def by_gateway(method: PaymentMethod, gateway: str | None) -> str:
    return account_ref(BY_GATEWAY, {"method": method}).name(values(gateway=gateway))


@given(
    st.tuples(st.sampled_from(GATEWAY_METHODS), st.none() | HOSTILE),
    st.tuples(st.sampled_from(GATEWAY_METHODS), st.none() | HOSTILE),
)
def test_accounts_of_two_gateways_are_the_same_only_for_the_same_gateway_and_method(
    one: tuple[PaymentMethod, str | None], other: tuple[PaymentMethod, str | None]
) -> None:
    assert (by_gateway(*one) == by_gateway(*other)) == (one == other)


@given(st.sampled_from(GATEWAY_METHODS), HOSTILE)
def test_account_of_a_gateway_has_one_level_for_it_that_shows_its_name(
    method: PaymentMethod, gateway: str
) -> None:
    name = by_gateway(method, gateway)
    assets, gateways, label, shown = name.split(":")
    assert (assets, gateways) == ("Assets", "Gateway")
    assert label in VARIABLES["Method"].pattern.split("|")
    assert shown.replace("%3A", ":") == gateway
    assert chart_entry(name).template == BY_GATEWAY
    assert account_ref(BY_GATEWAY, {"method": method}).values_in(name) == {"gateway": shown}


def test_account_without_a_gateway_is_one_level_higher() -> None:
    name = by_gateway(PaymentMethod.CARD, None)
    assert name == "Assets:Gateway:Card"
    assert chart_entry(name).template == "Assets:Gateway:{Method}"
    assert account_ref(BY_GATEWAY, {"method": "card"}).values_in(name) == {"gateway": None}


@pytest.mark.parametrize(
    "gateway",
    [
        *(
            "",
            " stripe",
            "stripe ",
            "st ripe",
            "strïpe",
            "str\u200bipe",
            "a\nb",
            "{account}",
            "%3A",
        ),
        "a" * 65,
    ],
)
def test_gateway_of_another_form_is_no_fact_at_all(gateway: str) -> None:
    body = captured(100).model_dump_json().replace("sandbox-card", "NAME")
    sent = body.replace('"NAME"', '"' + gateway.replace("\n", "\\n") + '"')
    assert sent != body
    with pytest.raises(ValidationError):
        type(captured(100)).parse(sent.encode())


@given(st.lists(HOSTILE, min_size=2, max_size=2, unique=True))
def test_wallets_of_two_customers_are_two_accounts(accounts: list[str]) -> None:
    for template in ("Liabilities:Wallet:Paid:{account}", "Liabilities:Wallet:Bonus:{account}"):
        ref = account_ref(template, {})
        first, second = (ref.name(values(account_id=each)) for each in accounts)
        assert first != second
        assert [ref.values_in(name) for name in (first, second)] == [
            {"account": each} for each in accounts
        ]


def test_chart_can_be_read_back_because_only_the_last_level_of_a_name_may_hold_colons() -> None:
    for entry in CHART:
        whole = [
            each
            for each in variables_in(entry.template)
            if isinstance(each, Word) and not each.part
        ]
        assert len(whole) <= 1
        assert all(entry.template.endswith(f":{{{each.name}}}") for each in whole)


def test_names_of_two_accounts_of_the_chart_are_never_the_same() -> None:
    shown = {"Method": "Card", "gateway": "g", "jurisdiction": "US", "account": "acct-1"}
    for entry in CHART:
        name = entry.template.format(**shown)
        assert chart_entry(name) is entry
        matching = [each for each in CHART if pattern_of(each.template).fullmatch(name)]
        assert matching == [entry] or name == "Assets:Gateway:Card"


def test_every_variable_is_named_once_and_a_fact_gives_it() -> None:
    assert len({each.field for each in VARIABLES.values()}) == len(VARIABLES)
    assert [name for name, each in VARIABLES.items() if isinstance(each, Choice)] == [
        "Method",
        "PlanKind",
        "PlanTier",
    ]
    assert {each.column for each in WORDS} == {"gateway", "currency", "jurisdiction", "account_id"}


def test_template_with_a_variable_that_is_not_declared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"uses \{Colour\}, which is no variable"):
        variables_in("Assets:{Colour}")
    with pytest.raises(ValueError, match=r"uses \{method\}, which is no variable"):
        pattern_of("Assets:Gateway:{method}")
    with pytest.raises(ValueError, match=r"uses \{\}, which is no variable"):
        account_ref("Assets:{}", {})


def test_several_words_are_each_put_in_their_place() -> None:
    template = "Equity:{currency}:{gateway}:{account}"
    words = (each for each in variables_in(template) if isinstance(each, Word))
    ref = AccountRef(template, tuple(words))
    told = values(currency="USD", gateway="a:b", account_id="acct:1")
    assert ref.name(told) == "Equity:USD:a%3Ab:acct:1"
    assert ref.values_in("Equity:USD:a%3Ab:acct:1") == {
        "currency": "USD",
        "gateway": "a%3Ab",
        "account": "acct:1",
    }
    assert ref.name(told | {"gateway": None}) == "Equity:USD:acct:1"
