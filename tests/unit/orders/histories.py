"""Random lives of one renewal: what may happen to it, in any order, until nothing is left to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, TypeVar

from hypothesis import strategies as st

from schemas import BILLING
from schemas.envelope import Event
from schemas.ledger import ChargeRefusalReason, LotTake, WalletCharged, WalletChargeRefused
from schemas.orders import Consideration, RenewalAccepted
from schemas.requests import PaymentInstruction
from services.orders.decider import Command
from services.orders.effects import Outside, build_effects
from services.orders.order import identities
from services.orders.order.state import OrderState
from services.orders.order.streams import RENEWALS
from services.orders.payments.commands import ApplyWalletCharged, ApplyWalletRefusal, ConfirmPayment
from services.orders.payments.gateways.gateway import (
    Charge,
    ChargeLookUp,
    ChargeOutcome,
    ChargeReference,
    NotFound,
    PaymentGateway,
    Refund,
    RefundLookUp,
    RefundOutcome,
    TransactionLookUp,
    Unavailable,
)
from services.orders.payments.gateways.sandbox_script import TOKENS
from services.orders.renewals.commands import AcceptRenewal
from services.orders.renewals.providers.sandbox import ICCID_ENDINGS
from services.runtime.processor import Decision, Ignored, Streams
from tests.unit.orders.builders import (
    ICCID,
    by_token,
    confirmation,
    from_wallet,
    in_app,
    renewal,
    usd,
)
from tests.unit.orders.steps import pay_in_app, shop_gives_back
from tests.unit.orders.world import World

EventT = TypeVar("EventT", bound=Event)

ORDER: Final = "order/ren-1"
OWN_PAYMENT: Final = identities.payment_id("acct-1", ORDER)
STEPS_MAX: Final = 5_000
LONG_AFTER: Final = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens; `pick` chooses among several, `flag` says which way it goes."""

    kind: Literal["run", "crash", "ask", "reuse_id", "confirm", "ledger", "wait"]
    pick: int
    flag: bool


@dataclass(frozen=True, slots=True)
class Life:
    """How the order is to be paid, how gateway and provider behave, and what happens when."""

    mode: Literal["charge", "confirm", "wallet"]
    token: str
    iccid: str
    wallet_pays: bool
    steps: tuple[Step, ...]

    @property
    def paid_by_strangers(self) -> bool:
        """Return whether money came in that the order did not ask for itself."""
        return any(step.kind == "confirm" for step in self.steps)


_steps = st.builds(
    Step,
    kind=st.sampled_from(["run", "run", "run", "crash", "ask", "reuse_id", "confirm", "ledger", "wait"]),
    pick=st.integers(0, 3),
    flag=st.booleans(),
)  # fmt: skip
_iccids = st.sampled_from(
    [ICCID, *(f"898520300000000{e.replace('N', '2')}" for e in sorted(ICCID_ENDINGS))]
)
LIVES: Final = st.builds(
    Life,
    mode=st.sampled_from(["charge", "charge", "confirm", "wallet"]),
    token=st.sampled_from([token.replace("N", "3") for token in sorted(TOKENS)]),
    iccid=_iccids,
    wallet_pays=st.booleans(),
    steps=st.lists(_steps, max_size=12).map(tuple),
)


@dataclass(slots=True)
class WatchedGateway:
    """Lets a charge through only when the one before is known not to have happened."""

    inner: PaymentGateway
    known_not_charged: bool = True
    result_is_lost: bool = False
    charge_calls: int = 0

    async def charge(self, charge: Charge) -> ChargeOutcome:
        """Charge, and remember whether the service may know that nothing was charged."""
        assert self.known_not_charged, "charged again although the last charge may have happened"
        self.charge_calls += 1
        outcome = await self.inner.charge(charge)
        self.known_not_charged = isinstance(outcome, Unavailable) and not self.result_is_lost
        return outcome

    async def look_up_charge(self, reference: ChargeReference) -> ChargeLookUp:
        """Look up; only "not found" allows the same charge under the same key."""
        found = await self.inner.look_up_charge(reference)
        self.known_not_charged = isinstance(found, NotFound)
        return found

    async def cancel_charge(self, reference: ChargeReference) -> ChargeLookUp:
        """Pass on."""
        return await self.inner.cancel_charge(reference)

    async def look_up_transaction(self, gateway: str, gateway_txn_id: str) -> TransactionLookUp:
        """Pass on."""
        return await self.inner.look_up_transaction(gateway, gateway_txn_id)

    async def refund(self, refund: Refund) -> RefundOutcome:
        """Pass on."""
        return await self.inner.refund(refund)

    async def look_up_refund(self, refund: Refund) -> RefundLookUp:
        """Pass on."""
        return await self.inner.look_up_refund(refund)


@dataclass(slots=True)
class History:
    """What became of one life: every event, and every command with what was decided."""

    world: World
    gateway: WatchedGateway
    commands: list[Command] = field(default_factory=list)

    @property
    def events(self) -> list[Event]:
        """Return all events in order."""
        return self.world.events

    def of(self, kind: type[EventT]) -> list[EventT]:
        """Return the events of a type in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def state(self) -> OrderState:
        """Return what the service holds in memory."""
        return self.world.states[ORDER]

    def replayed(self) -> OrderState:
        """Return the state as a service finds it that starts from its log alone."""
        kind = self.world.processor.streams.kind_of(ORDER)
        state: OrderState = kind.initial_state()
        for event in self.events:
            state = kind.evolve(state, type(event).parse(event.body()))
        return state


@contextmanager
def lived(life: Life) -> Iterator[History]:
    """Live through `life`, then run every effect that is left."""
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            history = _watched(world)
            _ask(history, life)
            for step in life.steps:
                _take(history, life, step)
            if life.mode == "wallet":
                _ledger_answers(history, life)
            _finish(history)
            yield history
        finally:
            world.close()


def _watched(world: World) -> History:
    gateway = WatchedGateway(world.ports.gateway)
    history = History(world, gateway)
    decide = world.processor.streams.kind_of(ORDER).decide

    def decide_twice(command: Command, state: OrderState) -> Decision | Ignored:
        history.commands.append(command)
        decision: Decision | Ignored = decide(command, state)
        assert decide(command, state) == decision, "the same command and state, two decisions"
        return decision

    outside = Outside(gateway, world.ports.provider, lambda: world.now, claims=world.claims)
    effects = build_effects(outside)
    world.processor = replace(
        world.processor,
        effects=effects,
        streams=Streams(BILLING, RENEWALS.decided_by(decide_twice)),
    )
    return history


def _take(history: History, life: Life, step: Step) -> None:
    world = history.world
    match step.kind:
        case "run" | "crash":
            _run(history, step.pick, crash=step.kind == "crash")
        case "ask":
            _ask(history, life)
        case "reuse_id":
            _ask(history, life, quantity=2 + step.pick)
        case "confirm":
            amount = usd(2120 if step.flag else 999)
            fields = {"gateway_txn_id": f"txn-{step.pick}", "amount": amount}
            paid = confirmation(**fields)
            pay_in_app(world, paid)
            world.tell(ORDER, lambda now: ConfirmPayment(paid, now))
        case "ledger" if life.mode == "wallet":
            _ledger_answers(history, life)
        case _:
            world.run_until(world.now + timedelta(minutes=7 * (1 + step.pick)))


def _run(history: History, pick: int, *, crash: bool) -> None:
    world = history.world
    due = [key for key, each in world.effects.items() if each.due_at is not None]
    if due:
        history.gateway.result_is_lost = crash
        world.execute(due[pick % len(due)], crash=crash)
        history.gateway.result_is_lost = False


def _finish(history: History) -> None:
    world = history.world
    for _ in range(STEPS_MAX):
        moments = [each.due_at for each in world.effects.values() if each.due_at is not None]
        if not moments and any(each.kind == "refund" for each in world.effects.values()):
            shop_gives_back(world)
            continue
        if not moments:
            return
        world.run_until(max(world.now, min(moments)))
    message = f"effects are left after {STEPS_MAX} rounds: {sorted(world.effects)}"
    raise AssertionError(message)


def _ask(history: History, life: Life, **changes: object) -> None:
    request = renewal(iccid=life.iccid, payment=_payment(life), **changes)
    history.world.tell(ORDER, lambda now: AcceptRenewal(request, now))


def _payment(life: Life) -> PaymentInstruction:
    match life.mode:
        case "charge":
            return by_token(life.token)
        case "confirm":
            return in_app()
        case "wallet":
            return from_wallet()


def _ledger_answers(history: History, life: Life) -> None:
    accepted = next(event for event in history.events if isinstance(event, RenewalAccepted))
    answer = _charged(accepted) if life.wallet_pays else _refused(accepted)

    def command(now: datetime) -> Command:
        if isinstance(answer, WalletCharged):
            return ApplyWalletCharged(answer, now)
        return ApplyWalletRefusal(answer, now)

    history.world.tell(ORDER, command)


def _charged(accepted: RenewalAccepted) -> WalletCharged:
    price = accepted.quote
    return WalletCharged(
        account_id=accepted.account_id,
        charge_id=OWN_PAYMENT,
        renewal_id=accepted.renewal_id,
        amount=price.total,
        consideration=Consideration(
            net=price.net, tax=price.tax, tax_jurisdiction=price.tax_jurisdiction, bonus=usd(0)
        ),
        takes=[LotTake(lot_id="lot-1", kind="paid", amount=price.total)],
        rule_version="1",
        balance_after=usd(0),
        charged_at=accepted.accepted_at,
    )


def _refused(accepted: RenewalAccepted) -> WalletChargeRefused:
    return WalletChargeRefused(
        account_id=accepted.account_id,
        charge_id=OWN_PAYMENT,
        renewal_id=accepted.renewal_id,
        amount=accepted.quote.total,
        reason=ChargeRefusalReason.INSUFFICIENT_FUNDS,
        available=usd(0),
        refused_at=accepted.accepted_at,
    )
