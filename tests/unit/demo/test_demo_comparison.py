"""What the demo says of a run that differs from its manifest: each difference is told, and fails it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path

import pytest

from deploy.demo import __main__ as demo
from deploy.demo.observer import DemoObserver
from deploy.demo.result import DemoResult
from deploy.demo.tally import Tally
from services.runtime.settings import KafkaSettings
from tests.unit.demo.observed import CARD, PLANS, Observed, move, record, sent, spoiled

PAID, GRANTED = "Liabilities:Wallet:Paid:", "Liabilities:Wallet:Bonus:"
DIFFERENCES: dict[str, tuple[Callable[[Observed], object], list[str]]] = {
    "an unexpected kind of event": (
        lambda it: it.records.append(record(9, "OrderExpired")),
        ["outcomes: OrderExpired expected 0, seen 1"],
    ),
    "an event that nobody knows": (
        lambda it: it.records.append(record(9, "PlanStolen")),
        ["outcomes: billing.PlanStolen.v1 expected 0, seen 1"],
    ),
    "an event of a version that nobody knows": (
        lambda it: it.records.append(record(9, "PaymentCaptured", version=2, method="card")),
        ["outcomes: billing.PaymentCaptured.v2 expected 0, seen 1"],
    ),
    "an expected event of another kind": (
        lambda it: it.records.__setitem__(4, record(5, "PaymentCaptured", method="paypal")),
        [
            "outcomes: PaymentCaptured card expected 3, seen 2",
            "outcomes: PaymentCaptured paypal expected 0, seen 1",
        ],
    ),
    "an event too few": (
        lambda it: it.records.pop(5),
        ["outcomes: PaymentCaptured card expected 3, seen 2"],
    ),
    "an event too many": (
        lambda it: it.records.append(record(9, "PaymentCaptured", method="card")),
        ["outcomes: PaymentCaptured card expected 3, seen 4"],
    ),
    "another event with an id that was there": (
        lambda it: it.records.append(record(4, "PaymentCaptured", method="paypal")),
        ["outcomes: PaymentCaptured another event with its id expected 0, seen 1"],
    ),
    "a record without headers": (
        lambda it: it.records.append(([], b"{}")),
        ["outcomes: unreadable expected 0, seen 1"],
    ),
    "a record without a value": (
        lambda it: it.records.append((record(9, "PaymentCaptured")[0], None)),
        ["outcomes: unreadable expected 0, seen 1"],
    ),
    "a record that is no object": (
        lambda it: it.records.append((record(9, "PaymentCaptured")[0], b"[]")),
        ["outcomes: unreadable expected 0, seen 1"],
    ),
    "a missing order": (
        lambda it: it.records.pop(1),
        [
            "outcomes: RenewalAccepted expected 2, seen 1",
            "accepted orders: acct-1 expected 2, seen 1",
            "accepted orders: accounts that agree expected 2, seen 1",
        ],
    ),
    "an order accepted twice, in place of another": (
        lambda it: it.records.__setitem__(
            1, record(2, "RenewalAccepted", account_id="acct-1", renewal_id="rnw-1")
        ),
        [
            "accepted orders: acct-1 expected 2, seen 1",
            "accepted orders: accounts that agree expected 2, seen 1",
        ],
    ),
    "an order of another account": (
        lambda it: it.records.__setitem__(
            2, record(3, "TopUpAccepted", account_id="acct-9", topup_id="top-1")
        ),
        [
            "accepted orders: acct-2 expected 1, seen 0",
            "accepted orders: acct-9 expected 0, seen 1",
            "accepted orders: accounts that agree expected 3, seen 1",
        ],
    ),
    "a dead letter of another reason": (
        lambda it: it.letters.update({("orders", "oversized"): 1}),
        ["dead letters: orders oversized expected 0, seen 1"],
    ),
    "a missing dead letter": (
        lambda it: it.letters.clear(),
        ["dead letters: orders body_invalid expected 1, seen 0"],
    ),
    "a mail sent twice": (
        lambda it: it.mails.append("<7@demo>"),
        ["messages: unexplained by email sent twice expected 0, seen 1"],
    ),
    "a mail sent twice, in place of another": (
        lambda it: it.mails.__setitem__(1, "<7@demo>"),
        [
            "messages: renewal_confirmed by email zh-Hans expected 1, seen 0",
            "messages: unexplained by email sent twice expected 0, seen 1",
        ],
    ),
    "a mail that no event speaks of": (
        lambda it: it.mails.append("<9@demo>"),
        ["messages: unexplained by email expected 0, seen 1"],
    ),
    "a missing mail": (
        lambda it: it.mails.pop(),
        ["messages: renewal_confirmed by email zh-Hans expected 1, seen 0"],
    ),
    "a missing sms": (
        lambda it: it.sms.pop(),
        ["messages: renewal_confirmed by sms en expected 1, seen 0"],
    ),
    "an sms that no event speaks of": (
        lambda it: it.sms.append("sms-31"),
        ["messages: unexplained by sms expected 0, seen 1"],
    ),
    "a mail in another language": (
        lambda it: it.records.__setitem__(7, sent(8, "en")),
        [
            "messages: renewal_confirmed by email en expected 1, seen 2",
            "messages: renewal_confirmed by email zh-Hans expected 1, seen 0",
        ],
    ),
    "a balance that differs": (
        lambda it: move(it, 100, CARD, PLANS),
        [
            f"trial balance: USD {CARD} expected 5500, seen 5600",
            f"trial balance: USD {PLANS} expected -3000, seen -3100",
        ],
    ),
    "an extra account of the books": (
        lambda it: move(it, 5, "Expenses:GatewayFees", CARD),
        [
            f"trial balance: USD {CARD} expected 5500, seen 5495",
            "trial balance: USD Expenses:GatewayFees expected 0, seen 5",
        ],
    ),
    "a missing account of the books": (
        lambda it: move(it, 3_000, PLANS, CARD),
        [
            f"trial balance: USD {CARD} expected 5500, seen 2500",
            f"trial balance: USD {PLANS} expected -3000, seen 0",
        ],
    ),
    "a balance in another currency": (
        lambda it: move(it, 7, CARD, PLANS, "EUR"),
        [
            f"trial balance: EUR {CARD} expected 0, seen 7",
            f"trial balance: EUR {PLANS} expected 0, seen -7",
        ],
    ),
    "books that do not sum to zero": (
        lambda it: it.balances.update({(CARD, "USD"): 4_001}),
        [
            f"trial balance: USD {CARD} expected 5500, seen 5501",
            "trial balance: USD sums to 1",
        ],
    ),
    "a wallet with credit of an extra account": (
        lambda it: move(it, 1, PAID + "acct-2", PAID + "acct-9"),
        [
            "wallets: acct-2 paid USD expected 2500, seen 2499",
            "wallets: acct-9 paid USD expected 0, seen 1",
            "wallets: balances that agree expected 3, seen 1",
        ],
    ),
    "a wallet with paid credit in place of bonus": (
        lambda it: [
            move(it, 250, GRANTED + "acct-2", PAID + "acct-2"),
            move(it, 250, CARD, "Liabilities:Wallet:BonusOffset"),
        ],
        [
            f"trial balance: USD {CARD} expected 5500, seen 5750",
            "trial balance: USD Liabilities:Wallet:Bonus expected -250, seen 0",
            "trial balance: USD Liabilities:Wallet:BonusOffset expected 250, seen 0",
            "trial balance: USD Liabilities:Wallet:Paid expected -2500, seen -2750",
            "wallets: acct-2 bonus USD expected 250, seen 0",
            "wallets: acct-2 paid USD expected 2500, seen 2750",
            "wallets: balances that agree expected 2, seen 0",
        ],
    ),
    "a check of the logs that fails": (
        lambda it: it.checks["notifier"][0].update(ok=False),
        ["verify: notifier: hash chain failed: 9 hashes"],
    ),
    "a log that nobody checked": (
        lambda it: it.checks.pop("orders"),
        ["verify: orders: any check failed: nothing"],
    ),
    "a log without a check": (
        lambda it: it.checks["ledger"].clear(),
        ["verify: ledger: any check failed: nothing"],
    ),
}


def ended_with(result: DemoResult, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the status of the demo whose run found `result`."""

    def found(_stack: object, _manifest: object, into: DemoResult, _console: object) -> None:
        for name in ("comparisons", "balances", "exponents", "checks"):
            setattr(into, name, deepcopy(getattr(result, name)))

    (folder / "demo").mkdir()
    monkeypatch.setattr("sys.argv", ["demo"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(demo, "STATE", folder)
    monkeypatch.setattr(demo, "LocalStack", lambda *_, **__: nullcontext())
    monkeypatch.setattr(demo, "_run", found)
    return demo.main()


def test_run_that_left_what_the_manifest_says_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = Observed().compared(tmp_path)
    assert result.differences == []
    assert ended_with(result, tmp_path, monkeypatch) == 0


def test_event_published_again_after_a_crash_counts_once(tmp_path: Path) -> None:
    observed = spoiled(lambda it: it.records.extend(it.records))
    assert observed.compared(tmp_path).differences == []


@pytest.mark.parametrize(("change", "told"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_difference_is_told_and_fails_the_demo(
    change: Callable[[Observed], object],
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = spoiled(change).compared(tmp_path)
    assert result.differences == told
    assert ended_with(result, tmp_path, monkeypatch) == 1
    printed = " ".join(capsys.readouterr().out.split())
    for difference in told:
        assert f"DIFFERS {difference}" in printed


class _Broken:
    """A consumer whose broker is lost while nobody looks."""

    async def start(self) -> None: ...

    def assign(self, _partitions: object) -> None: ...

    async def getmany(self, *, timeout_ms: int) -> dict[object, list[object]]:
        raise ConnectionError(timeout_ms)

    async def stop(self) -> None: ...


async def test_observer_that_ended_early_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.demo.observer.build_consumer", lambda *_, **__: _Broken())
    with pytest.raises(ConnectionError):
        async with DemoObserver(KafkaSettings(bootstrap_servers="127.0.0.1:1"), Tally({})):
            await asyncio.sleep(0)
