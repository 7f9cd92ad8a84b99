"""Plays customers' operations and gives what orders would publish, and what the ledger answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID, uuid5

from hypothesis import strategies as st

from schemas import BILLING
from schemas.envelope import Event
from schemas.ledger import WalletCharged
from schemas.orders import Consideration, RefundCompleted, WalletChargeRequested
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCaptured
from schemas.topics import Source
from services.ledger.decider import (
    AddLot,
    ChargeWallet,
    Command,
    RestoreCharge,
    decide,
)
from services.ledger.handlers import load_low_balance
from services.ledger.wallets import WalletState, evolve, initial_state
from services.runtime.kafka.records.cloudevents import binary_headers
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.kafka.records.record_size import Headers
from services.runtime.log.event_log import StoredEvent
from services.runtime.processor import Decision
from tests.controls import T0
from tests.unit.ledger import builders as build

SHARDS: Final = 4
LOW_BALANCE: Final = load_low_balance()
_NAMESPACE: Final = UUID("00000000-0000-4000-8000-00000000b00c")
Kind = Literal["top_up", "card", "wallet", "fail", "surplus", "top_up_surplus"]


@dataclass(frozen=True, slots=True)
class Operation:
    """What a customer does, or what happens to the customer's latest paid renewal (`fail`)."""

    kind: Kind
    customer: int
    amount_minor: int
    extra_minor: int
    currency: str
    days: int | None
    method: PaymentMethod
    gateway: str = build.GATEWAY


OPERATIONS: Final = st.lists(
    st.builds(
        Operation,
        kind=st.sampled_from(["top_up", "card", "wallet", "fail", "surplus", "top_up_surplus"]),
        customer=st.integers(1, 3),
        amount_minor=st.integers(1, 5_000),
        extra_minor=st.integers(0, 900),
        currency=st.sampled_from(["USD", "CNY"]),
        days=st.none() | st.integers(0, 3),
        method=st.sampled_from(list(build.GATEWAY_METHODS)),
        gateway=st.sampled_from(["sandbox-card", "stripe", "stripe:eu"]),
    ),
    max_size=30,
)


@dataclass(slots=True)
class Record:
    """A Kafka record as the intake sees it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(slots=True)
class Books:
    """The events of all customers. `published` is what orders says, `filed` what the ledger files."""

    published: list[StoredEvent] = field(default_factory=list)
    filed: list[Event] = field(default_factory=list)
    wallets: dict[str, WalletState] = field(default_factory=lambda: defaultdict(initial_state))
    _numbers: int = 0
    _paid: dict[str, list[tuple[int, PaymentMethod, str, Consideration]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _sequences: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    _versions: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def now(self) -> datetime:
        """Return the moment of the next event: an hour after the last."""
        return T0 + timedelta(hours=len(self.published))

    def play(self, operations: Sequence[Operation]) -> Books:
        """Do everything in order."""
        for operation in operations:
            self._numbers += 1
            account_id = f"acct-{operation.customer}"
            match operation.kind:
                case "top_up":
                    self._top_up(account_id, operation)
                case "card":
                    self._renew_by_gateway(account_id, operation)
                case "wallet":
                    self._renew_by_wallet(account_id, operation)
                case "fail":
                    self._fail(account_id)
                case "surplus":
                    paid = self._surplus(account_id, operation)
                    self._publish(build.surplus_returned(paid))
                case "top_up_surplus":
                    paid = self._surplus(account_id, operation, topup=True)
                    lot = build.surplus_credited(paid)
                    self._publish(lot, AddLot(lot))
        return self

    def _top_up(self, account_id: str, wanted: Operation) -> None:
        number, currency = self._numbers, wanted.currency
        expires_at = None if wanted.days is None else self.now + timedelta(days=wanted.days)
        payment = build.captured(
            wanted.amount_minor,
            number=number,
            account_id=account_id,
            currency=currency,
            method=wanted.method,
            gateway=wanted.gateway,
            topup=True,
        )
        self._publish(payment)
        lot = build.topped_up(
            wanted.amount_minor,
            number,
            account_id=account_id,
            currency=currency,
            method=wanted.method,
            gateway=wanted.gateway,
            expires_at=expires_at,
        )
        self._publish(lot, AddLot(lot))
        if wanted.extra_minor:
            granted = build.bonus(
                wanted.extra_minor,
                number,
                account_id=account_id,
                currency=currency,
                expires_at=expires_at,
            )
            self._publish(granted, AddLot(granted))

    def _renew_by_gateway(self, account_id: str, wanted: Operation) -> None:
        paid = build.captured(
            wanted.amount_minor,
            wanted.extra_minor,
            number=self._numbers,
            account_id=account_id,
            fee=wanted.extra_minor // 2,
            fee_currency="EUR" if wanted.method is PaymentMethod.ALIPAY else None,
            currency=wanted.currency,
            method=wanted.method,
            gateway=wanted.gateway,
        )
        self._publish(paid)
        charged = (self._numbers, wanted.method, wanted.gateway, paid.consideration)
        self._paid[account_id].append(charged)

    def _renew_by_wallet(self, account_id: str, wanted: Operation) -> None:
        request = build.charge_requested(
            wanted.amount_minor,
            wanted.extra_minor,
            self._numbers,
            account_id=account_id,
            currency=wanted.currency,
            at=self.now,
        )
        answers = self._publish(request, _charge(request))
        for answer in answers:
            if isinstance(answer, WalletCharged):
                whole = answer.consideration
                paid = build.captured(
                    whole.net.amount_minor,
                    whole.tax.amount_minor,
                    number=self._numbers,
                    account_id=account_id,
                    bonus_minor=whole.bonus.amount_minor,
                    currency=wanted.currency,
                    method=PaymentMethod.WALLET,
                )
                self._publish(paid)
                charged = (self._numbers, PaymentMethod.WALLET, build.GATEWAY, whole)
                self._paid[account_id].append(charged)

    def _surplus(
        self, account_id: str, wanted: Operation, *, topup: bool = False
    ) -> SurplusCaptured:
        paid = build.surplus(
            wanted.amount_minor,
            self._numbers,
            account_id=account_id,
            currency=wanted.currency,
            method=wanted.method,
            gateway=wanted.gateway,
            fee=wanted.extra_minor // 2,
            topup=topup,
        )
        self._publish(paid)
        return paid

    def _fail(self, account_id: str) -> None:
        if not self._paid[account_id]:
            return
        number, method, gateway, whole = self._paid[account_id].pop()
        self._publish(
            build.activation_failed(whole, number=number, account_id=account_id, method=method)
        )
        refund = build.refunded(
            whole, number=number, account_id=account_id, method=method, gateway=gateway
        )
        self._publish(refund, _restore(refund))

    def _publish(self, event: Event, command: Command | None = None) -> tuple[Event, ...]:
        """Number an event as orders does; return what the ledger answers to the command it becomes."""
        renewal_id, topup_id = (getattr(event, name, None) for name in ("renewal_id", "topup_id"))
        stream_id = f"order/{renewal_id}" if renewal_id else f"topup/{topup_id}"
        shard = shard_of(event.account_id, SHARDS)
        self._sequences[shard] += 1
        self._versions[stream_id] += 1
        self.published.append(
            StoredEvent(
                shard=shard,
                position=self._sequences[shard],
                stream_id=stream_id,
                stream_version=self._versions[stream_id],
                event_id=uuid5(_NAMESPACE, f"{shard}/{self._sequences[shard]}"),
                source=Source.ORDERS,
                type=event.wire_type(),
                sequence=self._sequences[shard],
                account_id=event.account_id,
                correlation_id=stream_id.partition("/")[2],
                causation_id=None,
                traceparent=None,
                occurred_at=self.now,
                recorded_at=self.now,
                body=event.body(),
            )
        )
        decision = decide(command, self.wallets[event.account_id]) if command else Decision()
        answers = decision.events if isinstance(decision, Decision) else ()
        for filed in (event, *answers):
            self.filed.append(filed)
            state = self.wallets[event.account_id]
            self.wallets[event.account_id] = evolve(state, filed)
        return answers

    def records(self) -> list[Record]:
        """Return what orders publishes, as records of its topic."""
        return [record_of(stored) for stored in self.published]

    def stored(self, occurred_at: datetime = T0) -> list[StoredEvent]:
        """Return every filed event, which happened then, as a row of shard 0 in the order of filing."""
        first = self.published[:1]
        return [
            first[0]._replace(
                shard=0,
                position=position,
                occurred_at=occurred_at,
                type=event.wire_type(),
                account_id=event.account_id,
                body=event.body(),
            )
            for position, event in enumerate(self.filed, 1)
        ]


def record_of(stored: StoredEvent) -> Record:
    """Return an event as orders publishes it."""
    return Record(
        topic="billing.orders.v1",
        partition=stored.shard,
        offset=stored.sequence - 1,
        key=stored.account_id.encode(),
        value=stored.body,
        headers=binary_headers(stored, BILLING),
    )


def _charge(request: WalletChargeRequested) -> ChargeWallet:
    return ChargeWallet(request, LOW_BALANCE.get(request.amount.currency), request.requested_at)


def _restore(refund: RefundCompleted) -> RestoreCharge | None:
    return RestoreCharge(refund) if refund.method is PaymentMethod.WALLET else None
