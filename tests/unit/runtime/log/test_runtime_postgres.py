"""What a DSN leaves open about TLS, and what is then done."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from services.runtime.errors import ConfigurationError
from services.runtime.postgres.dsn import is_local, verified, weakness


def asked(dsn: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(verified(dsn)).query).items()}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "PGHOST", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p@db/x",
        "postgres://u:p@db:5432/x",
        "postgresql://u:p@10.0.0.7:5432/x",
        "postgresql://u:p@[2001:db8::1]:5432/x",
        "postgresql://u:p@127.0.0.1,db:5432/x",
        "postgresql://u:p@127.0.0.1/x?host=db",
        "postgresql://u:p@localhost.example.com/x",
        "postgresql://u:p@db@127.0.0.1/x",
        "postgresql:///x?service=perennial",
    ],
)
def test_another_machine_is_verified_when_the_dsn_says_nothing(dsn: str) -> None:
    assert not is_local(dsn)
    found = asked(dsn)
    assert found["sslmode"] == "verify-full"
    assert Path(found["sslrootcert"]).is_file()
    assert weakness(dsn) is None


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p@127.0.0.1:5432/x",
        "postgresql://u:p@localhost/x",
        "postgresql://u:p@[::1]:5432/x",
        "postgresql:///x?host=/run/postgresql",
        "postgresql:///x",
    ],
)
def test_this_machine_is_left_as_it_is(dsn: str) -> None:
    assert verified(dsn) == dsn
    assert weakness(dsn) is None


def test_host_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db")
    assert asked("postgresql:///x")["sslmode"] == "verify-full"


def test_own_authority_is_kept_and_means_verification(tmp_path: Path) -> None:
    for host in ("db", "127.0.0.1"):
        found = asked(f"postgresql://u:p@{host}/x?sslrootcert={tmp_path}/ca.pem")
        assert found == {"sslmode": "verify-full", "sslrootcert": f"{tmp_path}/ca.pem"}


@pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-ca"])
def test_weaker_mode_has_to_be_said_and_is_then_warned_of(mode: str) -> None:
    dsn = f"postgresql://u:p@db/x?sslmode={mode}"
    assert asked(dsn)["sslmode"] == mode
    told = weakness(dsn)
    assert told is not None
    assert mode in told


def test_mode_that_is_none_is_refused_without_the_dsn() -> None:
    with pytest.raises(ConfigurationError, match="sslmode is one of") as refused:
        verified("postgresql://u:SECRET@db/x?sslmode=full")
    assert "SECRET" not in str(refused.value)
