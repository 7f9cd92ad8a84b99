"""The demo's own model and the services' deciders must say the same of the demo's records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import pytest

from deploy.demo.expected.records import RawRecord
from deploy.demo.publish import MANIFEST_FILE, load_records, partition_of
from deploy.demo.timing import SETTINGS
from schemas.envelope import Envelope, Event, Source
from schemas.money import Money
from schemas.requests import PaymentMethod
from schemas.topics import REQUESTS, SHARD_COUNT_DEFAULT
from services.ledger.handlers import build_processor as build_ledger
from services.ledger.handlers import load_low_balance
from services.ledger.postings import post
from services.ledger.rules import load_rules
from services.ledger.wallets import WalletState
from services.notifier.candidates import ContactChange, answer_of, candidate_of
from services.notifier.contacts import changed_contact
from services.notifier.emails import TEMPLATE_OF
from services.notifier.emails.locales import locale_of
from services.notifier.handlers import build_processor as build_notifier
from services.notifier.policy import Policy
from services.orders.catalogue.catalogue_file import load_catalogue
from services.orders.order.rules import Rules
from services.orders.payments.gateways.sandbox import CustomerPayment
from services.orders.settings import OrdersSettings, policy_of
from services.runtime.errors import Poison
from services.runtime.flow.dead_letters import RedrivenRecord
from services.runtime.flow.parsing import RecordParser
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
EMAILS: Final = "NotificationSent"
Counts = Counter[tuple[str, str]]


def _manifest() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(MANIFEST_FILE.read_text(encoding="utf-8"))
    return content


def _counts(nested: dict[str, dict[str, int]]) -> Counts:
    return Counter({(name, key): n for name, row in nested.items() for key, n in row.items()})


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
        self._details: dict[str, str] = _manifest()["detail_fields"]
        self.emails: Counts = Counter()
        self._untold: list[Event] = []
        self._contacts: dict[str, ContactChange] = {}
        self._accepted: set[tuple[str, str]] = set()
        self._parser = RecordParser(world.processor, SHARD_COUNT_DEFAULT)
        notifier = build_notifier(Policy(), {})
        self._notifier_parser = RecordParser(notifier, SHARD_COUNT_DEFAULT)
        self._ledger = build_ledger(rules=RULES, low_balance=load_low_balance())

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
            candidate = candidate_of(parsed.work.incoming)
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
                locale = locale_of(self._contacts[event.account_id].contact)
                self.emails[TEMPLATE_OF[type(event)], locale] += 1
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
                    task = handler(_incoming(answer, Source.LEDGER), self.world.now)
                    assert isinstance(task, Task)
                    self._ask_orders(task)

    def _decide_in_ledger(self, event: Event) -> tuple[Event, ...]:
        task = self._ledger.handlers[type(event)](_incoming(event, Source.ORDERS), self.world.now)
        assert isinstance(task, Task)
        if task.stateless:
            return ()
        wallet = self.wallets.get(event.account_id, self._ledger.initial_state())
        decision = self._ledger.decide(task.command, wallet)
        assert isinstance(decision, Decision)
        for each in (event, *decision.events):
            wallet = self._ledger.evolve(wallet, each)
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


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    settings = load_settings(OrdersSettings, NEEDED | SETTINGS["orders"])
    rules = Rules(load_catalogue(settings.catalogue), policy_of(settings))
    world = World(tmp_path_factory.mktemp("sandbox"), rules)
    market = Market(world)
    for phase, records in groupby(load_records(), key=lambda record: record.phase):
        market.play(phase, records)
    yield market
    world.close()


def test_outcomes_of_every_phase_are_those_of_the_manifest(market: Market) -> None:
    expected = {
        phase: Counter({key: n for key, n in _counts(nested).items() if key[0] != EMAILS})
        for phase, nested in _manifest()["outcomes_by_phase"].items()
    }

    assert market.outcomes == expected


def test_dead_letters_of_every_phase_are_those_of_the_manifest(market: Market) -> None:
    by_phase = _manifest()["dead_letters_by_phase"]
    expected = {phase: _counts(by_phase.get(phase, {})) for phase in market.dead_letters}

    assert market.dead_letters == expected


def test_emails_are_those_of_the_manifest(market: Market) -> None:
    assert market.emails == _counts(_manifest()["emails"])


def test_books_are_those_of_the_manifest(market: Market) -> None:
    seen = {key: amount for key, amount in market.balances.items() if amount}

    assert seen == _counts(_manifest()["trial_balance"])


def test_wallets_are_those_of_the_manifest(market: Market) -> None:
    seen = {
        (account_id, lot.currency): _held(wallet)
        for account_id, wallet in market.wallets.items()
        for lot in wallet.lots.values()
        if any(_held(wallet))
    }
    expected = {
        (account_id, wallet["currency"]): (wallet["paid"], wallet["bonus"])
        for account_id, wallet in _manifest()["wallets"].items()
    }

    assert seen == expected


def _held(wallet: WalletState) -> tuple[int, int]:
    lots = wallet.lots.values()
    paid = sum(lot.remaining_minor for lot in lots if lot.kind == "paid")
    return paid, sum(lot.remaining_minor for lot in lots if lot.kind == "bonus")
