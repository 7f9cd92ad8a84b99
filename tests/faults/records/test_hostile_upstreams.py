"""Three upstreams that send nothing but rubbish, for some seconds, beside an honest one.

`make hostile` is the same for minutes, with the time of honest requests and the growth of memory.
"""

from __future__ import annotations

from tests.hostile.siege import Plan, Siege
from tests.infrastructure.system import System

PLAN = Plan(seconds=15, rate=300, seed=3)


def test_flood_of_rubbish_halts_nothing_fills_nothing_and_each_honest_request_is_answered_once(
    system: System,
) -> None:
    siege = Siege(system, PLAN)
    siege.start()
    found = siege.run()
    assert found.broken() == []
    assert found.hostile_sent > PLAN.seconds * PLAN.hostile_rate / 2
    assert found.honest > PLAN.seconds * PLAN.honest_rate
