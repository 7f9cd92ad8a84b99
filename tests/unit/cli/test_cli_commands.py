"""The list of commands costs no import of what the commands need, and tells the truth of each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.app import Commands, app, main

HEAVY = {"aiokafka", "asyncpg", "faststream", "pyarrow", "pydantic", "rich", "schemas"}
SLOW = {"adbc_driver_manager", "faststream", "httpx", "opentelemetry", "pyarrow", "structlog"}
NOBODY = "postgresql://nobody:none@127.0.0.1:1/none"


def test_list_of_commands_imports_nothing_that_commands_need() -> None:
    program = (
        "import sys; from services.cli.app import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: print(sorted(sys.modules), file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Event-sourced billing" in run.stdout
    assert {name for name in HEAVY if f"'{name}'" in run.stderr} == set()


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("dlq", {"aiokafka", "faststream", "pyarrow", "schemas.contents"}),
        ("orders", {"aiokafka", "faststream", "pyarrow", "schemas.contents"}),
        ("effects", {"aiokafka", "faststream", "pyarrow", "schemas.contents"}),
        ("contacts", {"aiokafka", "faststream", "pyarrow"}),
        ("quote", {"aiokafka", "asyncpg", "faststream", "pyarrow", "rich", "schemas.contents"}),
        ("shards", {"aiokafka", "faststream", "pyarrow", "schemas.contents", "structlog"}),
        ("sandbox", {*SLOW, "aiokafka", "pydantic_settings", "rich", "schemas.contents"}),
        ("status", {"faststream", "pyarrow", "structlog"}),
        ("publish", {*SLOW, "aiokafka", "asyncpg", "pydantic_settings", "rich"}),
        ("check-records", {*SLOW, "aiokafka", "asyncpg", "pydantic_settings", "schemas.contents"}),
        ("setup", {"faststream", "pyarrow"}),
        ("log", {*SLOW, "aiokafka", "pydantic_settings", "rich.progress", "schemas.contents"}),
        ("ledger", {*SLOW, "aiokafka", "pydantic_settings", "rich.progress"}),
        ("recover", {*SLOW, "aiokafka", "pydantic_settings", "schemas.contents"}),
        ("archive", {*SLOW, "aiokafka", "pydantic_settings", "rich", "schemas.contents"}),
    ],
)
def test_command_imports_what_it_needs_only(name: str, without: set[str]) -> None:
    program = (
        "import sys; from services.cli.app import Commands\n"
        f"Commands.load({name!r}); print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert without & set(run.stdout.split()) == set()


@pytest.mark.parametrize(
    ("command", "without"),
    [
        ("ledger balances", {"aiokafka", "pydantic_settings", "rich.progress"}),
        ("ledger statement acct-1", {"aiokafka", "pydantic_settings", "rich.progress"}),
        ("ledger replay", {"aiokafka", "pydantic_settings", "rich.progress"}),
        ("ledger verify", {"aiokafka", "pydantic_settings", "rich.progress"}),
        ("log verify", {"aiokafka", "rich.progress", "schemas.contents"}),
        ("log heads", {"aiokafka", "rich.progress", "schemas.contents"}),
        ("recover republish orders", {"aiokafka", "pydantic_settings", "schemas.contents"}),
        ("recover claims", {"aiokafka", "pydantic_settings", "schemas.contents"}),
        ("recover reread orders billing.requests.v1", {"schemas.contents"}),
        ("recover adopt orders", {"schemas.contents", "services.orders.restoration"}),
        (
            "archive events --service orders --before 2026-11-20 --to {folder}",
            {"aiokafka", "rich", "schemas.contents", "services.orders.order.state"},
        ),
        (
            "archive closed --service ledger --before 2026-11-20 --to {folder}",
            {"aiokafka", "rich", "schemas.contents", "services.orders.order.state"},
        ),
        ("sandbox pay rnw-1", {"aiokafka", "pydantic_settings", "rich", "schemas.contents"}),
        ("sandbox refund rnw-1", {"aiokafka", "pydantic_settings", "rich", "schemas.contents"}),
    ],
)
def test_command_imports_what_it_needs_to_connect_only(
    command: str, without: set[str], tmp_path: Path
) -> None:
    program = (
        "import sys; from services.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as ended: print(ended.code, *sys.modules)"
    )
    services = ("ORDERS", "LEDGER", "NOTIFIER")
    run = subprocess.run(
        [sys.executable, "-c", program, *command.format(folder=tmp_path).split()],
        env={
            **os.environ,
            **{f"PERENNIAL_{each}_POSTGRES_DSN": NOBODY for each in services},
            "PERENNIAL_ADMIN_DSN": NOBODY,
            "PERENNIAL_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    status, *imported = run.stdout.split()
    assert status == "3", run.stderr
    assert (SLOW | without) & set(imported) == set()


@pytest.mark.parametrize("name", Commands.entries)
def test_command_is_what_the_list_says(name: str) -> None:
    command = Commands.load(name)
    assert command.name == name
    assert " ".join(command.help.split()).startswith(Commands.entries[name][0].removesuffix("."))


@pytest.mark.parametrize("name", Commands.entries)
def test_help_of_each_command_is_printed(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"perennial {name}" in result.output
    assert "--install-completion" not in result.output


def test_unknown_command_is_refused_with_the_usage() -> None:
    result = CliRunner().invoke(app, ["ledgr"])
    assert result.exit_code == 2
    assert "No such command 'ledgr'" in result.output


@pytest.mark.parametrize("argument", ["x\udcff", "\ud800"])
def test_argument_that_is_no_utf8_is_refused_before_it_is_sent_anywhere(
    argument: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["perennial", "orders", "show", argument])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ("dlq", "show", "999999999999999999999"),
        *(
            ("recover", "republish", "orders", "--from-position", text)
            for text in ("99999999999999999999", "0", "0:0", "-1:1", "0:", ":1", "0:1:2", "x", "٣")
        ),
    ],
)
def test_number_that_no_row_can_have_is_a_usage_error(command: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, command).exit_code == 2
