"""What `perennial publish` says of a file before anything is sent."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from schemas import EVENTS
from schemas.envelope import Event
from services.cli.requests.publish import ExitCode, publish
from services.upstream.files import CheckedFile, read_file
from services.upstream.requests import checked_request

SOURCE = "/upstream/shop"
RENEWAL: dict[str, Any] = {
    "account_id": "acct-7",
    "renewal_id": "rnw-7",
    "iccid": "8985203000123456784",
    "plan_code": "jp-month-basic",
    "payment": {"method": "card", "mode": "charge", "currency": "USD", "token": "tok_ok"},
    "requested_at": "2026-11-20T08:00:00Z",
}


def write(path: Path, *rows: object) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def short(**changes: Any) -> dict[str, Any]:
    return {"type": "RenewalRequested", "data": RENEWAL | changes}


def check(path: Path) -> CheckedFile:
    return read_file(path, source=SOURCE, event_type=None)


def told(checked: CheckedFile) -> list[tuple[int, str, str]]:
    return [
        (line, problem.field, problem.message)
        for line, problems in checked.problems.items()
        for problem in problems
    ]


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(publish)
    return app


def test_short_row_becomes_a_complete_event(tmp_path: Path) -> None:
    checked = check(write(tmp_path / "a.jsonl", short()))

    request = checked.requests[0]
    headers = dict(request.headers)
    assert not checked.problems
    assert json.loads(request.body)["renewal_id"] == "rnw-7"
    assert headers["ce_type"] == b"billing.RenewalRequested.v1"
    assert headers["ce_source"] == SOURCE.encode()
    assert headers["ce_partitionkey"] == b"acct-7"
    assert headers["ce_correlationid"] == b"rnw-7"
    assert headers["ce_time"] == b"2026-11-20T08:00:00.000000Z"


def test_structured_row_keeps_its_own_attributes(tmp_path: Path) -> None:
    row = {
        "specversion": "1.0",
        "id": "0f6c68e5-3c18-59cf-bfec-13cd1794592e",
        "source": "/upstream/app",
        "type": "billing.RenewalRequested.v1",
        "time": "2026-11-20T09:00:00+01:00",
        "data": RENEWAL,
    }

    envelope = check(write(tmp_path / "a.jsonl", row)).requests[0].envelope

    assert (str(envelope.id), envelope.source) == (row["id"], "/upstream/app")


def test_a_confirmation_goes_to_its_own_topic_under_a_source_of_its_own(tmp_path: Path) -> None:
    data = {
        "account_id": "acct-7",
        "renewal_id": "rnw-7",
        "method": "card",
        "gateway": "acme",
        "gateway_txn_id": "txn-7",
        "amount": {"amount_minor": 100, "currency": "USD"},
        "confirmed_at": "2026-11-20T08:00:00Z",
    }
    rows = ({"type": "PaymentConfirmed", "data": data}, short())
    path = write(tmp_path / "a.jsonl", *rows)

    checked = read_file(path, source=None, event_type=None)
    assert [(one.topic.name, one.envelope.source) for one in checked.requests] == [
        ("billing.confirmations.v1", "/gateway/cli"),
        ("billing.requests.v1", "/upstream/cli"),
    ]
    assert [(line, field) for line, field, _ in told(check(path))] == [(1, "source")]
    assert "must be /gateway/<name> for PaymentConfirmed" in told(check(path))[0][2]


def test_same_file_gives_the_same_ids_again_and_equal_rows_differ(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", short(), short())

    first, second = check(path), check(path)

    assert [one.envelope.id for one in first.requests] == [
        one.envelope.id for one in second.requests
    ]
    assert first.requests[0].envelope.id != first.requests[1].envelope.id


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ("{", "", "is not JSON"),
        ('{"type": "RenewalRequested", "data": {"quantity": NaN}}', "", "is not JSON"),
        ("[]", "", "is not a JSON object"),
        ({"type": "PlanActivated", "data": {}}, "type", "must be one of RenewalRequested"),
        ({"type": "RenewalRequested"}, "data", "must be an object"),
        (short() | {"subject": "x"}, "subject", "is not known here"),
        (short(quantity="2"), "data.quantity", "whole number"),
        (short(plan_cod="x"), "data.plan_cod", "did you mean plan_code?"),
        (short(account_id=""), "data.account_id", "must not be empty"),
        (short() | {"id": "7"}, "id", "36 characters"),
        (short() | {"source": "/billing/orders"}, "source", "must be /upstream/<name>"),
        (short() | {"specversion": "0.3"}, "specversion", "must be 1.0"),
        (short() | {"specversion": "1.0", "partitionkey": "b"}, "partitionkey", "account_id"),
        (
            short(payment=RENEWAL["payment"] | {"token": None}),
            "data.payment.token",
            "leave the field out",
        ),
        ('{"type": "RenewalRequested", "type": "TopUpRequested"}', "", "names a key twice"),
    ],
)
def test_bad_row_is_told_by_line_and_field(
    tmp_path: Path, row: object, field: str, message: str
) -> None:
    checked = check(write(tmp_path / "a.jsonl", short(renewal_id="rnw-1"), "", row))

    assert [one.line for one in checked.requests] == [1]
    assert any(
        line == 3 and where == field and message in what for line, where, what in told(checked)
    ), told(checked)


def test_all_problems_of_a_row_are_told_at_once(tmp_path: Path) -> None:
    row = short(iccid="1", plan_code=None)
    del row["data"]["account_id"]

    fields = {field for _, field, _ in told(check(write(tmp_path / "a.jsonl", row)))}

    assert fields == {"data.account_id", "data.iccid", "data.plan_code"}


def test_id_used_twice_in_a_file_is_refused(tmp_path: Path) -> None:
    row = short() | {"id": "0f6c68e5-3c18-59cf-bfec-13cd1794592e"}

    assert told(check(write(tmp_path / "a.jsonl", row, row))) == [
        (2, "id", "was used on line 1: an id names one event")
    ]


def test_no_message_repeats_a_value_of_the_file(tmp_path: Path) -> None:
    secret = "sesame-42"
    path = write(
        tmp_path / "a.jsonl",
        short(iccid=secret),
        short(contact={"email": secret, "locale": 7, "phone": secret * 9}),
        short(payment={"method": secret, "mode": "charge", "currency": secret, "token": "a b"}),
        short() | {"id": secret, "source": secret, "traceparent": secret},
        {"type": secret, "data": secret},
        f'{{"{secret}',
    )

    checked = check(path)

    assert len(checked.problems) == 6
    assert secret not in repr(checked)


def test_row_that_is_not_utf8_is_told_and_its_neighbours_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"type": "\xff"}\n' + json.dumps(short()).encode())

    checked = check(path)

    assert told(checked) == [(1, "", "is not UTF-8: save the file as UTF-8")]
    assert [one.line for one in checked.requests] == [2]


def test_csv_row_is_the_event_that_its_dotted_columns_describe(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    row = {
        "type": "RenewalRequested",
        "account_id": "acct-7",
        "renewal_id": "007",
        "iccid": RENEWAL["iccid"],
        "plan_code": "jp-month-basic",
        "quantity": "2",
        "expected_total.amount_minor": "3180",
        "expected_total.currency": "USD",
        "payment.method": "wallet",
        "payment.mode": "wallet",
        "payment.currency": "USD",
        "payment.token": "",
        "promotion_codes": "WELCOME10; SPRING-2026",
        "contact.email": "lin@example.com",
        "contact.name": 'Lin, "Example"',
        "requested_at": "2026-11-20T08:00:00Z",
    }
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, row)
        writer.writeheader()
        writer.writerow(row)

    checked = check(path)

    assert not checked.problems, told(checked)
    data = json.loads(checked.requests[0].body)
    assert checked.requests[0].line == 2
    assert data["renewal_id"] == "007"
    assert data["expected_total"] == {"amount_minor": 3180, "currency": "USD"}
    assert data["promotion_codes"] == ["WELCOME10", "SPRING-2026"]
    assert data["payment"] == {"method": "wallet", "mode": "wallet", "currency": "USD"}
    assert data["contact"]["name"] == 'Lin, "Example"'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("account_id\na\n", (1, "type", "is not a column: add it, or pass --type")),
        ("type,colour\nx,y\n", (1, "colour", "is not a column of any request")),
        ("type,type\nx,y\n", (1, "type", "is a column twice")),
        ("type,account_id\nTopUpRequested,a,b\n", (2, "", "has 3 cells")),
        ('type,account_id\nTopUpRequested,"a"b\n', (2, "", "has a quote in the wrong place")),
        ("type,account_id\nTopUpRequested,a\n", (2, "data.topup_id", "is missing")),
    ],
)
def test_bad_csv_is_told_by_line_and_column(
    tmp_path: Path, text: str, problem: tuple[int, str, str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")

    line, field, message = problem
    assert any(
        (one[0], one[1]) == (line, field) and one[2].startswith(message)
        for one in told(check(path))
    ), told(check(path))


@pytest.mark.parametrize(
    "row",
    [
        short(requested_at="0001-01-01T00:00:00+14:00"),
        short(requested_at="9999-12-31T23:59:59-14:00"),
        short() | {"time": "9999-12-31T23:59:59-14:00"},
        short() | {"id": "\ud800"},
        '{"type":"RenewalRequested","data":' + '{"a":' * 900 + "1" + "}" * 901,
        '{"type":"RenewalRequested","data":{"n":' + "9" * 4_000 + "}}",
    ],
)
def test_row_of_anything_is_a_bad_row_and_never_a_traceback(
    runner: CliRunner, app: typer.Typer, tmp_path: Path, row: object
) -> None:
    done = runner.invoke(app, [str(write(tmp_path / "a.jsonl", row, short())), "--dry-run"])
    assert done.exit_code == ExitCode.ROWS_REFUSED
    assert isinstance(done.exception, SystemExit)
    assert "line 1" in done.output
    assert "2 rows, 1 of them bad" in done.output


def test_dry_run_of_good_rows_succeeds_and_publishes_nothing(
    runner: CliRunner, app: typer.Typer, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jsonl", short())

    done = runner.invoke(app, [str(path), "--dry-run"])

    assert done.exit_code == ExitCode.PUBLISHED
    assert "nothing was published" in done.output
    assert list(tmp_path.iterdir()) == [path]


def test_bad_row_stops_the_whole_file_before_any_broker_is_asked_for(
    runner: CliRunner, app: typer.Typer, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jsonl", short(), short(quantity=0))

    done = runner.invoke(app, [str(path), "--json"])

    summary = json.loads(done.output)
    assert done.exit_code == ExitCode.ROWS_REFUSED
    assert (summary["refused"], summary["acknowledged"], summary["not_sent"]) == (1, 0, 1)
    assert summary["problems"][0]["line"] == 2


def test_broker_that_is_not_there_leaves_a_receipt_that_says_so(
    runner: CliRunner, app: typer.Typer, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jsonl", short())
    options = ["--bootstrap-servers", "127.0.0.1:1", "--timeout-seconds", "2"]

    done = runner.invoke(app, [str(path), *options])

    assert done.exit_code == ExitCode.BROKER_UNREACHABLE
    receipt = json.loads((tmp_path / "a.jsonl.receipt.jsonl").read_text("utf-8"))
    assert (receipt["line"], receipt["status"]) == (1, "not_sent")


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_file_without_a_request_is_named_and_fails(
    tmp_path: Path, runner: CliRunner, app: typer.Typer, text: str
) -> None:
    (tmp_path / "empty.jsonl").write_text(text, encoding="utf-8")
    done = runner.invoke(app, [str(tmp_path / "empty.jsonl")])
    assert done.exit_code == 1
    assert "empty.jsonl holds no request: nothing was published" in done.output


@pytest.mark.parametrize("arguments", [["none.jsonl"], ["none.jsonl", "--source", "shop"]])
def test_wrong_usage_says_what_to_do(
    runner: CliRunner, app: typer.Typer, arguments: list[str]
) -> None:
    assert runner.invoke(app, arguments).exit_code == ExitCode.USAGE


@pytest.mark.parametrize("model", [model for model, topic in EVENTS if topic.external])
def test_every_event_from_around_us_can_be_published_in_short(model: type[Event]) -> None:
    path = Path(__file__).parents[3] / "schemas" / "examples" / model.__name__ / "v1.json"
    data = json.loads(path.read_text(encoding="utf-8"))["data"]
    request = checked_request(1, {"type": model.__name__, "data": data}, source=None)
    assert request.envelope.type == model.wire_type()
    assert request.topic.external
