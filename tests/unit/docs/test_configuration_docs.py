"""docs/CONFIGURATION.md is generated from the settings, and knows every variable that is read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from deploy.configuration_docs import MEANINGS, PAGE, SERVICES, main, page
from deploy.generated_page import ROOT

MEANT = tomllib.loads(MEANINGS.read_text(encoding="utf-8"))
TEXT = page(MEANT)


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == TEXT
    assert main(["--check"]) == 0


def test_page_shows_no_machine_path_and_no_empty_meaning() -> None:
    assert str(ROOT) not in TEXT
    assert str(Path.home()) not in TEXT
    assert "|  |\n" not in TEXT


def test_every_variable_named_in_the_services_is_on_the_page() -> None:
    sources = (ROOT / "services").rglob("*.py")
    named = {
        name
        for path in sources
        for name in re.findall(r"PERENNIAL_[A-Z_]*[A-Z]", path.read_text(encoding="utf-8"))
    }
    own_prefixes = {f"PERENNIAL_{service.upper()}" for service in SERVICES} | {"PERENNIAL_KAFKA"}
    missing = {
        name
        for name in named - own_prefixes
        if f"`{name}`" not in TEXT and f"`{name.removesuffix('_FILE')}`" not in TEXT
    }
    assert missing == set()


def test_every_variable_of_opentelemetry_that_is_read_is_on_the_page() -> None:
    sources = (ROOT / "services").rglob("*.py")
    named = {
        name
        for path in sources
        for name in re.findall(r"\bOTEL_[A-Z_]*[A-Z]", path.read_text(encoding="utf-8"))
    }
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in named
    assert {name for name in named if f"`{name}`" not in TEXT} == set()


def test_setting_without_a_meaning_and_meaning_without_a_setting_are_refused() -> None:
    fewer = {name: text for name, text in MEANT["orders"].items() if name != "catalogue"}
    with pytest.raises(ValueError, match="OrdersSettings disagree about catalogue"):
        page(MEANT | {"orders": fewer})
    with pytest.raises(ValueError, match="LedgerSettings disagree about colour"):
        page(MEANT | {"ledger": MEANT["ledger"] | {"colour": "red"}})
    with pytest.raises(ValueError, match="PERENNIAL_KAFKA_USERNAME"):
        page(MEANT | {"cli": {"PERENNIAL_BOOTSTRAP_SERVERS": "Kafka"}})
