"""Alert rules, recording rules and the dashboard, checked by promtool and against the code."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.metrics_docs import full_names
from deploy.monitoring import fetch_prometheus as fetching
from deploy.monitoring.fetch_prometheus import PrometheusAbsent, fetch_prometheus

ROOT: Final = Path(__file__).parents[3]
FOLDER: Final = ROOT / "deploy" / "monitoring"
RUNBOOK: Final = "## Runbook: alerts"


def rules(file: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    return found


def queries() -> list[str]:
    """Return what the dashboard asks, with Grafana's variables filled in."""
    return [
        target["expr"].replace("$__rate_interval", "5m")
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    ]


def expressions() -> list[str]:
    shipped = [rule["expr"] for file in ("alerts.yml", "recording.yml") for rule in rules(file)]
    return [*shipped, *queries()]


def promtool(*arguments: object) -> str:
    done = subprocess.run(
        [str(word) for word in (fetch_prometheus()["promtool"], *arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_configuration_and_rules_are_valid() -> None:
    assert "is valid" in promtool("check", "config", "--lint-fatal", FOLDER / "prometheus.yml")


def test_each_alert_fires_on_its_trouble_and_not_in_a_healthy_system() -> None:
    assert "SUCCESS" in promtool("test", "rules", FOLDER / "alerts_test.yml")
    tested = (FOLDER / "alerts_test.yml").read_text(encoding="utf-8")
    untested = {rule["alert"] for rule in rules("alerts.yml") if rule["alert"] not in tested}
    assert untested == set()


def test_dashboard_queries_are_valid(tmp_path: Path) -> None:
    asked = queries()
    assert len(asked) > 30
    assert [query for query in asked if "$" in query] == []
    group = {
        "name": "dashboard",
        "rules": [{"record": f"query:{n}", "expr": query} for n, query in enumerate(asked)],
    }
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [group]}), encoding="utf-8")
    promtool("check", "rules", "--lint=none", file)


def test_queries_name_metrics_that_exist() -> None:
    names = full_names()
    known = {*names, *(rule["record"] for rule in rules("recording.yml"))}
    for name, kind in names.items():
        if kind == "histogram":
            known |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    asked = {
        name
        for expression in expressions()
        for name in re.findall(
            r"\b[a-z_]+:perennial_[a-z0-9_:]+|\bperennial_[a-z0-9_]+", expression
        )
    }
    assert asked - known == set()


def test_dashboard_shows_every_business_metric() -> None:
    text = " ".join(queries())
    business = [
        name for name in full_names() if re.match("perennial_(orders|ledger|notifier)_", name)
    ]
    assert [name for name in business if name not in text] == []


def test_dashboard_has_a_place_and_a_title_for_each_panel() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [tuple(panel["gridPos"].values()) for panel in panels]
    assert len(set(places)) == len(places)
    assert [panel for panel in panels if not panel["title"]] == []
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == [
        "Overview",
        "Orders",
        "Ledger",
        "Notifier",
    ]


def test_each_alert_has_a_paragraph_of_the_runbook_and_each_paragraph_an_alert() -> None:
    alerts = rules("alerts.yml")
    page = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
    assert page.count(RUNBOOK) == 1
    section = re.split(r"^## ", page.partition(f"{RUNBOOK}\n")[2], flags=re.MULTILINE)[0]
    paragraphs = dict(
        re.findall(r"^### (\w+)\n\n\*(critical|warning)\.\* \S.+$", section, re.MULTILINE)
    )
    assert paragraphs == {rule["alert"]: rule["labels"]["severity"] for rule in alerts}
    assert {rule["annotations"]["runbook"] for rule in alerts} == {
        f"docs/OPERATIONS.md#{name.lower()}" for name in paragraphs
    }
    assert [rule["alert"] for rule in alerts if not rule["annotations"]["summary"]] == []


def test_missing_apt_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrometheusAbsent, match="apt-get and dpkg-deb not found: install Prom"):
        fetch_prometheus(tmp_path / "cache")


def test_package_that_cannot_be_had_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("apt-get", "dpkg-deb"):
        program = programs / name
        program.write_text("#!/bin/sh\necho 'E: nothing there' >&2\nexit 100\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(fetch_prometheus, "__defaults__", (tmp_path / "cache",))

    assert fetching.main() == 1
    assert "apt-get failed (E: nothing there): install Prom" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "cache").iterdir()] == []
