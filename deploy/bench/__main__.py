"""`make bench`: every figure with its reference, in a table and in `build/bench.json`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn

from rich.console import Console

from deploy.bench.parts import append, intake, mac, replay
from deploy.bench.results.figures import Figure
from deploy.bench.results.plan import FULL, SHORT, BenchPlan
from deploy.bench.results.report import publish
from deploy.bench.rig import Rig
from deploy.bench.system import end_to_end
from deploy.local.errors import StackError
from deploy.local.folder import STATE
from services.runtime.errors import PerennialError

FOLDER: Final = STATE / "bench"
_WIDTH_MIN: Final = 160
RESULTS: Final = Path(__file__).parents[2] / "build" / "bench.json"
GROUPS: Final[Mapping[str, Callable[[Rig, BenchPlan], list[Figure]]]] = {
    "end_to_end": end_to_end.measure,
    "ledger_intake": intake.ledger_intake,
    "mail": intake.mail,
    "append": append.append,
    "replay": replay.replay,
    "mac": mac.mac,
}
"""What `--only` takes, in the order of a whole run."""


def main() -> int:
    """Measure; 0 when everything could be measured, whatever the figures."""
    parser = argparse.ArgumentParser(prog="python -m deploy.bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--only", choices=GROUPS, action="append", help="one group of figures")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    console = Console()
    console.width = max(console.width, _WIDTH_MIN)
    figures: list[Figure] = []
    try:
        with Rig(FOLDER, say=console.print) as rig:
            for name in arguments.only or GROUPS:
                started = time.monotonic()
                figures += GROUPS[name](rig, SHORT if arguments.short else FULL)
                console.print(f"{name}: measured in {time.monotonic() - started:.0f} s")
    except (StackError, PerennialError) as error:
        console.print(f"[red bold]the bench cannot go on:[/] {error}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; everything was stopped")
        return 130
    publish(figures, RESULTS, console)
    return 0


def _stop(_signum: int, _frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
