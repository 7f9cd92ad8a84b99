"""The services' deciders in one thread, and what they make of the oracle's records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from deploy.demo.expected.outcomes import Counts, flat
from deploy.demo.expected.prices import WORLD
from deploy.demo.expected.records import RawRecord
from deploy.demo.publish import partition_of
from deploy.demo.timing import SETTINGS
from schemas.envelope import Envelope, Event
from schemas.money import Money
from schemas.registry import SHARD_COUNT_DEFAULT
from schemas.requests import PaymentMethod
from schemas.topics import REQUESTS, Source
from services.ledger.handlers import build_processor as build_ledger
from services.ledger.handlers import load_low_balance
from services.ledger.rules.postings import post
from services.ledger.rules.rule_file import load_rules
from services.ledger.wallets import WalletState
from services.notifier.contacts.candidates import ContactChange, answer_of, candidate_of
from services.notifier.contacts.contacts import changed_contact
from services.notifier.handlers import build_processor as build_notifier
from services.notifier.notification.policy import Policy
from services.notifier.notification.templates import TEMPLATE_OF
from services.notifier.wording.locales import locale_of
from services.orders.catalogue.catalogue_file import load_catalogue
from services.orders.order.routing import Routing
from services.orders.order.rules import Rules
from services.orders.payments.gateways.sandbox import CustomerPayment
from services.orders.settings import OrdersSettings, policy_of
from services.runtime.errors import Poison
from services.runtime.flow.intake.parsing import RecordParser
from services.runtime.flow.letters.dead_letters import RedrivenRecord
from services.runtime.processor import Decision, Incoming, Task
from services.runtime.settings import load_settings
from tests.unit.orders.builders import NOW
from tests.unit.orders.world import World

RULES: Final = load_rules()
NEEDED: Final = {
    "PERENNIAL_ENVIRONMENT": "demo",
    "PERENNIAL_ORDERS_POSTGRES_DSN": "postgresql://nobody@127.0.0.1/none",
    "PERENNIAL_ORDERS_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "PERENNIAL_ORDERS_ESIM_HASH_SALT": "a salt for tests",
}
MESSAGES: Final = frozenset({"NotificationSent", "NotificationDelivered"})


class Market:
    """The services in one thread, with what they did in each phase."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.outcomes: dict[str, Counts] = {}
        self.dead_letters: dict[str, Counts] = {}
        self.balances: Counts = Counter()
        self.wallets: dict[str, WalletState] = {}
        self._told = 0
        self._phase = ""
        self._details: dict[str, str] = WORLD["detail"]
        self.messages: Counts = Counter()
        self._untold: list[Event] = []
        self._contacts: dict[str, ContactChange] = {}
        self._accepted: set[tuple[str, str]] = set()
        self._parser = RecordParser(world.processor, SHARD_COUNT_DEFAULT)
        notifier = build_notifier(Policy(), {})
        self._notifier_parser = RecordParser(notifier, SHARD_COUNT_DEFAULT)
        self._ledger = build_ledger(rules=RULES, low_balance=load_low_balance())

    def seen(self) -> dict[str, Any]:
        """Return what came of everything, as `wanted` says it."""
        return {
            "outcomes": self.outcomes,
            "dead letters": {phase: each for phase, each in self.dead_letters.items() if each},
            "messages": self.messages,
            "books": {key: minor for key, minor in self.balances.items() if minor},
            "wallets": {
                account_id: held
                for account_id, wallet in self.wallets.items()
                if (held := _held(wallet))
            },
        }

    def play(self, phase: int, records: Iterator[RawRecord]) -> None:
        """Handle all records of a phase, then wait until nothing is due any more."""
        self._phase = str(phase)
        self.outcomes[self._phase] = Counter()
        self.dead_letters[self._phase] = Counter()
        for offset, record in enumerate(records):
            self._handle(offset, record)
        while due := [each.due_at for each in self.world.effects.values() if each.due_at]:
            self.world.run_until(min(due))
            self._tell_ledger()
        self._send_emails()

    def _handle(self, offset: int, record: RawRecord) -> None:
        partition = partition_of(record, SHARD_COUNT_DEFAULT)
        if record.paid:
            self.world.ports.gateway.pay(_paid(record.paid))
        consumed = RedrivenRecord(
            record.topic, partition, offset, record.key, record.value, record.headers
        )
        parsed = self._parser.parse(consumed, self.world.now)
        try:
            if parsed.poison:
                raise parsed.poison
            if parsed.work:
                self._ask_orders(parsed.work.task)
        except Poison as poison:
            self.dead_letters[self._phase]["orders", poison.reason] += 1
        self._tell_ledger()
        if record.topic == REQUESTS.name:
            self._tell_notifier(consumed)

    def _tell_notifier(self, consumed: RedrivenRecord) -> None:
        parsed = self._notifier_parser.parse(consumed, self.world.now)
        if parsed.poison:
            self.dead_letters[self._phase]["notifier", parsed.poison.reason] += 1
        if parsed.work and parsed.work.incoming:
            candidate = candidate_of(parsed.work.incoming.envelope, parsed.work.incoming.event)
            change = changed_contact(parsed.work.incoming.event)
            if candidate is not None and candidate.key[:2] in self._accepted:
                change = ContactChange(candidate.account_id, candidate.contact, candidate.as_of)
            if change is None:
                return
            known = self._contacts.get(change.account_id, change)
            if known.as_of <= change.as_of:
                self._contacts[change.account_id] = change

    def _send_emails(self) -> None:
        waiting, self._untold = self._untold, []
        for event in waiting:
            if event.account_id in self._contacts:
                contact = self._contacts[event.account_id].contact
                for channel in contact.channels:
                    told = f"{TEMPLATE_OF[type(event)]} by {channel}"
                    self.messages[told, locale_of(contact)] += 1
            else:
                self._untold.append(event)

    def _ask_orders(self, task: Task) -> None:
        command: Any = task.command
        self.world.tell(task.stream_id, lambda _now: command)

    def _tell_ledger(self) -> None:
        while self._told < len(self.world.events):
            event = self.world.events[self._told]
            self._told += 1
            self._count(event)
            for answer in self._decide_in_ledger(event):
                self._count(answer)
                if type(answer) in self.world.processor.handlers:
                    handler = self.world.processor.handlers[type(answer)]
                    arrived = _incoming(answer, Source.LEDGER)
                    task = handler(arrived.envelope, arrived.event, self.world.now)
                    assert isinstance(task, Task)
                    self._ask_orders(task)

    def _decide_in_ledger(self, event: Event) -> tuple[Event, ...]:
        arrived = _incoming(event, Source.ORDERS)
        handler = self._ledger.handlers[type(event)]
        task = handler(arrived.envelope, arrived.event, self.world.now)
        assert isinstance(task, Task)
        if task.stateless:
            return ()
        kind = self._ledger.streams.kind_of(task.stream_id)
        wallet = self.wallets.get(event.account_id, kind.initial_state())
        decision = kind.decide(task.command, wallet)
        assert isinstance(decision, Decision)
        for each in (event, *decision.events):
            wallet = kind.evolve(wallet, each)
        self.wallets[event.account_id] = wallet
        return tuple(decision.events)

    def _count(self, event: Event) -> None:
        name = type(event).__name__
        detail = getattr(event, self._details.get(name, ""), "")
        self.outcomes[self._phase][name, str(detail)] += 1
        answer = answer_of(_incoming(event, Source.ORDERS))
        if answer is not None and answer.accepted:
            self._accepted.add((answer.account_id, answer.order_id))
        if type(event) in TEMPLATE_OF:
            self._untold.append(event)
        for posting in post(event, self.world.now, RULES).postings:
            account = posting.account.removesuffix(f":{event.account_id}")
            self.balances[posting.currency, account] += posting.amount_minor


def _paid(paid: dict[str, Any]) -> CustomerPayment:
    return CustomerPayment(
        gateway=paid["gateway"],
        gateway_txn_id=paid["txn"],
        reference=paid["reference"],
        method=PaymentMethod(paid["method"]),
        amount=Money(amount_minor=paid["amount_minor"], currency=paid["currency"]),
        fee_minor=paid["fee_minor"],
        paid_at=datetime.fromisoformat(paid["at"]),
    )


def _incoming(event: Event, source: Source) -> Incoming:
    envelope = Envelope(
        id=UUID(int=0),
        source=source,
        type=event.wire_type(),
        subject="order/any",
        time=NOW,
        partitionkey=event.account_id,
        causationid=UUID(int=0),
    )
    return Incoming(envelope, event, event.body())


def _held(wallet: WalletState) -> dict[str, Any] | None:
    lots = [lot for lot in wallet.lots.values() if lot.remaining_minor]
    if not lots:
        return None
    (currency,) = {lot.currency for lot in lots}
    sums = {
        kind: sum(lot.remaining_minor for lot in lots if lot.kind == kind)
        for kind in ("paid", "bonus")
    }
    return {"currency": currency, **sums}


def played(folder: Path, records: Iterable[RawRecord]) -> Market:
    """Return the market after all records."""
    settings = load_settings(OrdersSettings, NEEDED | SETTINGS["orders"])
    rules = Rules(load_catalogue(settings.catalogue), policy_of(settings), Routing.to("sandbox"))
    world = World(folder, rules)
    market = Market(world)
    try:
        for phase, of_phase in groupby(records, key=lambda record: record.phase):
            market.play(phase, of_phase)
    finally:
        world.close()
    return market


def wanted(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must come of a manifest's records. The emails are counted by language alone."""
    return {
        "outcomes": {
            phase: Counter({key: n for key, n in flat(nested).items() if key[0] not in MESSAGES})
            for phase, nested in manifest["outcomes_by_phase"].items()
        },
        "dead letters": {
            phase: flat(nested) for phase, nested in manifest["dead_letters_by_phase"].items()
        },
        "messages": flat(manifest["messages"]),
        "books": flat(manifest["trial_balance"]),
        "wallets": manifest["wallets"],
    }
