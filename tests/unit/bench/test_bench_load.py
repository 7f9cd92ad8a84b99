"""What the bench sends is what the services take: proper requests, and events that chain."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.bench.parts.events import BODIES, HEADERS, STEPS, stored_events
from deploy.bench.results.plan import FULL, SHORT, BenchPlan
from deploy.bench.system.load import Load
from schemas import BILLING, EVENT_TYPES
from schemas.registry import SHARD_COUNT_DEFAULT
from schemas.requests import RenewalRequested
from schemas.topics import REQUESTS
from services.orders.catalogue.catalogue_file import CATALOGUE_DEFAULT, load_catalogue
from services.runtime.kafka.records.cloudevents import read_record
from services.runtime.log.event_log import GENESIS_HASH, ShardHead, chain_hash


def record(message: dict[str, Any]) -> Any:
    return SimpleNamespace(topic=REQUESTS.name, offset=0, **message)


@pytest.mark.parametrize("number", [0, 1, 2, 999_999])
def test_requests_are_proper_renewals(number: int) -> None:
    load = Load("test", accounts=1_000_000, token="tok_slow")
    envelope, body = read_record(record(load.message(number)))
    request = RenewalRequested.parse(body)
    assert isinstance(request, RenewalRequested)
    assert envelope.type == RenewalRequested.wire_type()
    assert request.renewal_id == f"test-{number}"
    assert request.account_id == envelope.partitionkey == load.account(number)
    assert request.payment.token == "tok_slow"


def test_plans_are_sold_in_the_currencies_of_the_requests() -> None:
    catalogue = load_catalogue(CATALOGUE_DEFAULT)
    for number in range(3):
        _, body = read_record(record(Load("test").message(number)))
        request = RenewalRequested.parse(body)
        assert isinstance(request, RenewalRequested)
        plan = catalogue.plan(request.plan_code, datetime(2026, 11, 20, tzinfo=UTC))
        assert plan is not None
        assert request.payment.currency in plan.price


def test_requests_of_one_load_have_different_ids() -> None:
    ids = {dict(Load("test").message(number)["headers"])["ce_id"] for number in range(1_000)}
    assert len(ids) == 1_000


@pytest.mark.parametrize("accounts", [10, 1_000])
def test_load_spreads_over_exactly_its_accounts(accounts: int) -> None:
    load = Load("test", accounts=accounts)
    assert len({load.account(number) for number in range(accounts)}) == accounts


def test_stored_events_are_chained_and_dense_in_each_shard() -> None:
    heads = {shard: ShardHead() for shard in range(SHARD_COUNT_DEFAULT)}
    events = list(stored_events(Load("test"), 0, 100, heads))
    assert len(events) == 300
    for shard, head in heads.items():
        own = [event for event in events if event.shard == shard]
        assert [event.position for event in own] == list(range(1, len(own) + 1))
        previous = GENESIS_HASH
        for event in own:
            assert event.hash == chain_hash(previous, event)
            previous = event.hash
        assert head.hash == previous


def test_stored_events_parse_as_what_they_are() -> None:
    heads = {shard: ShardHead() for shard in range(SHARD_COUNT_DEFAULT)}
    names = [
        type(event.event(BILLING)).__name__ for event in stored_events(Load("test"), 5, 1, heads)
    ]
    assert names == list(STEPS)


@pytest.mark.parametrize("name", BODIES)
def test_bodies_and_headers_of_the_reference_are_those_of_the_contract(name: str) -> None:
    body = BODIES[name] % {b"account": b"acct-1", b"renewal": b"rnw-1"}
    assert EVENT_TYPES[f"billing.{name}.v1"].parse(body).account_id == "acct-1"
    assert dict(HEADERS[name])["ce_type"] == f"billing.{name}.v1".encode()


@pytest.mark.parametrize("plan", [FULL, SHORT])
def test_sizes_of_a_plan_grow(plan: BenchPlan) -> None:
    assert plan.scaling_events[0] < plan.scaling_events[-1]
