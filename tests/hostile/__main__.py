"""`make hostile SECONDS= RATE= SEED=`: nine hostile records in ten, from three upstreams."""

from __future__ import annotations

import argparse
import os
import secrets
import sys

import psutil

from deploy.bench.results.figures import percentile
from tests.hostile.siege import RATIO_MAX, Found, Plan, Siege
from tests.infrastructure import open_infrastructure
from tests.infrastructure.databases import new_database
from tests.infrastructure.system import System


def main() -> int:
    """Run the load; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long the flood goes on")
    parser.add_argument("--rate", type=int, default=2_000, help="records a second, all together")
    parser.add_argument("--seed", type=int, help="the seed; a random one otherwise")
    options = parser.parse_args()
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    plan = Plan(options.seconds, options.rate, seed)
    load_before = psutil.getloadavg()[0]
    with (
        open_infrastructure(os.environ) as infrastructure,
        System(infrastructure, new_database(infrastructure.admin_dsn, "hostile")) as system,
    ):
        siege = Siege(system, plan)
        siege.start()
        found = siege.run()
    print(
        f"seed {seed}: {plan.seconds:.0f} s, {plan.hostile_rate} hostile and {plan.honest_rate} "
        f"honest records a second; the machine's load was {load_before:.1f} before, on "
        f"{os.cpu_count()} CPUs"
    )
    return _told(found, plan)


def _told(found: Found, plan: Plan) -> int:
    for what, times in (("alone", found.alone_ms), ("beside the flood", found.beside_ms)):
        median, high = percentile(times, 50), percentile(times, 99)
        print(f"  honest requests {what:18} median {median:6.0f} ms   p99 {high:6.0f} ms")
    print(f"  p99 beside / alone {found.ratio:.2f} (at most {RATIO_MAX})")
    rate = found.hostile_sent / plan.seconds
    print(f"  hostile records that arrived {found.hostile_sent} ({rate:.0f}/s)")
    for name, sizes in found.memory.items():
        mib = " ".join(f"{size:5.0f}" for size in sizes)
        print(
            f"  {name:9} MiB at 1/4, 1/2, end {mib}   letters kept {found.letters[name]:6} "
            f"({found.letter_bytes[name] / 1e6:.1f} MB), beyond {found.overflow[name]:7}   "
            f"log {found.log_bytes[name] / 1e6:.1f} MB"
        )
    broken = found.broken() + [f"memory grows: {text}" for text in found.grown()]
    if found.ratio > RATIO_MAX:
        broken.append(f"the p99 of honest requests is {found.ratio:.2f} times their own")
    for text in broken:
        print(f"  BROKEN {text}")
    print("every promise holds" if not broken else f"{len(broken)} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
