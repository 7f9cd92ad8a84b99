"""What is fuzzed: each target makes a case from a `Random` and reads it.

Reading ends in a value, or in a refusal whose message names nothing that was sent. Whatever else
is raised is a finding.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any, ClassVar, Final

import httpx
from pydantic import ValidationError

from schemas import BILLING, EVENT_TYPES
from schemas.money import Money
from schemas.requests import PaymentMethod
from schemas.topics import TOPICS
from services.ledger import handlers as ledger
from services.ledger.rules.amounts import amounts_of
from services.ledger.rules.rule_file import POSTING_RULES, load_rules
from services.notifier import effects as notifier_effects
from services.notifier import handlers as notifier
from services.notifier.notification.policy import Policy as NotifierPolicy
from services.orders import effects as orders_effects
from services.orders import handlers as orders
from services.orders.catalogue.catalogue_file import CATALOGUE_DEFAULT, load_catalogue
from services.orders.order.policy import Policy as OrdersPolicy
from services.orders.order.routing import Routing
from services.orders.order.rules import Rules
from services.orders.payments.gateways.gateway import Charge, ChargeReference, Refund
from services.orders.payments.gateways.http import HttpGateway
from services.orders.renewals.providers.http import HttpProvider
from services.orders.renewals.providers.provider import PlanOrder
from services.runtime.effect import EffectRun
from services.runtime.effect_definition import EffectDefinition
from services.runtime.errors import Halt, Park, Poison, SettlementRefused
from services.runtime.flow.intake.parsing import RecordParser
from services.runtime.kafka.records.cloudevents import validation_summary
from services.runtime.processor import Decision, Ignored, Processor, Settlement, Task
from services.upstream.files import read_file
from tests.fuzz import hostile
from tests.fuzz.contents import ANSWERS, CSV_COLUMNS, FILE_BYTES_MAX, OUTCOMES
from tests.fuzz.examples import example
from tests.fuzz.payloads import PAYLOADS
from tests.fuzz.records import SHARDS, Record, record

NOW: Final = datetime(2026, 11, 20, 8, tzinfo=UTC)


class Target(ABC):
    """One reader of foreign input; `weight` says how often its turn comes."""

    name: ClassVar[str]
    weight: ClassVar[int]

    @abstractmethod
    def make(self, random: Random) -> Any:
        """Return a case."""

    @abstractmethod
    def read(self, case: Any) -> str:
        """Read the case; return what was said about it, or nothing."""


class Records(Target):
    """The record parser of one service, and its decider on a new stream."""

    weight = 14

    def __init__(self, processor: Processor) -> None:
        """Parse for `processor`."""
        self.name = f"records of {processor.group}"  # type: ignore[misc]
        self._processor = processor
        self._parser = RecordParser(processor, SHARDS)
        names = {subscription.topic for subscription in processor.subscriptions}
        self._topics = tuple(topic for topic in TOPICS if topic.name in names)

    def make(self, random: Random) -> Record:
        """Return a record on a topic that the service reads."""
        return record(random, self._topics)

    def read(self, case: Record) -> str:
        """Parse, decide, and write what was decided."""
        parsed = self._parser.parse(case, NOW)
        if parsed.poison is not None:
            return f"{parsed.poison.reason} {parsed.poison}"
        if parsed.work is None:
            return ""
        try:
            outcome = self._decide(parsed.work.task)
        except (Poison, Park, Halt) as refused:
            # A service's own event that contradicts its stream: judged there, and no crash.
            return str(refused) if isinstance(refused, Poison) else ""
        if isinstance(outcome, Decision):
            for event in outcome.events:
                event.body()
            if not parsed.work.task.stateless:
                kind = self._processor.streams.kind_of(parsed.work.task.stream_id)
                state = kind.initial_state()
                for event in outcome.events:
                    state = kind.evolve(state, event)
        return ""

    def _decide(self, task: Task) -> Decision | Ignored:
        if task.stateless:
            return self._processor.decide_stateless(task.command)
        kind = self._processor.streams.kind_of(task.stream_id)
        outcome: Decision | Ignored = kind.decide(task.command, kind.initial_state())
        return outcome


class Models(Target):
    """Every event model: what it accepts, it writes, and reads again as the same."""

    name = "event models"
    weight = 30

    def make(self, random: Random) -> tuple[str, bytes]:
        """Return the type and a body."""
        wire_type = random.choice(list(EVENT_TYPES))
        data = hostile.changed(random, example(wire_type)["data"])
        return wire_type, hostile.encoded(random, data)

    def read(self, case: tuple[str, bytes]) -> str:
        """Parse, write, parse."""
        model = EVENT_TYPES[case[0]]
        try:
            event = model.parse(case[1])
        except ValidationError as error:
            return validation_summary(error, BILLING.field_names)
        if model.parse(event.body()) != event:
            message = f"{case[0]} is not what it was after writing and reading"
            raise AssertionError(message)
        try:
            amounts_of(event)
        except Park:
            return ""
        return ""


class Files(Target):
    """Request files of `perennial publish`, JSON Lines and CSV."""

    name = "request files"
    weight = 6

    def __init__(self) -> None:
        """Write them to a folder of their own."""
        self._folder = Path(mkdtemp())
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)

    def make(self, random: Random) -> tuple[str, bytes]:
        """Return a file's ending and content."""
        if random.random() < 0.5:
            rows = [
                hostile.changed(random, self._row(random)) for _ in range(random.choice((1, 3)))
            ]
            made = b"\n".join(hostile.encoded(random, row) for row in rows)
            return ".jsonl", made[:FILE_BYTES_MAX]
        header = ["type", *random.sample(CSV_COLUMNS, k=random.randrange(1, 9))]
        lines = [",".join(header)]
        for _ in range(random.choice((1, 3))):
            cells = ["RenewalRequested", *(hostile.text(random) for _ in header[1:])]
            lines.append(",".join(f'"{cell}"' if random.random() < 0.5 else cell for cell in cells))
        made = "\n".join(lines).encode("utf-8", "surrogatepass")
        made = hostile.damaged(random, made) if random.random() < 0.2 else made
        return ".csv", made[:FILE_BYTES_MAX]

    def read(self, case: tuple[str, bytes]) -> str:
        """Check the file, and make the headers of what it accepts."""
        path = self._folder / f"case{case[0]}"
        path.write_bytes(case[1])
        checked = read_file(path, source="/upstream/shop", event_type=None)
        for request in checked.requests:
            _ = request.headers
        problems = (problem for each in checked.problems.values() for problem in each)
        return " ".join(problem.message for problem in problems)

    @staticmethod
    def _row(random: Random) -> dict[str, Any]:
        found = example(f"billing.{random.choice(('RenewalRequested', 'TopUpRequested'))}.v1")
        return found if random.random() < 0.5 else {"type": found["type"], "data": found["data"]}


class HttpAnswers(Target):
    """What a gateway or a provider answers over HTTP. Each answer becomes a value."""

    name = "answers over HTTP"
    weight = 2

    def __init__(self) -> None:
        """Answer from memory."""
        self._answer = httpx.Response(200)
        self._loop = asyncio.new_event_loop()
        atexit.register(self._loop.close)
        transport = httpx.MockTransport(lambda _request: self._answer)
        client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
        gateway, provider = HttpGateway(client), HttpProvider(client)
        money = Money(amount_minor=100, currency="USD")
        charge = Charge(payment_id="p", token="t", method=PaymentMethod.CARD, amount=money)
        refund = Refund(
            refund_id="r", payment_id="p", gateway="g", gateway_txn_id="t",
            method=PaymentMethod.CARD, amount=money,
        )  # fmt: skip
        order = PlanOrder(
            reference="a", iccid="89852030001234567840", plan_code="p", quantity=1, validity_days=30
        )
        self._calls: tuple[Callable[[], Coroutine[Any, Any, object]], ...] = (
            lambda: gateway.charge(charge),
            lambda: gateway.look_up_charge(ChargeReference(payment_id="p")),
            lambda: gateway.cancel_charge(ChargeReference(payment_id="p")),
            lambda: gateway.look_up_transaction("g", "t"),
            lambda: gateway.refund(refund),
            lambda: gateway.look_up_refund(refund),
            lambda: provider.top_up(order),
            lambda: provider.look_up("a"),
        )

    def make(self, random: Random) -> tuple[int, int, dict[str, str], bytes]:
        """Return which call, the status, the headers and the body."""
        body = hostile.encoded(random, hostile.changed(random, random.choice(ANSWERS)))
        headers = random.choice(
            (
                {},
                {"content-encoding": "gzip"},
                {"content-type": "text/html; charset=utf-7"},
                {"location": "http://169.254.0.1/"},
            )
        )
        status = random.choice((200, 200, 200, 201, 204, 301, 400, 404, 429, 500, 503, 999))
        return random.randrange(len(self._calls)), status, headers, body

    def read(self, case: tuple[int, int, dict[str, str], bytes]) -> str:
        """Make the call."""
        which, status, headers, body = case
        self._answer = httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))
        self._loop.run_until_complete(self._calls[which]())
        return ""


class OperatorRequests(Target):
    """What the command line wrote down for a service, read by it."""

    name = "operator requests"
    weight = 8

    def __init__(self, effects: Sequence[EffectDefinition[Any, Any, Any]]) -> None:
        """Read for `effects`."""
        self._effects = effects

    def make(self, random: Random) -> tuple[int, bytes]:
        """Return the kind of effect and the content of the request."""
        asked = hostile.changed(random, {
            "outcome": random.choice(OUTCOMES), "by": "alex", "reason": "seen on the statement",
            "gateway": "sandbox", "provider": "sandbox", "reference": "ref-1",
            "at": random.choice(("2026-11-20T07:00:00Z", random.choice(hostile.TIMES))),
        })  # fmt: skip
        return random.randrange(len(self._effects)), hostile.encoded(random, asked)

    def read(self, case: tuple[int, bytes]) -> str:
        """Turn it into a command."""
        effect = self._effects[case[0]]
        try:
            said = Settlement.model_validate_json(case[1])
            effect.settle(said, _run(effect.kind), NOW)
        except ValidationError as error:
            return validation_summary(error, BILLING.field_names)
        except SettlementRefused as refusal:
            return str(refusal)
        return ""


def _run(kind: str) -> EffectRun:
    return EffectRun(
        0, f"{kind}/1", kind, "acct-1", "order/1", PAYLOADS[kind](), 1,
        recovered=False, checkpoint=None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Services:
    """The three services, without anything outside."""

    orders: Processor
    ledger: Processor
    notifier: Processor


def open_services() -> Services:
    """Read the files that the services read at their start."""
    return Services(
        orders.build_processor(
            Rules(
                load_catalogue(CATALOGUE_DEFAULT),
                OrdersPolicy(esim_hash_salt="s" * 16),
                Routing.to("sandbox"),
            ),
            {},
        ),
        ledger.build_processor(
            rules=load_rules(POSTING_RULES), low_balance=ledger.load_low_balance()
        ),
        notifier.build_processor(NotifierPolicy(), {}),
    )


def targets() -> list[Target]:
    """Return everything that is fuzzed."""
    services = open_services()
    return [
        Records(services.orders),
        Records(services.ledger),
        Records(services.notifier),
        Models(),
        Files(),
        HttpAnswers(),
        OperatorRequests([*orders_effects.EFFECTS, *notifier_effects.EFFECTS]),
    ]
