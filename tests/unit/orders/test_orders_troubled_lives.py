"""Whole orders at a gateway and a provider that would do everything twice, in every trouble."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final

from services.orders.payments.gateways import gateway
from services.orders.ports import Ports
from services.orders.renewals.commands import AcceptRenewal
from services.orders.renewals.providers import provider
from tests.unit.orders.builders import RULES, renewal
from tests.unit.orders.forgetful import NOT_ACTIVATED, REFUSED, UNKNOWN, Forgetful, Said
from tests.unit.orders.world import World

ORDER: Final = "order/ren-1"
DOWN, NO_PROVIDER = gateway.Unavailable(), provider.Unavailable()
ACTS: Final = {"charge": "charge", "activate": "top_up", "refund": "refund"}
UNANSWERED: Final = {
    "charge": [Said(UNKNOWN[0]), Said(UNKNOWN[0], done=True), Said(DOWN)],
    "refund": [Said(UNKNOWN[0]), Said(UNKNOWN[0], done=True), Said(DOWN)],
    "activate": [Said(NOT_ACTIVATED[0]), Said(NOT_ACTIVATED[0], done=True), Said(NO_PROVIDER)],
}
TROUBLED_ACTS, TROUBLED_LOOK_UPS, CRASHES = 2, 2, 3
LOOK_UPS: Final = {"charge": "look_up_charge", "activate": "look_up", "refund": "look_up_refund"}
Lives = Iterator[tuple[Forgetful, list[bool]]]


def troubled(kind: str) -> Lives:
    """Yield an outside for every mixture of lost answers, and which runs end before their result."""
    acts = [Said(done=True), *UNANSWERED[kind]]
    down = Said(NO_PROVIDER if kind == "activate" else DOWN)
    for said in product(acts, repeat=TROUBLED_ACTS):
        for told in product([Said(), down], repeat=TROUBLED_LOOK_UPS):
            for crashes in product([False, True], repeat=CRASHES):
                answers = {ACTS[kind]: list(said), LOOK_UPS[kind]: list(told)}
                yield Forgetful(answers), list(crashes)


def lived(folder: Path, kind: str, outside: Forgetful, crashes: list[bool]) -> World:
    """Live an order to its end; runs of `kind` crash as told, the others never."""
    world = World(folder, RULES, Ports(outside, outside))
    world.tell(ORDER, lambda now: AcceptRenewal(renewal(), now))
    while due := [(each.due_at, key) for key, each in world.effects.items() if each.due_at]:
        _, key = min(due)
        crash = key.startswith(kind) and bool(crashes) and crashes.pop(0)
        world.execute(key, crash=crash)
    world.close()
    return world


def test_charge_is_made_once_in_every_troubled_life(tmp_path: Path) -> None:
    for outside, crashes in troubled("charge"):
        world = lived(tmp_path, "charge", outside, crashes)
        assert outside.times("charge") == world.names().count("PaymentCaptured") <= 1
        assert outside.times("top_up") == world.names().count("PlanActivated")
        assert world.names()[-1] in {"PlanActivated", "PaymentFailed"}


def test_plan_is_activated_once_in_every_troubled_life(tmp_path: Path) -> None:
    for outside, crashes in troubled("activate"):
        world = lived(tmp_path, "activate", outside, crashes)
        assert (outside.times("charge"), outside.times("top_up")) == (1, 1)
        assert world.names() == ["RenewalAccepted", "PaymentCaptured", "PlanActivated"]


def test_money_goes_back_once_in_every_troubled_life(tmp_path: Path) -> None:
    for outside, crashes in troubled("refund"):
        outside.answers["top_up"] = [Said(REFUSED)]
        world = lived(tmp_path, "refund", outside, crashes)
        assert (outside.times("charge"), outside.times("refund")) == (1, 1)
        assert world.names()[-2:] == ["ActivationFailed", "RefundCompleted"]
