"""The command line finds the local stack from any folder, and nobody else's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from services.cli import addresses
from services.cli.addresses import load_addresses, stack_file
from services.runtime.errors import ConfigurationError


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("PERENNIAL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(addresses, "_CHECKOUT", tmp_path / "checkout")
    (tmp_path / "elsewhere" / "deeper").mkdir(parents=True)
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere" / "deeper")
    return tmp_path / "checkout"


def write_stack(folder: Path, servers: str) -> Path:
    file = folder / ".perennial" / "stack.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"bootstrap_servers": servers}), "utf-8")
    return file


def test_stack_of_the_checkout_is_found_from_another_folder(checkout: Path) -> None:
    write_stack(checkout, "127.0.0.1:1")
    assert load_addresses().bootstrap_servers == "127.0.0.1:1"


def test_stack_of_the_folder_above_goes_before_that_of_the_checkout(checkout: Path) -> None:
    write_stack(checkout, "127.0.0.1:1")
    write_stack(checkout.parent / "elsewhere", "127.0.0.1:2")
    assert load_addresses().bootstrap_servers == "127.0.0.1:2"


def test_chosen_state_folder_is_the_only_one(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_stack(checkout, "127.0.0.1:1")
    monkeypatch.setenv("PERENNIAL_STATE_FOLDER", str(checkout.parent / "chosen"))
    with pytest.raises(ConfigurationError, match="make up"):
        load_addresses()
    (checkout.parent / "chosen").mkdir()
    (checkout.parent / "chosen" / "stack.json").write_text('{"bootstrap_servers": "a:1"}')
    assert load_addresses().bootstrap_servers == "a:1"


def test_stack_file_of_somebody_else_is_not_read(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_stack(checkout, "127.0.0.1:1")
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    assert stack_file() is None
