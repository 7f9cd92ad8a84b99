"""A made-up result of the demo, and a reader of the page made of it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from deploy.demo.expected.comparison import Comparison
from deploy.demo.report.page import page
from deploy.demo.result import DemoCheck, DemoMail, DemoResult, Moment, Used

VOID = {"meta", "wbr", "br", "hr", "img", "input", "link", "source", "col", "base"}
EMAIL = (
    '<!DOCTYPE html><html lang="en"><body style="margin:0"><p>Hello <b>Ada</b> &amp; Bo'
    "</p><script>alert(1)</script></body></html>"
)


class Reader(HTMLParser):
    """Keeps every element, and every tag that is closed without being open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.mismatched: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.mismatched.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def a_mail(
    template: str = "renewal_confirmed", locale: str = "en", subject: str = "Done"
) -> DemoMail:
    return DemoMail(template, locale, subject, "Hello Ada", EMAIL, f"{template}.{locale}.eml")


def a_result() -> DemoResult:
    return DemoResult(
        comparisons=[
            Comparison("outcomes", "PaymentCaptured", "card", 594, 594),
            Comparison("outcomes", "PaymentCaptured", "paypal", 473, 473),
            Comparison("outcomes", "PlanActivated", "", 1454, 1454),
            Comparison("dead letters", "perennial-orders", "invalid_json", 12, 12),
            Comparison("emails", "renewal_confirmed", "en", 500, 500),
            Comparison("wallets", "balances that agree", "", 910, 910),
        ],
        balances={
            "USD": {
                "Liabilities:ContractLiability:Plans": -123_400,
                "Expenses:GatewayFees": 5,
                "Assets:Gateway:Card": 123_395,
            },
            "JPY": {"Assets:Gateway:Alipay": 1_500, "Liabilities:Wallet:Paid": -1_500},
            "BHD": {"Assets:Bank": 1_005, "Liabilities:Wallet:Paid": -1_005},
        },
        exponents={"USD": 2, "JPY": 0, "BHD": 3},
        replay_sha256="5f" * 32,
        replay_positions=9_876,
        checks=[DemoCheck("entries sum to zero", ok=True, compared="1,234 entries")],
        renewal_id="ren-000001",
        timeline=[
            Moment("orders", "RenewalAccepted", "30-day plan, 31.80 USD", 0),
            Moment("orders", "PaymentCaptured", "card", 90),
            Moment("ledger", "DeferredRevenueRecorded", "31.80 USD", 120),
            Moment("notifier", "NotificationSent", "renewal confirmed", 1_200),
        ],
        mails=[a_mail(), a_mail(locale="zh-Hans", subject="续订成功"), a_mail("low_balance")],
        mail_count=2_281,
        mail_folder=Path("mails"),
        memory=[Used("kafka", 400 << 20), Used("orders", 90 << 20)],
        stages={"start": 4.2, "requests": 61.0},
        requests=2_571,
        accounts=500,
        renewals_per_second=812.4,
    )


def read(result: DemoResult) -> Reader:
    reader = Reader()
    reader.feed(page(result))
    reader.close()
    return reader


def everything_hostile() -> DemoResult:
    bad = "\"'><script>alert(1)</script>"
    return DemoResult(
        comparisons=[Comparison(bad, bad, bad, 1, 2)],
        balances={bad: {bad: 1}},
        exponents={bad: 2},
        replay_sha256=bad,
        checks=[DemoCheck(bad, ok=False, compared=bad)],
        renewal_id=bad,
        timeline=[Moment(bad, bad, bad, 5)],
        mails=[DemoMail(bad, bad, bad, bad, bad, bad)],
        mail_folder=Path(bad),
        memory=[Used(bad, 1)],
        stages={bad: 1.0},
    )
