"""What a wallet holds, and how each fact changes it. PURE; `evolve` never refuses the past.

The maps are persistent: a step shares all but a few nodes with the one before, so that a wallet of
many charges is folded in linear time, and a state that somebody else holds never changes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from rpds import HashTrieMap, HashTrieSet

from schemas.envelope import Event
from schemas.ledger import WalletCharged, WalletChargeRefused
from schemas.money import Money
from schemas.orders import (
    BonusGranted,
    Consideration,
    RefundCompleted,
    WalletChargeRequested,
    WalletToppedUp,
)
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCredited
from services.runtime.processor import StreamKind

Kind = Literal["paid", "bonus"]
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lot:
    """Credit that came in together; `number` counts lots in order of arrival.

    `remaining_minor` is never negative.
    """

    lot_id: str
    kind: Kind
    currency: str
    remaining_minor: int
    expires_at: datetime | None
    number: int

    def spendable_at(self, moment: datetime, currency: str) -> bool:
        """Say whether the lot can pay `currency` at `moment`."""
        return (
            self.currency == currency
            and self.remaining_minor > 0
            and (self.expires_at is None or self.expires_at > moment)
        )


@dataclass(frozen=True, slots=True)
class WalletCharge:
    """What a refund of one renewal has to match and to give back.

    It is a row of plain values: thousands of whole events would fill the memory.
    """

    amount: tuple[int, str]
    parts: tuple[int, int, int, str]
    takes: tuple[tuple[str, int], ...]
    asked_at: datetime

    def was(self, amount: Money, refund: Consideration) -> bool:
        """Say whether exactly this was charged."""
        return self.amount == (amount.amount_minor, amount.currency) and (
            _parts(refund) == self.parts
            and {refund.net.currency, refund.tax.currency, refund.bonus.currency}
            == {amount.currency}
        )


@dataclass(frozen=True, slots=True)
class WalletState:
    """All lots, which of them hold credit, charges that a refund may give back, ids answered.

    `asked` is the charge that orders asked for last, and when: its answer comes next.
    """

    lots: HashTrieMap[str, Lot] = field(default_factory=HashTrieMap)
    filled: HashTrieSet[str] = field(default_factory=HashTrieSet)
    charges: HashTrieMap[str, WalletCharge] = field(default_factory=HashTrieMap)
    answered: HashTrieSet[str] = field(default_factory=HashTrieSet)
    asked: tuple[str, datetime] | None = None

    def spendable(self, currency: str, moment: datetime) -> list[Lot]:
        """Return the lots that can pay, in the order of spending.

        Earliest expiry first (no expiry last), then bonus before paid, then order of arrival.
        """
        lots = (self.lots[lot_id] for lot_id in self.filled)
        return sorted((lot for lot in lots if lot.spendable_at(moment, currency)), key=_order)


def _order(lot: Lot) -> tuple[datetime, bool, int]:
    return lot.expires_at or _NEVER, lot.kind == "paid", lot.number


def initial_state() -> WalletState:
    """Return an empty wallet."""
    return WalletState()


def evolve(state: WalletState, event: Event) -> WalletState:
    """Return the wallet after `event`."""
    match event:
        case WalletToppedUp() | SurplusCredited():
            return _with_credit(state, "paid", event)
        case BonusGranted():
            return _with_credit(state, "bonus", event)
        case WalletChargeRequested():
            return replace(state, asked=(event.charge_id, event.requested_at))
        case WalletCharged():
            return _charged(state, event)
        case WalletChargeRefused():
            return replace(state, answered=state.answered.insert(event.charge_id))
        case RefundCompleted(method=PaymentMethod.WALLET) if event.renewal_id in state.charges:
            return _restored(state, event)
        case _:
            return state


def _with_credit(
    state: WalletState, kind: Kind, event: WalletToppedUp | SurplusCredited | BonusGranted
) -> WalletState:
    money, number = event.amount, len(state.lots)
    lot = Lot(event.lot_id, kind, money.currency, money.amount_minor, event.expires_at, number)
    return _with_lot(state, lot)


def _with_lot(state: WalletState, lot: Lot) -> WalletState:
    filled = state.filled
    filled = filled.insert(lot.lot_id) if lot.remaining_minor else filled.discard(lot.lot_id)
    return replace(state, lots=state.lots.insert(lot.lot_id, lot), filled=filled)


def _charged(state: WalletState, event: WalletCharged) -> WalletState:
    asked = state.asked
    charge = WalletCharge(
        amount=(event.amount.amount_minor, event.amount.currency),
        parts=_parts(event.consideration),
        takes=tuple((take.lot_id, take.amount.amount_minor) for take in event.takes),
        asked_at=asked[1] if asked and asked[0] == event.charge_id else event.charged_at,
    )
    lots, filled = state.lots, state.filled
    for lot_id, taken in charge.takes:
        lot = lots[lot_id]
        remaining = lot.remaining_minor - taken
        lots = lots.insert(lot_id, _holding(lot, remaining))
        if remaining == 0:
            filled = filled.discard(lot_id)
    return WalletState(
        lots,
        filled,
        state.charges.insert(event.renewal_id, charge),
        state.answered.insert(event.charge_id),
    )


def _holding(lot: Lot, remaining_minor: int) -> Lot:
    """Return the lot with what it holds now; the hot path, where `replace` is slow."""
    return Lot(lot.lot_id, lot.kind, lot.currency, remaining_minor, lot.expires_at, lot.number)


def _restored(state: WalletState, refund: RefundCompleted) -> WalletState:
    """Give back what a charge took, with the life that was left when the charge was asked for.

    What is left of the lot does not live longer for it: then the part that comes back is a lot.
    """
    charge = state.charges[refund.renewal_id]
    for lot_id, taken in charge.takes:
        lot = state.lots[lot_id]
        expires_at = _prolonged(lot.expires_at, charge.asked_at, refund.completed_at)
        if lot.remaining_minor and expires_at != lot.expires_at:
            own = _returned_lot_id(refund.refund_id, lot_id)
            back = Lot(own, lot.kind, lot.currency, taken, expires_at, len(state.lots))
        else:
            remaining = lot.remaining_minor + taken
            back = replace(lot, remaining_minor=remaining, expires_at=expires_at)
        state = _with_lot(state, back)
    return replace(state, charges=state.charges.remove(refund.renewal_id))


def _prolonged(
    expires_at: datetime | None, asked_at: datetime, returned_at: datetime
) -> datetime | None:
    if expires_at is None:
        return None
    life = max(expires_at - asked_at, timedelta(0))
    return max(expires_at, returned_at + min(life, _NEVER - returned_at))


def _returned_lot_id(refund_id: str, lot_id: str) -> str:
    return hashlib.sha256(f"{refund_id}/{lot_id}".encode()).hexdigest()[:32]


def _parts(whole: Consideration) -> tuple[int, int, int, str]:
    return (
        whole.net.amount_minor,
        whole.tax.amount_minor,
        whole.bonus.amount_minor,
        whole.tax_jurisdiction,
    )


WALLETS: Final[StreamKind[WalletState]] = StreamKind("wallet", initial_state, evolve)
"""One stream for each account."""
