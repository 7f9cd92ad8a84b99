"""Whatever crashes, and whatever comes again: what is sent to a stream arrives there once."""

from __future__ import annotations

from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.runtime.log.event_log import EventLog
from tests.contract.test_event_log import log
from tests.unit.runtime.couriers import ACCOUNTS, Couriers, expected

__all__ = ["log"]

WAYS: Final = st.lists(st.integers(0, len(ACCOUNTS) - 1), max_size=4)
ASKED: Final = st.tuples(st.just("ask"), st.sampled_from(ACCOUNTS), WAYS)
READ: Final = st.tuples(
    st.just("read"), st.integers(0, 3), st.sampled_from([None, None, "before", "after"])
)
PUBLISHED: Final = st.tuples(st.just("publish"), st.booleans(), st.none())
STORIES: Final = st.lists(ASKED | READ | PUBLISHED | st.tuples(st.just("restart"), *[st.none()] * 2),
                          min_size=1, max_size=14)  # fmt: skip


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(story=STORIES)
async def test_every_parcel_comes_by_each_account_of_its_way_once(
    log: EventLog, story: list[tuple[str, object, object]]
) -> None:
    couriers = known.setdefault(id(log), Couriers(log))
    asked = asked_of.setdefault(id(log), [])
    await couriers.begin()
    for what, first, second in story:
        match what:
            case "ask":
                name = ".".join(["w", *map(str, second)]) + f"-{len(asked)}"  # type: ignore[call-overload]
                asked.append((str(first), name))
                couriers.ask(str(first), name)
            case "read":
                await couriers.read(behind=first, crash=second)  # type: ignore[arg-type]
            case "publish":
                await couriers.publish(noted=bool(first))
            case _:
                couriers.restart()
    await couriers.settle()
    assert await couriers.counts() == expected(asked)


known: Final[dict[int, Couriers]] = {}
asked_of: Final[dict[int, list[tuple[str, str]]]] = {}
"""The stories of one log follow each other: each begins where the last ended."""
