"""`python -m deploy.local up|serve|down`: the stack that stays until it is stopped."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, NoReturn

from deploy.local.clients import SHELL_ROLES, write_clients
from deploy.local.errors import StackError
from deploy.local.folder import STATE, holder, write_private
from deploy.local.processes import ROOT
from deploy.local.services import SERVICES, SMS_SANDBOX
from deploy.local.stack import LocalStack
from schemas.access import OPERATOR

PLAIN_FOLDER: Final = STATE / "up"
SECURE_FOLDER: Final = STATE / "up-secure"
STACK_FILE: Final = STATE / "stack.json"
_RESTART_SECONDS: Final = 2
# A service that halted or cannot use its configuration waits for a person: services.runtime.app.start.
_NOT_RESTARTED: Final = frozenset({70, 78})
_DOWN_SECONDS: Final = 90

_SETTINGS: Final = {f"PERENNIAL_NOTIFIER_{name}": each for name, each in SMS_SANDBOX.items()}
"""What the services are started with beside addresses and secrets."""


def up(folder: Path, *, virtual_clock: bool) -> None:
    """Start the stack in the background and say what to try next.

    Raises:
        StackError: it does not start, or the other profile's stack is up.
    """
    running = _running()
    if running not in {None, folder}:
        message = "a stack of the other profile is up in this checkout: `make down` first"
        raise StackError(message)
    if running is None:
        _start_in_background(folder, virtual_clock=virtual_clock)
    elif not STACK_FILE.is_file():
        message = "a stack is being started or stopped right now: try again in a moment"
        raise StackError(message)
    if virtual_clock and json.loads(STACK_FILE.read_text())["clock_file"] is None:
        message = "the stack that is up goes by real time: `make down` first"
        raise StackError(message)
    _what_next(json.loads(STACK_FILE.read_text()))


def down() -> None:
    """Stop the stack that `up` started, of either profile."""
    folder = _running()
    if folder is None or not (pid := holder(folder)):
        print("no stack is up in this checkout")
        return
    os.kill(pid, signal.SIGTERM)
    ends_at = time.monotonic() + _DOWN_SECONDS
    while holder(folder) is not None:
        if time.monotonic() > ends_at:
            message = f"process {pid} has not stopped within {_DOWN_SECONDS} s: see {folder}/logs"
            raise StackError(message)
        time.sleep(0.2)
    print("stopped; the data is kept for the next `make up` (`make clean` removes it)")


def serve(folder: Path, *, virtual_clock: bool) -> None:
    """Run the stack until a signal, restarting what ends by itself."""
    signal.signal(signal.SIGTERM, _stop)
    STACK_FILE.unlink(missing_ok=True)
    secure = folder == SECURE_FOLDER
    with LocalStack(
        folder,
        secure=secure,
        virtual_clock=virtual_clock,
        say=lambda text: print(text, flush=True),
    ) as stack:
        try:
            stack.start(_SETTINGS)
            write_private(STACK_FILE, json.dumps(_description(stack), indent=2) + "\n")
            _look_after(stack)
        finally:
            STACK_FILE.unlink(missing_ok=True)


def _running() -> Path | None:
    """Return the folder whose stack is up, or being started or stopped."""
    return next((f for f in (PLAIN_FOLDER, SECURE_FOLDER) if holder(f) is not None), None)


def _look_after(stack: LocalStack) -> NoReturn:
    given_up: set[str] = set()
    restart = {"kafka": stack.broker.start, "postgres": stack.postgres.start}
    restart["smtp"] = stack.start_mail_sink
    while True:
        time.sleep(_RESTART_SECONDS)
        for name, child in stack.children.items():
            code = child.exit_code
            if code is None or name in given_up:
                continue
            if name in SERVICES and code in _NOT_RESTARTED:
                given_up.add(name)
                print(f"{name} ended with {code} and waits for you: see {child.log}", flush=True)
                continue
            print(f"{name} ended with {code}: starting it again", flush=True)
            restart.get(name, lambda service=name: stack.start_service(service, _SETTINGS))()


def _description(stack: LocalStack) -> dict[str, object]:
    addresses = stack.addresses()
    return {
        "bootstrap_servers": addresses.bootstrap_servers,
        "kafka_login": dict(addresses.kafka_logins.get(OPERATOR, {})),
        "clients": {role: str(file) for role, file in write_clients(stack).items()},
        "postgres": addresses.postgres,
        "http": addresses.http,
        "mail_folder": str(stack.mail_folder),
        "sms_folder": str(addresses.sms_folder),
        "event_keys_file": str(stack.event_keys_file),
        "anchor_keys_file": str(stack.anchor_keys_file),
        "heads_folder": str(stack.heads_folder),
        "sandbox_folder": str(addresses.sandbox_folder),
        "log_folder": str(stack.folder / "logs"),
        "clock_file": str(stack.clock_file) if stack.clock_file else None,
        "process": os.getpid(),
    }


def _start_in_background(folder: Path, *, virtual_clock: bool) -> None:
    log = folder / "logs" / "stack.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    STACK_FILE.unlink(missing_ok=True)
    flags = ["--secure"] if folder == SECURE_FOLDER else []
    flags += ["--virtual-clock"] if virtual_clock else []
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "serve", *flags],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        _show_until_ready(server, log)
    except BaseException:
        server.terminate()
        server.wait(_DOWN_SECONDS)
        raise


def _show_until_ready(server: subprocess.Popen[bytes], log: Path) -> None:
    with log.open() as lines:
        while True:
            for line in lines:
                print(f"  {line}", end="", flush=True)
            if server.poll() is not None:
                message = f"the stack did not start: see above, and {log.parent}"
                raise StackError(message)
            if STACK_FILE.is_file():
                return
            time.sleep(0.1)


def _what_next(stack: dict[str, Any]) -> None:
    clients: dict[str, str] = stack["clients"]
    how = ", TLS and a login of everybody: the commands log in as operator" if clients else ""
    print(f"""
Perennial is up.
  Kafka      {stack["bootstrap_servers"]}{how}
  Mail       {stack["mail_folder"]}
  SMS        {stack["sms_folder"]}
  Logs       {stack["log_folder"]}
  All addresses, for programs: {STACK_FILE}

Try next:
  .venv/bin/perennial publish deploy/examples/one-renewal.jsonl --source /upstream/shop
  .venv/bin/perennial orders show rnw-example-1
  .venv/bin/perennial ledger balances
  docs/PUBLISHING.md shows how to publish with kcat and Python; docs/SANDBOX.md what to test with
  make down""")
    if stack["clock_file"]:
        print("\nIts clock is virtual: .venv/bin/perennial clock advance 31d")
    if clients:
        print("\nTo be another user of the broker, in a shell of its own:")
        for role, file in clients.items():
            print(f"  set -a; . {file}; set +a    # {SHELL_ROLES[role]}")


def _stop(_signum: int, _frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("command", choices=["up", "serve", "down"])
    parser.add_argument("--secure", action="store_true", help="TLS, logins and access lists")
    parser.add_argument("--virtual-clock", action="store_true", help="time that can be moved on")
    words = parser.parse_args()
    folder = SECURE_FOLDER if words.secure else PLAIN_FOLDER
    try:
        match words.command:
            case "up":
                up(folder, virtual_clock=words.virtual_clock)
            case "serve":
                serve(folder, virtual_clock=words.virtual_clock)
            case _:
                down()
    except StackError as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
