"""What is said of a broker that lets a transaction stay open for long, or does not tell."""

from __future__ import annotations

from typing import Any

import pytest

from services.runtime.kafka.topics.broker_limits import setting_problems

NAME = "transaction.max.timeout.ms"


def told(value: str, error_code: int = 0) -> dict[str, Any]:
    entry = {"config_names": NAME, "config_value": value}
    return {"error_code": error_code, "config_entries": [entry]}


@pytest.mark.parametrize("value", ["1000", "60000"])
def test_transaction_that_is_ended_within_a_minute_is_no_problem(value: str) -> None:
    assert setting_problems(told(value)) == []


def test_transaction_that_may_stay_open_for_longer_is_named_with_what_to_set() -> None:
    [problem] = setting_problems(told("900000"))
    assert f"{NAME} 900000" in problem
    assert "set it to 60000 at most" in problem


def test_broker_that_does_not_tell_is_named_with_what_to_do() -> None:
    [problem] = setting_problems(told("60000", error_code=31))
    assert "ClusterAuthorizationFailedError" in problem
    assert "perennial setup" in problem
