"""What a consumer may go by: `source` and `id` name one outcome, whatever ids the requests bore."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any, Final

from schemas import EVENTS
from schemas.confirmations import PaymentConfirmed, RefundInstructed
from schemas.envelope import Event
from schemas.topics import CONFIRMATIONS, REQUESTS
from services.orders.payments.gateways.sandbox_script import TOKENS
from services.orders.renewals.providers.sandbox import ICCID_ENDINGS
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.processor import Settlement
from tests.unit.orders.builders import (
    by_token,
    confirmation,
    from_wallet,
    in_app,
    renewal,
    top_up,
    usd,
)
from tests.unit.orders.steps import pay_in_app, refund_confirmed
from tests.unit.pipeline import OWN_GATEWAY, Pipeline
from tests.unit.runtime.toy import ACCOUNT, OTHER_ACCOUNT, SHARDS

ONE_ID: Final = b"00000000-0000-4000-8000-000000000001"
ACCOUNTS: Final = (ACCOUNT, OTHER_ACCOUNT)
SOURCES: Final = ("/upstream/shop", "/upstream/desk")
NEVER: Final = "8985203000000009001"
REPORTED: Final = {"NotificationDelivered", "NotificationUndelivered"}
"""What a channel reports later: these customers are told by email, which reports nothing."""
OUTCOMES: Final = {model.__name__ for model, topic in EVENTS if not topic.external} - REPORTED


def record(event: Event, source: str) -> tuple[int, bytes, bytes, Any]:
    """Return what anybody would publish, always under the same id."""
    key = event.account_id.encode()
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", ONE_ID),
        ("ce_source", source.encode()),
        ("ce_type", event.wire_type().encode()),
        ("ce_time", b"2026-11-20T08:00:00Z"),
        ("content-type", b"application/json"),
    ]
    return shard_of(event.account_id, SHARDS), key, event.body(), headers


def requests() -> Iterable[tuple[Event, str]]:
    """Yield requests that lead to every outcome, for each account and each source."""
    for number, (account_id, source) in enumerate(product(ACCOUNTS, SOURCES)):
        same: dict[str, Any] = {"account_id": account_id}
        yield top_up(topup_id=f"top-{number}", amount=usd(4120), **same), source
        yield top_up(topup_id=f"top-{number}", amount=usd(5600), **same), source
        yield top_up(topup_id=f"top-app-{number}", payment=in_app(), **same), source
        for kind, changes in _renewals():
            yield renewal(renewal_id=f"ren-{kind}-{number}", **same, **changes), source
        yield renewal(renewal_id=f"ren-tok-ok-{number}", quantity=2, **same), source
        yield renewal(renewal_id="ren-of-all", quantity=1 + number, **same), source


def _plain(token: str) -> str:
    return token.replace("_", "-").replace("N", "3")


def _renewals() -> Iterable[tuple[str, dict[str, Any]]]:
    for token in TOKENS:
        yield _plain(token), {"payment": by_token(token.replace("N", "3"))}
    for ending in ICCID_ENDINGS:
        digits = ending.replace("N", "2")
        yield f"esim-{digits}", {"iccid": f"898520300000000{digits}"}
    for kind in ("app", "app-unpaid", "app-lied"):
        yield kind, {"payment": in_app()}
    yield "unknown-plan", {"plan_code": "moon-month-basic"}


def from_the_wallet() -> Iterable[tuple[Event, str]]:
    """Yield what the wallets pay: all but the last, and one plan that never works."""
    for number, (account_id, source) in enumerate(product(ACCOUNTS, SOURCES)):
        for turn in range(4):
            ids = {"renewal_id": f"ren-wallet-{turn}-{number}", "account_id": account_id}
            iccid = {"iccid": NEVER} if turn == 0 else {}
            yield renewal(payment=from_wallet(), **ids, **iccid), source


def confirmations() -> Iterable[tuple[PaymentConfirmed, bool, str]]:
    """Yield confirmations, whether the money is there, and who says so."""
    for number, account_id in enumerate(account for account, _ in product(ACCOUNTS, SOURCES)):
        source = "/gateway/shop" if number % 2 else "/gateway/desk"
        for kind, txn, held in (
            ("app", "once", True),
            ("app", "twice", True),
            ("tok-ok", "beside", True),
            ("app-lied", "lied", False),
        ):
            said: dict[str, Any] = {"account_id": account_id, "gateway_txn_id": f"{txn}-{number}"}
            if txn == "beside":
                said |= {"gateway": OWN_GATEWAY}
            yield confirmation(renewal_id=f"ren-{kind}-{number}", **said), held, source
        said = {"renewal_id": None, "topup_id": f"top-app-{number}", "account_id": account_id}
        for turn in range(2):
            txn = f"top-{turn}-{number}"
            paid = confirmation(gateway_txn_id=txn, amount=usd(5000), **said)
            yield paid, True, source


async def _not_refunded(pipeline: Pipeline) -> None:
    """Have a person find that the gateway does not give money back, whichever is next."""
    orders = pipeline.orders
    await orders.until_leased("refund")
    effect = next(each for each in orders.leased if each.run.kind == "refund")
    orders.leased.remove(effect)
    found = Settlement(outcome="not_refunded", by="maria", reason="the bank says so")
    await orders.settle(found, effect, effect.run.effect_id)


async def lived(folder: Path) -> Pipeline:
    pipeline = Pipeline(folder)
    await pipeline.begin()
    for events in (requests, from_the_wallet):
        await pipeline.send(REQUESTS.name, (record(*each) for each in events()))
        if events is requests:
            await _not_refunded(pipeline)
        await pipeline.until(timedelta(minutes=1))
    for said, held, source in confirmations():
        if held:
            pay_in_app(pipeline.world, said)
        await pipeline.send(CONFIRMATIONS.name, [record(said, source)])
    await _not_refunded(pipeline)
    await pipeline.until(timedelta(hours=4))
    for each in pipeline.outcomes:
        if each.type == RefundInstructed.wire_type():
            done = refund_confirmed(RefundInstructed.parse(each.body))
            await pipeline.send(CONFIRMATIONS.name, [record(done, "/gateway/shop")])
    await pipeline.until(timedelta(hours=5))
    return pipeline


async def test_no_two_outcomes_share_source_and_id_though_all_requests_share_one(
    tmp_path: Path,
) -> None:
    pipeline = await lived(tmp_path)
    outcomes = pipeline.outcomes
    pipeline.world.close()
    told = {each.type.split(".")[1] for each in outcomes}
    assert told == OUTCOMES
    ids = Counter((each.source, each.event_id) for each in outcomes)
    assert [key for key, count in ids.items() if count > 1] == []
    assert len(outcomes) > 500


async def test_a_refused_reuse_of_an_id_has_a_correlation_of_its_own(tmp_path: Path) -> None:
    pipeline = await lived(tmp_path)
    pipeline.world.close()
    refused = [each for each in pipeline.outcomes if b"_id_reused" in each.body]
    assert len(refused) == 11
    assert {each.correlation_id for each in refused} == {ONE_ID.decode()}
    assert {each.correlation_id for each in pipeline.outcomes if each not in refused}.isdisjoint(
        {ONE_ID.decode()}
    )
