"""What `perennial check-records` says of a file, and of records by their bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from schemas.topics import ORDERS, REQUESTS
from services.cli.requests.check_records import check_records
from services.cli.requests.file_records import LINE_BYTES_MAX
from services.cli.requests.record_checks import RecordChecker, Verdict
from tests.controls import T0
from tests.unit.runtime.toy import SHARDS, Record, request

SECRET = "lin.example@example.com"
RENEWAL: dict[str, Any] = {
    "account_id": "acct-7",
    "renewal_id": "rnw-7",
    "iccid": "8985203000123456784",
    "plan_code": "jp-month-basic",
    "payment": {"method": "card", "mode": "charge", "currency": "USD", "token": "tok_ok"},
    "contact": {"email": SECRET},
    "requested_at": "2026-11-20T08:00:00Z",
}


def row(**changes: Any) -> str:
    return json.dumps({"type": "RenewalRequested", "data": RENEWAL | changes})


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    app = typer.Typer()
    app.command()(check_records)
    return CliRunner().invoke(app, [str(each) for each in arguments], input=stdin)


def told(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def verdict(record: Record) -> Verdict:
    return RecordChecker(record.topic, SHARDS).check(record, "here", T0)


def test_good_rows_are_accepted_and_end_with_status_0(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text(f"\ufeff{row()}\n\n{row(renewal_id='rnw-8')}\n", encoding="utf-8")

    done = run(file)

    assert done.exit_code == 0, done.output
    assert [line.split()[:2] for line in done.stdout.splitlines()[:2]] == [
        ["line", "1"],
        ["line", "3"],
    ]
    assert done.stdout.endswith("2 accepted, 0 ignored, 0 poison\n")


@pytest.mark.parametrize(
    ("text", "service", "reason"),
    [
        ("no json", "publish", "not_json"),
        ('{"type": "RenewalRequested", "type": "x"}', "publish", "key_repeated"),
        (row(iccid=SECRET), "publish", "row_refused"),
        (row(contact={"email": f"{SECRET} x"}), "notifier", "contact_refused"),
        (" " * LINE_BYTES_MAX + "x", "publish", "oversized"),
    ],
)
def test_bad_row_is_poison_with_what_to_do_and_nothing_of_it(
    text: str, service: str, reason: str
) -> None:
    done = run("-", "--json", stdin=f"{text}\n{row()}\n")

    bad, good, summary = told(done)
    assert done.exit_code == 1
    assert (bad["place"], bad["outcome"]) == ("line 1", "poison")
    [finding] = [each for each in bad["findings"] if each["outcome"] == "poison"]
    assert (finding["service"], finding["reason"]) == (service, reason)
    assert finding["advice"]
    assert (good["place"], good["outcome"]) == ("line 2", "accepted")
    assert summary == {"summary": {"accepted": 1, "ignored": 0, "poison": 1, "ended": True}}
    assert SECRET not in done.output


def test_limit_is_kept_and_told() -> None:
    done = run("-", "--limit", "2", stdin=f"{row()}\n" * 5)

    assert len(done.stdout.splitlines()) == 3
    assert "stopped after 2 records" in done.stdout


def test_what_no_service_takes_is_ignored() -> None:
    record = request(1)
    record.topic = ORDERS.name
    assert verdict(record).outcome == "poison"  # another writer's topic

    contact = request(1)
    contact.headers = [
        (name, b"billing.SomethingNew.v1" if name == "ce_type" else value)
        for name, value in contact.headers
    ]
    found = verdict(contact)
    assert found.event_type is None
    assert {each.service: (each.outcome, each.reason) for each in found.findings} == {
        "orders": ("poison", "unknown_event_type"),
        "notifier": ("ignored", "no_service_takes_it"),
    }


def test_structured_record_has_its_type_and_is_accepted() -> None:
    found = verdict(request(1))

    assert found.event_type is not None
    assert found.outcome == "accepted"
    assert REQUESTS.name == request(1).topic
