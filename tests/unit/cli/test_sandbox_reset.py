"""`perennial sandbox reset`: what it empties, for whom, and where it refuses."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli.app import app
from services.orders.sandbox_journal import GATEWAY_JOURNAL, PROVIDER_JOURNAL, SandboxJournal
from services.runtime.errors import ConfigurationError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a stack that is up, with a sandbox that charged twice."""
    folder = tmp_path / "up" / "sandbox"
    (tmp_path / "stack.json").write_text(json.dumps({"sandbox_folder": str(folder)}))
    monkeypatch.setenv("PERENNIAL_STATE_FOLDER", str(tmp_path))
    monkeypatch.delenv("PERENNIAL_ENVIRONMENT", raising=False)
    monkeypatch.delenv("PERENNIAL_ORDERS_SANDBOX_JOURNAL_FOLDER", raising=False)
    with closing(SandboxJournal(folder / GATEWAY_JOURNAL)) as journal, journal.locked():
        journal.append("charge", "pay-1", amount=1)
        journal.append("call", "pay-1")
    return folder


def reset(*options: str) -> Result:
    return CliRunner().invoke(app, ["sandbox", "reset", *options])


def test_journals_of_the_stack_are_emptied_for_processes_that_have_them_open(state: Path) -> None:
    with closing(SandboxJournal(state / GATEWAY_JOURNAL)) as running:
        done = reset()
        assert done.exit_code == 0, done.output
        assert f"{state / GATEWAY_JOURNAL}: 2 entries forgotten" in done.output
        assert f"{state / PROVIDER_JOURNAL}: 0 entries forgotten" in done.output
        with closing(SandboxJournal(state / GATEWAY_JOURNAL)) as other, other.locked():
            # The same entry, and more than there was: only the mark tells that it is another file.
            for number in range(9):
                other.append("charge", "pay-1" if number == 0 else f"pay-{number}", amount=2)
        with running.locked():
            assert running.first("call", "pay-1") is None
            first = running.first("charge", "pay-1")
            assert first is not None
            assert first["amount"] == 2
            running.append("charge", "pay-last")
    lines = [json.loads(line) for line in (state / GATEWAY_JOURNAL).read_bytes().splitlines()]
    assert [line["key"] for line in lines[1:]] == [
        "pay-1", *(f"pay-{number}" for number in range(1, 9)), "pay-last",
    ]  # fmt: skip
    assert "10 entries forgotten" in reset().output


@pytest.mark.parametrize("environment", [None, "production"])
def test_another_sandbox_is_refused_outside_a_demonstration(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str | None
) -> None:
    other = tmp_path / "other"
    with closing(SandboxJournal(other / GATEWAY_JOURNAL)) as journal, journal.locked():
        journal.append("charge", "pay-1")
    if environment:
        monkeypatch.setenv("PERENNIAL_ENVIRONMENT", environment)
    refused = reset("--journal-folder", str(other))
    assert isinstance(refused.exception, ConfigurationError)
    assert "PERENNIAL_ENVIRONMENT=demo" in str(refused.exception)
    assert b"pay-1" in (other / GATEWAY_JOURNAL).read_bytes()
    assert (reset().exit_code == 0) == (environment is None)
    monkeypatch.setenv("PERENNIAL_ENVIRONMENT", "demo")
    assert reset("--journal-folder", str(other)).exit_code == 0
    assert state.is_dir()


def test_folder_without_journals_is_named(state: Path, tmp_path: Path) -> None:
    assert state.is_dir()
    (tmp_path / "none").mkdir()
    done = CliRunner().invoke(
        app,
        ["sandbox", "reset", "--journal-folder", str(tmp_path / "none")],
        env={"PERENNIAL_ENVIRONMENT": "demo"},
    )
    assert done.exit_code == 1
    assert "holds no journal: nothing was emptied" in done.output
    assert list((tmp_path / "none").iterdir()) == []
