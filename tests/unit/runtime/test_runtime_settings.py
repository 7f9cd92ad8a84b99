"""Settings from the environment: what is missing is listed, what is wrong is not repeated."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic_settings import SettingsConfigDict

from services.runtime.errors import ConfigurationError
from services.runtime.settings import RuntimeSettings, load_settings

DSN = "postgresql://perennial_toys:SECRET@db:5432/perennial"


class ToySettings(RuntimeSettings):
    """Settings of a service that does not exist."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_TOYS_", extra="ignore", frozen=True)

    greeting: str = "hello"


def load(**values: str) -> ToySettings:
    least = {"POSTGRES_DSN": DSN, "BOOTSTRAP_SERVERS": "127.0.0.1:9092"}
    return load_settings(
        ToySettings, {f"PERENNIAL_TOYS_{key}": value for key, value in (least | values).items()}
    )


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(ToySettings, environ)
    assert "SECRET" not in str(refused.value)
    return str(refused.value)


def test_least_settings_are_the_database_and_the_broker() -> None:
    settings = load()
    assert settings.bootstrap_servers == "127.0.0.1:9092"
    assert settings.postgres_dsn.get_secret_value() == DSN
    assert settings.greeting == "hello"


def test_everything_that_is_missing_is_listed_by_its_variable() -> None:
    told = refusal({})
    assert "PERENNIAL_TOYS_POSTGRES_DSN is missing" in told
    assert "PERENNIAL_TOYS_BOOTSTRAP_SERVERS is missing" in told
    assert "docs/CONFIGURATION.md" in told


def test_every_wrong_value_is_listed_and_none_is_repeated() -> None:
    told = refusal(
        {
            "PERENNIAL_TOYS_POSTGRES_DSN": "mysql://SECRET",
            "PERENNIAL_TOYS_HTTP_PORT": "SECRET",
            "PERENNIAL_TOYS_LOG_LEVEL": "SECRET",
        }
    )
    assert "PERENNIAL_TOYS_BOOTSTRAP_SERVERS is missing" in told
    assert "PERENNIAL_TOYS_POSTGRES_DSN is wrong: " in told
    assert "postgresql://user:password@host:port/database" in told
    assert "PERENNIAL_TOYS_HTTP_PORT is wrong: " in told
    assert "PERENNIAL_TOYS_LOG_LEVEL is wrong: " in told


def test_variables_of_another_prefix_or_none_are_not_read() -> None:
    told = refusal({"POSTGRES_DSN": DSN, "PERENNIAL_ORDERS_POSTGRES_DSN": DSN, "GREETING": "no"})
    assert "PERENNIAL_TOYS_POSTGRES_DSN is missing" in told


def test_unknown_variable_under_the_prefix_is_passed_over() -> None:
    assert load(UNHEARD="1").greeting == "hello"


def test_secret_is_read_from_the_file_that_is_named_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "dsn"
    file.write_text(DSN + "\r\n")
    settings = load_settings(
        ToySettings,
        {
            "PERENNIAL_TOYS_POSTGRES_DSN_FILE": str(file),
            "PERENNIAL_TOYS_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
        },
    )
    assert settings.postgres_dsn.get_secret_value() == DSN


def test_secret_file_that_cannot_be_read_is_listed_with_what_to_do(tmp_path: Path) -> None:
    told = refusal(
        {
            "PERENNIAL_TOYS_POSTGRES_DSN_FILE": str(tmp_path / "absent"),
            "PERENNIAL_TOYS_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
        }
    )
    assert "PERENNIAL_TOYS_POSTGRES_DSN_FILE cannot be read (FileNotFoundError)" in told
    assert "mount the secret" in told


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    assert "SECRET" not in repr(load(KAFKA_PASSWORD="SECRET"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHARD_COUNT", "0"),
        ("SHARD_COUNT", "1025"),
        ("HTTP_PORT", "65536"),
        ("POSTGRES_POOL_SIZE", "2"),
        ("EFFECT_CONCURRENCY", "0"),
        ("BATCH_RECORDS_MAX", "5001"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("BOOTSTRAP_SERVERS", ""),
    ],
)
def test_value_outside_of_its_range_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"PERENNIAL_TOYS_{name} is wrong"):
        load(**{name: value})


def test_plain_text_to_a_broker_elsewhere_has_to_be_said() -> None:
    for servers in ("kafka:9092", "127.0.0.1:9092,kafka:9092", "10.0.0.7:9092"):
        with pytest.raises(ConfigurationError, match="set KAFKA_SECURITY_PROTOCOL"):
            load(BOOTSTRAP_SERVERS=servers)
        said = load(BOOTSTRAP_SERVERS=servers, KAFKA_SECURITY_PROTOCOL="PLAINTEXT")
        assert said.kafka_security_protocol == "PLAINTEXT"
    assert load(BOOTSTRAP_SERVERS="[::1]:9092,localhost:9092").kafka_is_local()
