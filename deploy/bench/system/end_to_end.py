"""Renewals from request to email through all three services, and what that costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from deploy.bench.line import BenchLine, Run, drive
from deploy.bench.results.figures import Figure, growth, percentile, steady_rate
from deploy.bench.results.plan import BenchPlan
from deploy.bench.rig import Rig
from deploy.bench.system.latency import latencies
from deploy.bench.system.load import Load
from deploy.bench.system.statements import statements_per_second
from deploy.bench.usage import Usage, used
from deploy.local.services import SERVICES

NAMES: Final = (
    "end_to_end",
    "end_to_end_slow_gateway",
    "idle",
    "latency_p99",
    "latency_p99_half",
    "statements",
    "memory",
    "scaling_accounts",
    "scaling_instances",
)
_RATE: Final = "renewals/s"
_COST: Final = "ms CPU/renewal"
_IDLE_COST: Final = "ms CPU/s"
_SCALING_TARGET: Final = "at most 1.2"
_LATENCY_RATE: Final = 200
_STATEMENTS_RATE: Final = 150
_STATEMENTS_TARGETS: Final = {"orders": 30, "ledger": 30, "notifier": 90}
_REBALANCE_SECONDS: Final = 3.0
_WARM_SECONDS: Final = 2.0
_SETTLED_SECONDS: Final = 2.0
"""Until the last marks are stored and no batch is open."""


class Variant(NamedTuple):
    """What a shorter drive showed: renewals/s, ms of CPU for each, CPUs that other programs took."""

    rate: float
    cost: float
    others_cpu: float


def measure(rig: Rig, plan: BenchPlan) -> list[Figure]:
    """Return the figures of NAMES."""
    rig.fresh()
    rig.start_bare(*SERVICES)
    bare, bare_usage = _drive(rig, rig.bare_line(), Load("bare"), plan.reference_seconds, plan)
    rig.stop()
    rig.settle()
    rig.start(*SERVICES)
    late = _latency(rig, "latency_p99", Load("late"), _LATENCY_RATE, plan)
    idle = _idle(rig, plan)
    run, usage = _drive(rig, rig.line(), Load("main"), plan.end_to_end_seconds, plan)
    rate, bare_rate = steady_rate(run.samples), steady_rate(bare.samples)
    note = f"{run.sent:,} renewals; other programs took {usage.others_cpu():.1f} CPUs"
    return [
        Figure("end_to_end", rate, _RATE, "bare loop", bare_rate, "0.33, then 0.5", note),
        *_costs(run, usage, bare, bare_usage),
        *idle,
        late,
        _latency(rig, "latency_p99_half", Load("half"), round(rate / 2), plan),
        *_statements(rig, plan),
        *_memory(usage),
        _slow_gateway(rig, plan),
        *_scaling(rig, plan),
    ]


def _drive(
    rig: Rig, line: BenchLine, load: Load, seconds: float, plan: BenchPlan
) -> tuple[Run, Usage]:
    rig.settle()
    with used(rig.pids()) as usage:
        run = asyncio.run(drive(line, load, seconds=seconds, window=plan.window))
    rig.say(f"{load.name}: {run.sent:,} renewals in {run.seconds:.1f} s")
    return run, usage


def _variant(rig: Rig, plan: BenchPlan, load: Load) -> Variant:
    run, usage = _drive(rig, rig.line(), load, plan.variant_seconds, plan)
    return Variant(steady_rate(run.samples), _per_renewal(run, usage)["all"], usage.others_cpu())


def _steady(rig: Rig, plan: BenchPlan, name: str) -> Variant:
    """Measure when the group is stable and its first batches are over."""
    time.sleep(_REBALANCE_SECONDS)
    warm = Load(f"{name}-warm")
    asyncio.run(drive(rig.line(), warm, seconds=_WARM_SECONDS, window=plan.window))
    return _variant(rig, plan, Load(name))


def _slow_gateway(rig: Rig, plan: BenchPlan) -> Figure:
    """Return the rate with a slow gateway beside that with a fast one, taken before and after."""
    before = _variant(rig, plan, Load("fast")).rate
    slow = _variant(rig, plan, Load("slow", token="tok_slow")).rate  # noqa: S106 - for the sandbox
    fast = (before + _variant(rig, plan, Load("fast-again")).rate) / 2
    note = "the gateway answers after 300 ms"
    return Figure("end_to_end_slow_gateway", slow, _RATE, "end_to_end", fast, "0.95", note)


def _latency(rig: Rig, name: str, load: Load, rate: int, plan: BenchPlan) -> Figure:
    rig.settle()
    seconds = asyncio.run(latencies(rig.line(), load, rate=rate, seconds=plan.latency_seconds))
    note = f"at {rate} renewals/s; the median is {1000 * percentile(seconds, 50):.0f} ms"
    return Figure(name, 1000 * percentile(seconds, 99), "ms", target="250", note=note)


def _idle(rig: Rig, plan: BenchPlan) -> list[Figure]:
    """Return the CPU time that is used without load; Kafka's own is not counted."""
    rig.settle()
    time.sleep(_SETTLED_SECONDS)
    with used(rig.pids()) as usage:
        time.sleep(plan.idle_seconds)
    parts = {name: 1000 * cpu / usage.seconds for name, cpu in usage.cpu_seconds.items()}
    kafka = parts.pop("kafka")
    note = ", ".join(f"{name} {value:.1f}" for name, value in parts.items())
    return [
        Figure("idle", sum(parts.values()), _IDLE_COST, target="45", note=note),
        Figure("idle_kafka", kafka, _IDLE_COST),
    ]


def _statements(rig: Rig, plan: BenchPlan) -> list[Figure]:
    found = statements_per_second(
        rig, Load("statements"), rate=_STATEMENTS_RATE, seconds=plan.latency_seconds
    )
    return [
        Figure(
            f"statements_{service}",
            found[service],
            "statements/s",
            target=str(target),
            note=f"at {_STATEMENTS_RATE} renewals/s",
        )
        for service, target in _STATEMENTS_TARGETS.items()
    ]


def _costs(run: Run, usage: Usage, bare: Run, bare_usage: Usage) -> list[Figure]:
    """Return the CPU time of each process per renewal: it depends little on what else runs."""
    bare_costs = {n.removeprefix("bare-"): c for n, c in _per_renewal(bare, bare_usage).items()}
    return [
        Figure(f"cpu_{name}", cost, _COST, "bare loop", bare_costs.get(name))
        for name, cost in _per_renewal(run, usage).items()
    ]


def _per_renewal(run: Run, usage: Usage) -> Mapping[str, float]:
    costs = {name: 1000 * cpu / run.sent for name, cpu in usage.cpu_seconds.items()}
    return costs | {"all": sum(costs.values())}


def _memory(usage: Usage) -> list[Figure]:
    return [
        Figure(
            f"memory_{service}",
            max(usage.resident_mib[service]),
            "MiB",
            target="300, flat",
            note=f"grew by {100 * (growth(usage.resident_mib[service]) - 1):+.1f} %",
        )
        for service in SERVICES
    ]


def _scaling(rig: Rig, plan: BenchPlan) -> list[Figure]:
    """Return what a renewal costs in CPU time, which depends less than a rate on what else runs."""
    few = _variant(rig, plan, Load("few", accounts=10)).cost
    many = _variant(rig, plan, Load("many", accounts=plan.accounts_many)).cost
    accounts = f"{plan.accounts_many:,} accounts"
    return [
        Figure("scaling_accounts", many, _COST, "10 accounts", few, _SCALING_TARGET, accounts),
        _instances(rig, plan),
    ]


def _instances(rig: Rig, plan: BenchPlan) -> Figure:
    """Return the cost with two instances beside that with one, taken before and after.

    Tables grow from drive to drive, and other programs come and go.
    """
    before = _steady(rig, plan, "one")
    rig.start("orders", instance="-2")
    two = _steady(rig, plan, "two")
    rig.stop("orders-2")
    after = _steady(rig, plan, "one-again")
    one = (before.cost + after.cost) / 2
    others = ", ".join(f"{variant.others_cpu:.1f}" for variant in (before, two, after))
    note = f"2 instances of orders; others took {others} CPUs with one, two and one"
    return Figure("scaling_instances", two.cost, _COST, "1 orders", one, _SCALING_TARGET, note)
