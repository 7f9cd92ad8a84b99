"""A rule file that could book wrongly is refused at start, with the reason for every row."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.ledger.rules.accounts import CHART, account_ref, chart_entry
from services.ledger.rules.postings import post
from services.ledger.rules.rule_file import POSTING_RULES, RECORDED, RELEASED, load_rules
from services.ledger.rules.rule_set import Rule, missing_rule
from services.runtime.errors import ConfigurationError, Park
from tests.controls import T0
from tests.unit.ledger.builders import bonus
from tests.unit.ledger.rule_files import (
    BONUS_ROW,
    NO_RULE,
    changed,
    problems_of,
    row,
    unbooked,
)


def test_rules_of_a_file_are_its_rows_by_kind_of_amount(tmp_path: Path) -> None:
    later = row(
        version="2", valid_from="2026-11-21T00:00:00Z", credit='"Liabilities:Refunds:Payable"'
    )
    path = changed(tmp_path, BONUS_ROW, later + BONUS_ROW)
    rules = load_rules(path)
    begins, first = datetime(2026, 11, 21, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)
    offset = account_ref("Liabilities:Wallet:BonusOffset", {})
    wallet = account_ref("Liabilities:Wallet:Bonus:{account}", {})
    payable = account_ref("Liabilities:Refunds:Payable", {})
    assert rules.by_kind["BonusGranted.amount"] == (
        Rule("bonus", 1, first, begins, offset, wallet),
        Rule("bonus", 2, begins, None, offset, payable),
    )
    assert rules.name == load_rules().name == "2026-12"
    assert rules.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert rules.boundaries() == [first, begins, datetime(2026, 12, 1, tzinfo=UTC)]


def test_rows_are_given_by_kind_in_the_order_of_the_alphabet() -> None:
    rules = load_rules()
    kinds = [kind for kind, _ in rules.rows()]
    assert kinds == sorted(kinds)
    assert list(rules.rows()) == [(k, r) for k in sorted(rules.by_kind) for r in rules.by_kind[k]]


def test_event_without_amounts_says_why_it_posts_nothing() -> None:
    rules = load_rules()
    rule = rules.for_event("PlanActivated", T0)
    assert (rule.debit, rule.credit) == (None, None)
    assert rule.no_posting
    assert rules.by_event["PlanActivated"] == (rule,)


def test_amount_or_event_without_a_rule_halts_with_what_to_do() -> None:
    rules, told = (
        load_rules(),
        (
            "no posting rule for {}: nothing was booked. Add a row to posting_rules.toml (or a "
            "no_posting row with the reason), start again, then `perennial shards resume`"
        ),
    )
    for look_up in (rules.for_kind, rules.for_event):
        with pytest.raises(Park) as parked:
            look_up("Gift", T0)
        assert parked.value.reason == "no_posting_rule"
        assert str(parked.value) == told.format("Gift at 2026-11-20T08:00:00+00:00")
    assert str(missing_rule("Gift")) == told.format("Gift")


@pytest.mark.parametrize(
    ("replacement", "reason"),
    [
        (row(amount=""), "give `amount`, `debit` and `credit`, or `no_posting`"),
        (row(credit=""), "give `amount`, `debit` and `credit`, or `no_posting`"),
        (row(no_posting='"why"'), "give `amount`, `debit` and `credit`, or `no_posting`"),
        (row(valid_from="2020-01-01T00:00:00"), "needs a time zone"),
        (row(version="0"), "version: must be 1 or more"),
        (row(comment='"x"'), "comment: is not known here"),
        (row(event='"BonusWithdrawn"'), "records no event BonusWithdrawn"),
        (row(event='"PlanActivated"'), "states no amount: give no_posting alone"),
        (unbooked(purpose='["renewal"]'), "states no amount: give no_posting alone"),
        (unbooked(method='["card"]'), "states no amount: give no_posting alone"),
        (row(amount='["net"]'), "BonusGranted states no amount net, only amount"),
        (row(method='["card"]'), "BonusGranted has no method: leave it out"),
        (row(purpose='["renewal"]'), "BonusGranted has no purpose: leave it out"),
        (row(debit='"Assets:Cash"'), "Assets:Cash is not in the chart of accounts"),
        (
            row(debit='"Assets:Gateway:{Method}"'),
            "Assets:Gateway:{Method} needs a condition: method of card",
        ),
        (BONUS_ROW + row(id='"bonus-again"'), "bonus and bonus-again both book"),
        (row(event='"PaymentFailed"', amount="", debit="", credit="", no_posting='"x"'), "both"),
        ("", "BonusGranted has neither a rule nor a no_posting row"),
    ],
)
def test_rule_file_is_refused(tmp_path: Path, replacement: str, reason: str) -> None:
    path = changed(tmp_path, BONUS_ROW, replacement)
    with pytest.raises(ConfigurationError) as refused:
        load_rules(path)
    assert reason in str(refused.value)


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    path = changed(tmp_path, BONUS_ROW, row(version="0") + row(event='"Nothing"'))
    with pytest.raises(ConfigurationError) as refused:
        load_rules(path)
    assert "must be 1 or more" in str(refused.value)
    assert "records no event Nothing" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff", "is not UTF-8"),
        (b"rule = 1", "rule_set: is missing"),
        (b"[[rule]", ":1: "),
        (b"", "rule: is missing"),
        (b'rule_set = "x"\nrule = [1]', ":2: rule.0: must be an object"),
        (b'rule_set = "x"\nrule = []\nmethod = 1', ":3: method: is not known here"),
    ],
)
def test_file_that_is_no_rule_file_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as refused:
        load_rules(path)
    assert told in str(refused.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set the posting rules path to a TOML file"):
        load_rules(tmp_path / "none.toml")


def test_new_version_books_what_happens_from_its_moment_on(tmp_path: Path) -> None:
    later = row(
        version="2", valid_from="2026-11-21T00:00:00Z", credit='"Liabilities:Refunds:Payable"'
    )
    rules = load_rules(changed(tmp_path, BONUS_ROW, BONUS_ROW + later))
    begins = datetime(2026, 11, 21, tzinfo=UTC)
    before = post(bonus(100), begins - timedelta(microseconds=1), rules).postings[1]
    after = post(bonus(100), begins, rules).postings[1]
    assert (before.account, before.rule_version) == ("Liabilities:Wallet:Bonus:acct-1", 1)
    assert (after.account, after.rule_version) == ("Liabilities:Refunds:Payable", 2)


def test_amount_from_before_every_rule_halts() -> None:
    with pytest.raises(Park, match=r"no posting rule for BonusGranted\.amount"):
        post(bonus(100), datetime(2019, 12, 31, tzinfo=UTC), load_rules())


def test_rule_set_covers_every_recorded_event() -> None:
    rules = load_rules()
    ruled = {kind.partition(".")[0] for kind in rules.by_kind} | rules.by_event.keys()
    assert ruled == RECORDED.keys()


def test_every_account_of_the_chart_is_used_by_a_rule() -> None:
    tables = tomllib.loads(POSTING_RULES.read_text(encoding="utf-8"))["rule"]
    used = {table[side] for table in tables for side in ("debit", "credit") if side in table}
    assert used == {entry.template for entry in CHART}


def test_unknown_account_has_no_entry_of_the_chart() -> None:
    with pytest.raises(KeyError):
        chart_entry("Assets:Bank")
    assert chart_entry("Liabilities:Wallet:Paid:acct-1").normal == "credit"
    with pytest.raises(ValueError, match="not in the chart"):
        account_ref("Assets:Bank", {})


def test_sound_fact_at_a_usual_moment_is_booked_by_the_installed_rules() -> None:
    assert len(post(bonus(100), T0, load_rules()).postings) == 2


def test_file_that_lacks_an_event_is_for_replays_only(tmp_path: Path) -> None:
    path = changed(tmp_path, BONUS_ROW, "")
    assert "BonusGranted.amount" not in load_rules(path, whole=False).by_kind
    assert problems_of(path) == [NO_RULE]
    broken = changed(tmp_path, BONUS_ROW, row(debit=""))
    with pytest.raises(ConfigurationError, match="give `amount`"):
        load_rules(broken, whole=False)


@pytest.mark.parametrize("path", sorted(RELEASED.glob("*.toml")), ids=lambda path: path.stem)
def test_row_that_was_released_is_never_edited(path: Path) -> None:
    released, installed = load_rules(path, whole=False), load_rules()
    for before, now in (
        (released.by_kind, installed.by_kind),
        (released.by_event, installed.by_event),
    ):
        for what, rules in before.items():
            begun = [replace(rule, valid_until=None) for rule in now[what]]
            assert [replace(rule, valid_until=None) for rule in rules] == begun[: len(rules)]


def test_released_rule_set_keeps_its_bytes() -> None:
    assert {path.stem: load_rules(path, whole=False).sha256 for path in RELEASED.iterdir()} == {
        "2026-11": "461554bf38c152ae708a37706d3cc8471606dfa9878b661ab1ca8c7d81293784"
    }
