"""How long a plan is valid: the rows that the page shows, and what holds for every zone."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.orders import PlanActivated, RenewalAccepted
from schemas.requests import Contact
from services.orders.catalogue.validity import valid_until, zone_named, zone_names
from services.orders.decider import decide
from services.orders.order.evolution import initial_state
from services.orders.order.past import Past
from services.orders.order.rules import Rules
from services.orders.renewals.commands import AcceptRenewal
from services.orders.renewals.effects.activate import ACTIVATE
from services.runtime.effect import Start
from services.runtime.errors import Poison
from services.runtime.processor import Settlement
from tests.unit.orders.builders import ICCID, NOW, RULES, renewal
from tests.unit.orders.world import World

ORDER: Final = "order/ren-1"
PAGE: Final = Path(__file__).parents[3] / "docs" / "PUBLISHING.md"
ROWS: Final = re.findall(
    r"^\| `(\S+Z)` \| (\d+) \| `?([^`|]+?)`? \| `(\S+Z)` \|",
    PAGE.read_text(encoding="utf-8"),
    re.MULTILINE,
)
BY_CALENDAR: Final = replace(
    RULES,
    # Made anew: a copy of the model would keep what was looked up in the original.
    catalogue=type(RULES.catalogue).model_construct(
        **{name: getattr(RULES.catalogue, name) for name in type(RULES.catalogue).model_fields}
        | {
            "plans": [
                plan.model_copy(update={"calendar_days": True}) for plan in RULES.catalogue.plans
            ]
        }
    ),
)
SHANGHAI: Final = Contact(email="li@example.org", time_zone="Asia/Shanghai")
ENDS: Final = datetime(2026, 12, 19, 16, tzinfo=UTC)
"""30 days of Shanghai from `NOW` on, the 20th of November."""


def test_page_shows_every_kind_of_day() -> None:
    assert len(ROWS) == 16


@pytest.mark.parametrize(("begins", "days", "of", "ends"), ROWS)
def test_row_of_the_page_is_what_the_code_says(begins: str, days: str, of: str, ends: str) -> None:
    zone = None if of == "24 hours" else of
    found = valid_until(datetime.fromisoformat(begins), int(days), zone)
    assert found == datetime.fromisoformat(ends)
    assert found.tzinfo is UTC


MOMENTS: Final = st.integers(0, 230 * 365 * 24 * 60).map(
    lambda minutes: datetime(1971, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@given(moment=MOMENTS, days=st.integers(1, 3660), zone=st.sampled_from(sorted(zone_names())))
def test_calendar_days_end_at_the_first_moment_of_a_day_and_follow_each_other_without_a_gap(
    moment: datetime, days: int, zone: str
) -> None:
    end = valid_until(moment, days, zone)
    assert moment < end
    assert abs(end - moment - timedelta(days=days)) <= timedelta(days=2)
    there = zone_named(zone)
    first_day = moment.astimezone(there).date()
    assert (end - timedelta(microseconds=1)).astimezone(there).date() < first_day + timedelta(days)
    assert end.astimezone(there).date() >= first_day + timedelta(days)
    assert valid_until(moment, days + 1, zone) >= end
    assert valid_until(end, 1, zone) > end


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "Asia/Nowhere", "GMT+8", "utc", "/UTC", "zones"]
)
def test_zone_that_is_none_is_refused_with_what_to_do(name: str) -> None:
    asked = renewal(contact=Contact(email="li@example.org", time_zone=name))
    with pytest.raises(Poison, match="Asia/Shanghai") as refused:
        decided(asked, BY_CALENDAR)
    assert refused.value.reason == "time_zone_unknown"
    assert name not in str(refused.value)


def decided(asked: object, rules: Rules) -> RenewalAccepted:
    """Return how a request is accepted."""
    decision = decide(AcceptRenewal(asked, NOW), initial_state(), rules)  # type: ignore[arg-type]
    [accepted, *_] = decision.events  # type: ignore[union-attr]
    assert isinstance(accepted, RenewalAccepted)
    return accepted


def test_zone_matters_to_plans_by_the_calendar_alone() -> None:
    anywhere = renewal(contact=Contact(email="li@example.org", time_zone="Asia/Nowhere"))
    assert decided(anywhere, RULES).time_zone is None
    assert decided(renewal(contact=SHANGHAI), BY_CALENDAR).time_zone == "Asia/Shanghai"
    assert decided(renewal(contact=None), BY_CALENDAR).time_zone == "UTC"


def by_calendar(folder: Path, iccid: str = ICCID) -> World:
    """Return a world in which the customer of Shanghai asked for 30 days by the calendar."""
    world = World(folder, BY_CALENDAR)
    world.tell(ORDER, lambda now: AcceptRenewal(renewal(contact=SHANGHAI, iccid=iccid), now))
    return world


def activated(world: World) -> PlanActivated:
    [found] = [event for event in world.events if isinstance(event, PlanActivated)]
    return found


def test_plan_by_the_calendar_ends_at_the_customers_midnight(tmp_path: Path) -> None:
    world = by_calendar(tmp_path)
    world.run_until(NOW + timedelta(minutes=1))
    found = activated(world)
    assert (found.valid_until, found.time_zone) == (ENDS, "Asia/Shanghai")
    world.close()


def test_person_who_found_it_active_gives_it_the_same_end(tmp_path: Path) -> None:
    world = by_calendar(tmp_path, ICCID[:-4] + "9007")
    world.run_until(NOW + timedelta(minutes=1))
    [effect] = [key for key, each in world.effects.items() if each.kind == "activate"]
    said = Settlement(
        outcome="activated", by="ops", reason="seen", provider="sandbox", reference="r", at=NOW
    )
    world.settle(effect, said)
    found = activated(world)
    assert (found.valid_until, found.time_zone) == (ENDS, "Asia/Shanghai")
    world.close()


def test_restored_activation_tells_the_zone_again(tmp_path: Path) -> None:
    world = by_calendar(tmp_path)
    past = Past(world.events, renewal(contact=SHANGHAI), BY_CALENDAR.catalogue)
    [start] = [each for each in ACTIVATE.restore(past).changes if isinstance(each, Start)]
    assert start.payload["time_zone"] == "Asia/Shanghai"
    world.close()
