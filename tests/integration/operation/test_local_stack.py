"""The stack leaves nothing running, whatever happens to the process that started it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import asyncpg
import psutil
import pytest

from deploy.local.errors import StackError
from deploy.local.folder import StackFolder, holder
from deploy.local.guard import read_started
from deploy.local.ports import choose_from_part, choose_ports, is_open
from deploy.local.processes import ROOT, Processes
from deploy.local.servers.kafka import ARTIFACTS, fetch_jars
from deploy.local.stack import LocalStack

HOLDS_A_STACK = """
import signal, sys, time
from pathlib import Path
from deploy.local.stack import LocalStack
# A test run in the background ignores the signal, and so would its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
with LocalStack(Path(sys.argv[1])) as stack:
    stack.postgres.start()
    stack.start_mail_sink()
    print("up", flush=True)
    time.sleep(120)
"""

A_LONG_RECOVERY = """
CREATE TABLE much AS SELECT n, repeat('x', 200) AS text FROM generate_series(1, 100000) AS n;
UPDATE much SET n = n + 1;
"""

IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("on", flush=True)
time.sleep(99)
"""


def started_in(folder: Path) -> list[psutil.Process]:
    with (folder / "processes").open() as lines:
        return [p for item in read_started(lines) if (p := item.process())]


@pytest.fixture
def holder_process(tmp_path: Path) -> subprocess.Popen[str]:
    # As root, the database server runs as another user: the folder above must let it through.
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS_A_STACK, str(tmp_path / "stack")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_parent_goes(
    holder_process: subprocess.Popen[str], tmp_path: Path, signum: int
) -> None:
    children = started_in(tmp_path / "stack")
    assert len(children) == 2

    holder_process.send_signal(signum)
    holder_process.communicate(timeout=60)

    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_nothing_is_left_when_the_whole_process_group_is_killed(
    holder_process: subprocess.Popen[str], tmp_path: Path
) -> None:
    children = started_in(tmp_path / "stack")

    os.killpg(holder_process.pid, signal.SIGKILL)
    holder_process.communicate(timeout=60)

    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_folder_in_use_is_refused_with_what_to_do(
    holder_process: subprocess.Popen[str], tmp_path: Path
) -> None:
    folder = tmp_path / "stack"
    assert holder(folder) == holder_process.pid
    with pytest.raises(StackError, match=f"process {holder_process.pid} runs a stack.*make down"):
        LocalStack(folder)
    holder_process.send_signal(signal.SIGINT)
    holder_process.communicate(timeout=60)
    assert holder(folder) is None


def test_state_left_by_a_crash_is_recovered(tmp_path: Path) -> None:
    with LocalStack(tmp_path / "stack") as stack:
        stack.postgres.start()
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    created = psutil.Process(orphan.pid).create_time()
    (tmp_path / "stack" / "processes").write_text(
        f'{{"pid": {orphan.pid}, "created": {created}, "stop_signal": 15}}\n'
        f'{{"pid": {os.getpid()}, "created": 1.0, "stop_signal": 9}}\n'  # a number used again
        '{"pid": 99'
    )
    said: list[str] = []

    with LocalStack(tmp_path / "stack", say=said.append) as stack:
        assert not psutil.pid_exists(orphan.pid)
        stack.postgres.start()

    orphan.wait(0)
    assert said[0] == "left running by a crash, now ended: 1"


def test_child_that_ends_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    try:
        child = processes.start("broken", [sys.executable, "-c", "raise SystemExit('no disk')"])
        with pytest.raises(StackError, match=r"broken ended with status 1.*\n.*no disk"):
            child.wait_for_port(1)
    finally:
        processes.close()


def test_stubborn_child_is_killed(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    child = processes.start("stubborn", [sys.executable, "-c", IGNORES_SIGTERM])
    while "on" not in child.log_tail():
        time.sleep(0.01)
    assert child.stop(0.2) == -signal.SIGKILL
    processes.close()


def test_artifact_with_another_checksum_is_refused_and_removed(
    tmp_path: Path,
) -> None:
    first = ARTIFACTS.read_text().splitlines()[0]
    pinned = tmp_path / "pinned.txt"
    pinned.write_text(first[:-1] + ("0" if first[-1] != "0" else "1") + "\n")

    with pytest.raises(StackError, match=r"lz4-java.* and not the pinned one"):
        fetch_jars(tmp_path / "cache", pinned)

    assert list((tmp_path / "cache").rglob("*.jar")) == []


def test_artifacts_are_fetched_by_one_process_at_a_time(tmp_path: Path) -> None:
    pinned = tmp_path / "pinned.txt"
    pinned.touch()
    with (tmp_path / "lock").open("a") as held, ThreadPoolExecutor(1) as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        fetching = pool.submit(fetch_jars, tmp_path, pinned)
        assert wait([fetching], 0.3).not_done
        fcntl.flock(held, fcntl.LOCK_UN)
        assert fetching.result(30) == []


def test_ports_stay_the_same_while_they_are_free(tmp_path: Path) -> None:
    first = choose_ports(tmp_path / "ports", ["kafka", "postgres"])
    assert choose_ports(tmp_path / "ports", ["kafka", "postgres"]) == first
    assert len(set(first.values())) == 2
    assert not is_open(first["kafka"])


def test_ports_of_two_choices_differ_before_anything_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.ports._HIGHEST", 20_300)
    names = [str(number) for number in range(60)]
    first, second = (choose_ports(tmp_path / each, names) for each in ("first", "second"))
    assert len({*first.values(), *second.values()}) == 120


def test_processes_choose_from_parts_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.ports._HIGHEST", 20_300)
    monkeypatch.setattr("deploy.local.ports._CHOSEN", set())
    monkeypatch.setattr("deploy.local.ports._part", (0, 1))
    for part in range(3):
        choose_from_part(part, 3)
        chosen = choose_ports(tmp_path / f"{part}", [str(number) for number in range(40)])
        assert set(chosen.values()) <= set(range(20_000 + 100 * part, 20_100 + 100 * part))


def test_passwords_are_for_the_owner_only(tmp_path: Path) -> None:
    folder = StackFolder(tmp_path / "stack")
    assert folder.passwords(("orders",)) == folder.passwords(("orders",))
    assert (tmp_path / "stack" / "passwords.json").stat().st_mode & 0o777 == 0o600
    folder.release()


def test_database_that_was_killed_accepts_when_it_is_started_again(tmp_path: Path) -> None:
    async def fill(dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(A_LONG_RECOVERY)
        finally:
            await connection.close()

    async def greet(dsn: str) -> None:
        await (await asyncpg.connect(dsn)).close()

    with LocalStack(tmp_path / "stack") as stack:
        stack.postgres.start()
        asyncio.run(fill(stack.admin_dsn))
        stack.postgres.child.kill()
        started_again(stack)
        asyncio.run(greet(stack.admin_dsn))


def started_again(stack: LocalStack) -> None:
    """Start the server; the children of a killed one may hold its memory for a moment."""
    ends_at = time.monotonic() + 30
    while True:
        try:
            return stack.postgres.start()
        except StackError:
            if time.monotonic() > ends_at:
                raise
