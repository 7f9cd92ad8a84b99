"""The profile of short times: every line shortens a setting, and `make up` reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from services.notifier.settings import NotifierSettings
from services.orders.settings import OrdersSettings, policy_of
from services.runtime.settings import load_settings

ROOT = Path(__file__).parents[3]
FILE = ROOT / "deploy" / "local" / "short.env"
LINES = [line for line in FILE.read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
SHORT = dict(line.split("=", 1) for line in LINES)
ORDERS, NOTIFIER = "PERENNIAL_ORDERS_", "PERENNIAL_NOTIFIER_"
NEEDED = {
    "PERENNIAL_ENVIRONMENT": "demo",
    f"{ORDERS}POSTGRES_DSN": "postgresql://a:b@127.0.0.1/x",
    f"{ORDERS}BOOTSTRAP_SERVERS": "127.0.0.1:1",
    f"{ORDERS}ESIM_HASH_SALT": "a salt for tests",
    f"{ORDERS}GATEWAY": "sandbox",
    f"{ORDERS}PROVIDER": "sandbox",
    f"{NOTIFIER}POSTGRES_DSN": "postgresql://a:b@127.0.0.1/x",
    f"{NOTIFIER}BOOTSTRAP_SERVERS": "127.0.0.1:1",
    f"{NOTIFIER}CHANNEL": "counting",
    f"{NOTIFIER}FROM_ADDRESS": "billing@perennial.example",
}


def test_every_line_shortens_a_setting() -> None:
    for prefix, model in ((ORDERS, OrdersSettings), (NOTIFIER, NotifierSettings)):
        usual, short = (load_settings(model, NEEDED | more) for more in ({}, SHORT))
        names = [name.removeprefix(prefix).lower() for name in SHORT if name.startswith(prefix)]
        assert names
        assert [n for n in names if getattr(short, n) >= getattr(usual, n)] == []
        longest = max(getattr(short, name) for name in names)
        assert longest <= 60
    assert all(name.startswith((ORDERS, NOTIFIER)) for name in SHORT)


def test_times_fit_each_other() -> None:
    policy = policy_of(load_settings(OrdersSettings, NEEDED | SHORT))
    assert policy.activation_promise < policy.activation_deadline
    assert policy.look_up_backoff.longest < policy.unknown_settle


def test_make_up_reads_the_profile_that_is_named() -> None:
    told = {
        profile: subprocess.run(
            ["make", "-n", "up", *profile],  # noqa: S607 - of the developer
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for profile in ((), ("PROFILE=short",))
    }
    assert ". deploy/local/short.env" in told["PROFILE=short",]
    assert ".env" not in told[()]
