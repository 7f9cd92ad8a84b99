"""Every problem of a rule file is told with its line and its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.ledger.rules.rule_file import load_rules
from tests.unit.ledger.rule_files import BONUS_ROW, NO_RULE, changed, line_of, problems_of, row

ROWS_BEFORE_BONUS = 10
GIVE = "give `amount`, `debit` and `credit`, or `no_posting` with the reason"


@pytest.mark.parametrize(
    ("replacement", "key", "problem"),
    [
        (row(debit=""), "", GIVE),
        (row(no_posting='""'), "", GIVE),
        (row(id=""), ".id", "is missing"),
        (
            row(valid_from="2020-01-01T00:00:00"),
            "",
            "`valid_from` needs a time zone: end it with Z",
        ),
        (row(version="0"), ".version", "must be 1 or more"),
        (row(comment='"x"'), ".comment", "is not known here"),
        (
            row(event='"BonusWithdrawn"'),
            ".event",
            "the ledger records no event BonusWithdrawn: correct the name",
        ),
        (
            row(event='"PlanActivated"'),
            ".event",
            "PlanActivated states no amount: give no_posting alone",
        ),
        (
            row(amount='["amount", "net"]'),
            ".amount",
            "BonusGranted states no amount net, only amount",
        ),
        (row(method='["card"]'), ".method", "BonusGranted has no method: leave it out"),
        (row(plan_kind='["day"]'), ".plan_kind", "BonusGranted has no plan_kind: leave it out"),
        (
            row(method='"cards"'),
            ".method",
            "there is no set cards: declare it under [methods], or give a list",
        ),
        (
            row(debit='"Liabilities:Wallet:{Plan}"'),
            ".debit",
            (
                "Liabilities:Wallet:{Plan} uses {Plan}, which is no variable: take one of Method, "
                "PlanKind, PlanTier, gateway, currency, jurisdiction, account, or declare it in "
                "variables.py"
            ),
        ),
        (
            row(credit='"Liabilities:Tax:{jurisdiction}"'),
            ".credit",
            (
                "BonusGranted does not say the jurisdiction of its amount: take an account without "
                "it"
            ),
        ),
        (
            row(debit='"Assets:Gateway:{Method}:{gateway}"'),
            ".debit",
            (
                "Assets:Gateway:{Method}:{gateway} needs a condition: method of card, paypal, "
                "alipay, wechat"
            ),
        ),
        (
            row(debit='"Assets:Cash"'),
            ".debit",
            "Assets:Cash is not in the chart of accounts: correct it or add it to CHART",
        ),
    ],
)
def test_problem_of_a_row_is_told_with_its_line_and_key(
    tmp_path: Path, replacement: str, key: str, problem: str
) -> None:
    path = changed(tmp_path, BONUS_ROW, "\n# here" + replacement)
    table = line_of(path, "# here") + 1
    lines = path.read_text(encoding="utf-8").splitlines()[table - 1 :]
    written = [line.partition(" = ")[0] for line in lines[: lines.index("")]]
    name = key.removeprefix(".")
    line = table + (written.index(name) if name in written else 0)
    assert problems_of(path) == [NO_RULE, (line, f"rule.{ROWS_BEFORE_BONUS}{key}", problem)]


@pytest.mark.parametrize(
    ("replacement", "after", "key", "problem"),
    [
        (
            BONUS_ROW + row(id='"x"', event='"SurplusCaptured"', purpose='["renewal", "gift"]'),
            1,
            ".purpose",
            "there is no purpose gift, only renewal and topup",
        ),
        (
            BONUS_ROW + row(id='"bonus-again"', version="7"),
            1,
            "",
            "bonus and bonus-again both book BonusGranted.amount",
        ),
    ],
)
def test_problem_between_rows_is_told_of_the_later_one(
    tmp_path: Path, replacement: str, after: int, key: str, problem: str
) -> None:
    ((_, place, reason),) = problems_of(changed(tmp_path, BONUS_ROW, replacement))
    assert (place, reason) == (f"rule.{ROWS_BEFORE_BONUS + after}{key}", problem)


def test_rule_for_words_that_no_field_of_the_event_gives_is_refused(tmp_path: Path) -> None:
    by_gateway = row(
        id='"owed"',
        event='"ActivationFailed"',
        method='"gateways"',
        amount='["net"]',
        credit='"Assets:Gateway:{Method}:{gateway}"',
    )
    problems = problems_of(changed(tmp_path, BONUS_ROW, BONUS_ROW + by_gateway))
    assert [each[1:] for each in problems] == [
        (
            f"rule.{ROWS_BEFORE_BONUS + 1}.credit",
            ("ActivationFailed does not say the gateway of its net: take an account without it"),
        )
    ]


def test_set_of_methods_is_every_method_in_it(tmp_path: Path) -> None:
    in_words = load_rules(
        changed(
            tmp_path,
            'gateways = ["card", "paypal", "alipay", "wechat"]',
            'gateways = ["card", "paypal"]\nother = ["alipay"]',
        ),
        whole=False,
    )
    of_top_ups = [kind for kind, _ in in_words.rows() if kind.startswith("WalletToppedUp")]
    assert set(of_top_ups) == {"WalletToppedUp.card.amount", "WalletToppedUp.paypal.amount"}


@pytest.mark.parametrize("methods", ['["card", "cash"]', '"card"', "[1]"])
def test_set_of_what_is_no_method_is_refused(tmp_path: Path, methods: str) -> None:
    path = changed(
        tmp_path,
        'gateways = ["card", "paypal", "alipay", "wechat"]',
        f"gateways = {methods}",
    )
    assert {line for line, _, _ in problems_of(path)} == {line_of(path, "gateways = ")}
