"""`python -m deploy.local up|down|serve`: the stack that stays until it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

from deploy.local.errors import StackError
from deploy.local.folder import STATE, holder, write_private
from deploy.local.processes import ROOT
from deploy.local.services import SERVICES
from deploy.local.stack import LocalStack

FOLDER: Final = STATE / "up"
STACK_FILE: Final = STATE / "stack.json"
_RESTART_SECONDS: Final = 2
# A service that halted or cannot use its configuration waits for a person (see services.runtime.start).
_NOT_RESTARTED: Final = frozenset({70, 78})
_DOWN_SECONDS: Final = 90


def up() -> None:
    """Start the stack in the background and say what to try next."""
    if holder(FOLDER) is None:
        _start_in_background()
    elif not STACK_FILE.is_file():
        message = "a stack is being started or stopped right now: try again in a moment"
        raise StackError(message)
    _what_next(json.loads(STACK_FILE.read_text()))


def down() -> None:
    """Stop the stack that `up` started."""
    pid = holder(FOLDER)
    if not pid:
        print("no stack is up in this checkout")
        return
    os.kill(pid, signal.SIGTERM)
    ends_at = time.monotonic() + _DOWN_SECONDS
    while holder(FOLDER) is not None:
        if time.monotonic() > ends_at:
            message = f"process {pid} has not stopped within {_DOWN_SECONDS} s: see {FOLDER}/logs"
            raise StackError(message)
        time.sleep(0.2)
    print("stopped; the data is kept for the next `make up` (`make clean` removes it)")


def serve() -> None:
    """Run the stack until a signal, restarting what ends by itself."""
    signal.signal(signal.SIGTERM, _stop)
    STACK_FILE.unlink(missing_ok=True)
    with LocalStack(FOLDER, say=lambda text: print(text, flush=True)) as stack:
        try:
            stack.start()
            write_private(STACK_FILE, json.dumps(_description(stack), indent=2) + "\n")
            _look_after(stack)
        finally:
            STACK_FILE.unlink(missing_ok=True)


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
            restart.get(name, lambda service=name: stack.start_service(service))()


def _description(stack: LocalStack) -> dict[str, object]:
    addresses = stack.addresses()
    return {
        "bootstrap_servers": addresses.bootstrap_servers,
        "postgres": addresses.postgres,
        "http": addresses.http,
        "mail_folder": str(stack.mail_folder),
        "sandbox_folder": str(addresses.sandbox_folder),
        "log_folder": str(stack.folder / "logs"),
        "process": os.getpid(),
    }


def _start_in_background() -> None:
    log = FOLDER / "logs" / "stack.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    STACK_FILE.unlink(missing_ok=True)
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "serve"],
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


def _what_next(stack: dict[str, object]) -> None:
    print(f"""
Perennial is up.
  Kafka      {stack["bootstrap_servers"]}
  Mail       {stack["mail_folder"]}
  Logs       {stack["log_folder"]}
  All addresses, for programs: {STACK_FILE}

Try next:
  .venv/bin/perennial publish deploy/examples/one-renewal.jsonl --source /upstream/shop
  .venv/bin/perennial orders show rnw-example-1
  .venv/bin/perennial ledger balances
  docs/PUBLISHING.md shows how to publish with kcat and Python; docs/SANDBOX.md what to test with
  make down""")


def _stop(_signum: int, _frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


COMMANDS: Final = {"up": up, "down": down, "serve": serve}


def main() -> None:
    """Run one command."""
    command = COMMANDS.get(sys.argv[1] if len(sys.argv) == 2 else "")  # noqa: PLR2004 - one word
    if command is None:
        sys.exit(f"usage: python -m deploy.local {'|'.join(COMMANDS)}")
    try:
        command()
    except StackError as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
