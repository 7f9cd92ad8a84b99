"""How the commands reach the broker: the local stack's login belongs to the local stack's broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.cli.broker import broker_settings

HERE, ELSEWHERE = "127.0.0.1:1", "127.0.0.1:2"


@pytest.fixture(autouse=True)
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password = tmp_path / "operator.password"
    password.write_text("of the operator")
    login = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_USERNAME": "operator",
        "KAFKA_PASSWORD_FILE": str(password),
    }
    keys = {
        "event_keys_file": tmp_path / "event.keys",
        "anchor_keys_file": tmp_path / "anchor.keys",
    }
    keys["event_keys_file"].write_text(f"orders/orders/x:{'0a' * 32}")
    keys["anchor_keys_file"].write_text(f"x:{'0b' * 32}")
    told = {name: str(path) for name, path in keys.items()}
    file = tmp_path / "stack.json"
    file.write_text(json.dumps({"bootstrap_servers": HERE, "kafka_login": login, **told}))
    monkeypatch.setenv("PERENNIAL_STATE_FOLDER", str(tmp_path))


def test_commands_log_in_at_the_stack_as_it_says() -> None:
    settings = broker_settings()

    assert (settings.bootstrap_servers, settings.kafka_username) == (HERE, "operator")
    assert settings.kafka_password
    assert settings.kafka_password.get_secret_value() == "of the operator"
    assert settings.event_keys
    assert settings.anchor_keys


def test_another_broker_gets_no_login_and_no_keys_of_the_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert broker_settings(ELSEWHERE).kafka_username is None
    monkeypatch.setenv("PERENNIAL_BOOTSTRAP_SERVERS", ELSEWHERE)
    settings = broker_settings()
    assert (settings.kafka_username, settings.event_keys, settings.anchor_keys) == (None,) * 3


def test_environment_names_another_user_of_the_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "upstream.password").write_text("of the upstream")
    for name, value in (
        ("SECURITY_PROTOCOL", "SASL_SSL"),
        ("SASL_MECHANISM", "SCRAM-SHA-512"),
        ("USERNAME", "upstream"),
        ("PASSWORD_FILE", str(tmp_path / "upstream.password")),
    ):
        monkeypatch.setenv(f"PERENNIAL_KAFKA_{name}", value)

    settings = broker_settings()

    assert (settings.bootstrap_servers, settings.kafka_username) == (HERE, "upstream")
