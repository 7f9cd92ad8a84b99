"""`make demo`: the main job on a real Kafka and Postgres, compared with its manifest at the end."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.demo.expected.comparison import compare_outcomes
from deploy.demo.findings import find_books, find_mails, find_sms, find_timeline
from deploy.demo.publish import MANIFEST_FILE
from deploy.demo.report.page import page
from deploy.demo.result import DemoResult, Used
from deploy.demo.run import dead_letters, run_phases
from deploy.demo.summary import show
from deploy.demo.tally import Tally
from deploy.demo.timing import SETTINGS
from deploy.local.errors import StackError
from deploy.local.folder import STATE
from deploy.local.stack import LocalStack

_SAMPLE_SECONDS: Final = 0.5


def main() -> int:
    """Run the demo; 0 when everything agrees, 1 when something differs."""
    signal.signal(signal.SIGTERM, _stop)
    secure = sys.argv[1:] == ["--secure"]
    folder = STATE / ("demo-secure" if secure else "demo")
    console = Console()
    manifest = json.loads(MANIFEST_FILE.read_text(encoding="utf-8"))
    result = DemoResult(
        requests=manifest["sent"]["requests"], accounts=manifest["sent"]["accounts"]
    )
    try:
        with LocalStack(folder, fresh=True, secure=secure, say=console.print) as stack:
            _run(stack, manifest, result, console)
    except StackError as error:
        console.print(f"[red bold]the demo cannot run:[/] {error}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; everything was stopped")
        return 130
    html = folder / "demo.html"
    html.write_text(page(result), encoding="utf-8")
    show(result, html, console)
    return 1 if result.differences else 0


def _run(stack: LocalStack, manifest: dict[str, Any], result: DemoResult, console: Console) -> None:
    started = time.monotonic()
    stack.start({name: value for own in SETTINGS.values() for name, value in own.items()})
    result.stages["starting"] = time.monotonic() - started
    with _memory_watched(stack, result), _progress(console) as progress:
        tally, seconds, rate = asyncio.run(run_phases(stack.addresses(), manifest, progress))
    result.stages |= seconds
    result.renewals_per_second = rate
    console.print("comparing with the manifest, replaying and verifying the ledger")
    started = time.monotonic()
    _find(stack, manifest, tally, result)
    result.stages["comparing"] = time.monotonic() - started


def _find(stack: LocalStack, manifest: dict[str, Any], tally: Tally, result: DemoResult) -> None:
    addresses = stack.addresses()
    messages = find_mails(result, stack.mail_folder, tally.notifications)
    messages += find_sms(result, addresses.sms_folder, tally.notifications)
    letters = asyncio.run(dead_letters(addresses))
    result.comparisons += compare_outcomes(
        manifest, tally.counts, letters, messages, tally.orders_by_account()
    )
    find_books(result, addresses, manifest)
    find_timeline(result, addresses, manifest["shown_renewal"])


@contextmanager
def _progress(console: Console) -> Iterator[Any]:
    """Yield what `run_phases` reports to: bars on a terminal, a line per phase elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        tasks: dict[str, Any] = {}

        def report(phase: str, seen: int, expected: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(f"{phase}: events seen", total=expected)
            bars.update(tasks[phase], completed=seen)

        yield report


@contextmanager
def _memory_watched(stack: LocalStack, result: DemoResult) -> Iterator[None]:
    """Sample the resident memory of each process and keep the most that was seen."""
    most: dict[str, int] = {}
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLE_SECONDS):
            for name, child in stack.children.items():
                try:
                    processes = [psutil.Process(child.pid)]
                    if name == "postgres":
                        processes += processes[0].children()
                    used = sum(process.memory_info().rss for process in processes)
                except psutil.NoSuchProcess:
                    continue
                most[name] = max(most.get(name, 0), used)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        result.memory = [Used(name, used) for name, used in most.items()]


def _stop(_signum: int, _frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
