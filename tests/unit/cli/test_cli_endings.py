"""Whatever is wrong with arguments, files, streams or surroundings, a command ends with a sentence."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from services.cli.app import app, main
from services.cli.ending import ended
from services.runtime.errors import ConfigurationError, Transient

GOOD = {
    "type": "TopUpRequested",
    "data": {
        "account_id": "acct-7",
        "topup_id": "top-7",
        "amount": {"amount_minor": 5000, "currency": "USD"},
        "payment": {"method": "card", "mode": "charge", "currency": "USD", "token": "tok_ok"},
        "requested_at": "2026-11-20T08:00:00Z",
    },
}
CSV = (
    "type,account_id,topup_id,amount.amount_minor,amount.currency,payment.method,payment.mode,"
    "payment.currency,payment.token,requested_at\n"
    "TopUpRequested,acct-7,top-7,5000,USD,card,charge,USD,tok_ok,2026-11-20T08:00:00Z\n"
)
PERENNIAL = (sys.executable, "-m", "services.cli")
NOT_PERMITTED = "/srv/stack.json cannot be used (Permission denied): check name and permissions"
CHECKOUT = Path(__file__).parents[3]


def run(command: str, *, around: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell that says the exit status of the command itself on stderr."""
    line = around.format(f'({" ".join(PERENNIAL)} {command}; echo "status $?" >&2)')
    return subprocess.run(
        ["/bin/bash", "-c", line],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str]:
    """Run `perennial` in this process; return its exit status and all that it said."""
    monkeypatch.setattr(sys, "argv", ["perennial", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out + captured.err


@pytest.mark.parametrize("command", ["catalogue", "catalogue --json", "check-records {many}"])
def test_reader_that_leaves_ends_a_command_quietly(command: str, tmp_path: Path) -> None:
    many = tmp_path / "many.jsonl"
    many.write_text((json.dumps(GOOD) + "\n") * 2_000)
    ended = run(command.format(many=many), around="{} | head -c 1")
    assert ended.stderr == "status 141\n"


@pytest.mark.parametrize("command", ["catalogue", "--help", "check-records {good}"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that Linux alone has")
def test_output_that_cannot_be_written_is_told(command: str, tmp_path: Path) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(GOOD))
    ended = run(command.format(good=good), around="{} > /dev/full")
    assert ended.stderr == (
        "perennial: the output cannot be written (No space left on device): "
        "what was asked for may be done\nstatus 74\n"
    )


@pytest.mark.parametrize(
    ("command", "closed", "status"),
    [
        ("catalogue", ">&-", 0),
        ("check-records -", "<&-", 1),
        ("publish nothing.jsonl", "2>&-", 2),
        ("publish nothing.jsonl", "<&- >&-", 2),
    ],
)
def test_closed_stream_leads_nowhere(command: str, closed: str, status: int) -> None:
    line = f"{' '.join(PERENNIAL)} {command} {closed}"
    ended = subprocess.run(
        ["/bin/bash", "-c", line],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == status
    assert "Traceback" not in ended.stderr


HEEDING_SIGINT = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""Starts a program that heeds SIGINT, though a shell that runs the tests behind it ignores it."""


def test_interruption_ends_with_130() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HEEDING_SIGINT, *PERENNIAL, "check-records", "-"],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(GOOD).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()  # it has told of this one, and waits for the next
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.decode()) == (130, "perennial: interrupted\n")


def test_broker_that_does_not_answer_is_told_in_one_line() -> None:
    command = "check-records billing.requests.v1 --bootstrap-servers 127.0.0.1:1"
    told = run(command, around="{}").stderr.splitlines()
    assert [line.partition(" (")[0] for line in told] == [
        "perennial: cannot reach what is needed: Kafka",
        "status 3",
    ]


def test_bare_environment_is_enough() -> None:
    ended = subprocess.run(
        [*PERENNIAL, "catalogue"], cwd=CHECKOUT, env={}, capture_output=True, check=True, timeout=60
    )
    assert b"jp-month-basic" in ended.stdout


@pytest.mark.parametrize("columns", ["1", "20", "80", ""])
def test_no_cell_of_a_table_is_broken_or_left_out_however_narrow_the_terminal(columns: str) -> None:
    ended = CliRunner().invoke(app, ["catalogue"], env={"COLUMNS": columns})
    rows = [line.split() for line in ended.output.splitlines()]
    assert ["plan", "version", "days", "CNY", "EUR", "HKD", "JPY", "USD"] in rows
    assert any(row[:1] == ["gl-year-deluxe"] and len(row) == 8 for row in rows)


def test_text_that_looks_like_markup_is_printed_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.table import Table  # noqa: PLC0415 - for this test alone

    from services.cli.tables import print_table  # noqa: PLC0415

    monkeypatch.setenv("COLUMNS", "20")
    table = Table("source [/red]", title="[/] of :smile:")
    table.add_row("/upstream/[bold]x")
    print_table(table)
    printed = capsys.readouterr().out
    assert "source [/red]" in printed
    assert "[/] of :smile:" in printed
    assert "/upstream/[bold]x" in printed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("quote", "x", "--currency", "USD", "--quantity", "0"), "must be 1 or more"),
        (("quote", "x", "--currency", "USD", "--quantity", "9" * 30), "must be 24 or less"),
        (("quote", "x", "--currency", "USD", "--quantity", "1,5"), "must be a whole number"),
        (("dlq", "show", "x"), "must be a whole number"),
        (("archive", "closed", "-s", "orders", "--before", "x", "--to", "/"), "write a day as"),
        (("publish", "x", "--source", "shop"), "--source must be /upstream/<name>"),
        (("check-records", "x", "--source", "shop"), "--source must be /upstream/<name>"),
        (("publish", "x", "--timeout-seconds", "soon"), "must be a whole number"),
    ],
)
def test_wrong_option_is_told_in_our_words(
    arguments: tuple[str, ...],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, text = said(capsys, monkeypatch, *arguments)
    assert (status, told in text) == (2, True), text
    assert "Input should" not in text


@pytest.mark.parametrize(
    "servers",
    [
        "127.0.0.1:99999",
        "127.0.0.1:0",
        "http://127.0.0.1:9092",
        "a b",
        "a,,b",
        "::1",
        "kafka:",
        "é:-1",
    ],
)
def test_broker_that_is_no_address_is_a_usage_error(
    servers: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "good.jsonl"
    file.write_text(json.dumps(GOOD))
    status, text = said(capsys, monkeypatch, "publish", str(file), "--bootstrap-servers", servers)
    assert (status, "write host:port" in text) == (2, True), text


@pytest.mark.parametrize(
    "dsn", ["x", "http://x", "postgresql://u:p@[::x/x", "postgresql://u:p@127.0.0.1:99999/x"]
)
def test_dsn_that_is_none_is_a_usage_error(
    dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PERENNIAL_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("PERENNIAL_ORDERS_POSTGRES_DSN", dsn)
    status, text = said(capsys, monkeypatch, "orders", "show", "rnw-1")
    assert (status, "write it as postgresql://" in text) == (2, True), text


@pytest.mark.parametrize(
    "content", [b"", b"not json", b"[]", b"\xff\xfe", b'{"postgres": []}', b"[" * 100_000]
)
def test_broken_file_of_the_stack_is_told(
    content: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "stack.json").write_bytes(content)
    monkeypatch.setenv("PERENNIAL_STATE_FOLDER", str(tmp_path))
    monkeypatch.delenv("PERENNIAL_BOOTSTRAP_SERVERS", raising=False)
    status, text = said(capsys, monkeypatch, "orders", "show", "rnw-1")
    assert (status, "is not what `make up` wrote" in text) == (2, True), text


def test_folder_that_is_gone_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.delenv("PERENNIAL_BOOTSTRAP_SERVERS", raising=False)
    gone.rmdir()
    status, text = said(capsys, monkeypatch, "orders", "show", "rnw-1")
    monkeypatch.chdir(tmp_path)
    assert (status, "this folder is not there any more" in text) == (2, True), text


def test_receipt_never_replaces_the_file_that_is_published(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "good.jsonl"
    file.write_text(json.dumps(GOOD))
    monkeypatch.setenv("PERENNIAL_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    (tmp_path / "link").hardlink_to(file)
    for receipt in (file, tmp_path / "link"):
        status, text = said(capsys, monkeypatch, "publish", str(file), "--receipt", str(receipt))
        assert (status, "is the file to publish" in text) == (2, True), text
    assert json.loads(file.read_text()) == GOOD


FILES = {
    "empty.jsonl": (b"", "holds no record"),
    "blank.jsonl": (b" \n\n", "holds no record"),
    "empty.csv": (b"", "holds no record"),
    "blank.csv": (b"\xef\xbb\xbf\r\n", "holds no record"),
    "header.csv": (CSV.split("\n", maxsplit=1)[0].encode(), "holds no record"),
    "good.csv": (CSV.encode(), "1 accepted"),
    "crlf.csv": (b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode(), "1 accepted"),
    "GOOD.CSV": (CSV.encode(), "1 accepted"),
    "crlf.jsonl": (b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n", "1 accepted"),
    "utf16.csv": (CSV.encode("utf-16"), "is not UTF-8"),
    "utf16le.csv": (CSV.encode("utf-16-le"), "is not UTF-8"),
    "semicolons.csv": (CSV.replace(",", ";").encode(), "separate them by commas"),
    "tabs.csv": (CSV.replace(",", "\t").encode(), "separate them by commas"),
    "long.csv": (CSV.replace("acct-7", "a" * 200_000).encode(), "close its quote"),
    "nul.csv": (CSV.replace("acct-7", "a\0").encode(), "letters, digits and . _ : - only"),
    "half.csv": (CSV.encode()[:-30], "cells, but the header has"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_wrong_with_a_file_is_told_and_ends_with_1(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    content, told = FILES[name]
    (tmp_path / name).write_bytes(content)
    expected = 0 if told == "1 accepted" else 1
    status, text = said(capsys, monkeypatch, "check-records", str(tmp_path / name))
    assert (status, told in text) == (expected, True), text
    status, text = said(capsys, monkeypatch, "publish", str(tmp_path / name), "--dry-run")
    as_published = {"holds no record": "holds no request", "1 accepted": "1 row, 0 of them bad"}
    assert (status, as_published.get(told, told) in text) == (expected, True), text


def test_type_of_rows_is_said_once_for_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bare = tmp_path / "bare.jsonl"
    bare.write_text(json.dumps({"data": GOOD["data"]}))
    assert said(capsys, monkeypatch, "check-records", str(bare))[0] == 1
    typed = ("check-records", str(bare), "--type", "TopUpRequested")
    assert said(capsys, monkeypatch, *typed)[0] == 0


@pytest.mark.parametrize("name", ["", ".", "nothing.jsonl", "nothing.csv", "x" * 300])
@pytest.mark.parametrize("command", ["publish", "check-records"])
def test_path_that_is_no_file_is_a_usage_error(
    command: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = said(capsys, monkeypatch, command, name)
    assert (status, "cannot be read" in text) == (2, True), text


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (PermissionError(13, "Permission denied", "/srv/stack.json"), 2, NOT_PERMITTED),
        (ConnectionRefusedError(111, "refused"), 3, "cannot reach what is needed: "),
        (BrokenPipeError(32, "Broken pipe"), 3, "cannot reach what is needed: "),
        (Transient("the database of orders"), 3, "cannot reach what is needed: the database"),
        (ConfigurationError("set X"), 2, "set X"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (typer.Abort(), 130, "interrupted"),
        (typer.Exit(5), 5, ""),
    ],
)
def test_error_has_its_exit_status_and_its_sentence(
    error: BaseException, status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_into_it() -> None:
        raise error

    assert ended(run_into_it) == status
    assert capsys.readouterr().err.startswith(f"perennial: {told}" if told else "")
