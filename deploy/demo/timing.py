"""The settings that make days fit into seconds, and why each is as long as it is.

What must come in time has at least four seconds to spare; what must come late is late by four.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from deploy.demo.expected.prices import WORLD
from deploy.local.services import SMS_SANDBOX

_ORDERS: Final = {
    "TRUST_CONFIRMATIONS_OF": WORLD["trusted_gateway"],
    "BLOCKED_ACCOUNTS_FILE": str(Path(__file__).with_name("blocked_accounts.txt")),
    # A confirmation that is on time follows its order at once; the others are sent after
    # OrderExpired was seen.
    "CONFIRMATION_WINDOW_SECONDS": "10",
    # Two refusals by a gateway that is down cost 1.5 seconds; the third charge gets through.
    "CHARGE_WINDOW_SECONDS": "8",
    "UNKNOWN_LOOK_UP_SECONDS": "0.5",
    "UNKNOWN_LOOK_UP_SECONDS_MAX": "1",
    "UNKNOWN_SETTLE_SECONDS": "3",
    # The slowest activation that keeps the promise needs one second, a delayed one needs nine.
    "ACTIVATION_PROMISE_SECONDS": "5",
    "ACTIVATION_DEADLINE_SECONDS": "15",
    "ACTIVATION_RETRY_SECONDS": "0.3",
    "ACTIVATION_RETRY_SECONDS_MAX": "1",
    "REFUND_RETRY_SECONDS": "0.5",
    "REFUND_RETRY_SECONDS_MAX": "1",
    "GATEWAY": "sandbox",
    "PROVIDER": "sandbox",
    "SANDBOX_TIMEOUT_SECONDS": "0.5",
    "SANDBOX_SLOW_SECONDS": "0.5",
}

_NOTIFIER: Final = {
    # An email whose contact is one batch behind looks again soon.
    "RETRY_SECONDS": "0.5",
    "RETRY_SECONDS_MAX": "2",
    **SMS_SANDBOX,
    # The sandbox reports what arrived at once.
    "REPORT_SECONDS": "0.5",
}

_HEADS: Final = {
    # Often enough that some are kept while the logs grow.
    "ANCHOR_SECONDS": "5"
}

SETTINGS: Final[dict[str, dict[str, str]]] = {
    "orders": {f"PERENNIAL_ORDERS_{name}": value for name, value in (_ORDERS | _HEADS).items()},
    "ledger": {f"PERENNIAL_LEDGER_{name}": value for name, value in _HEADS.items()},
    "notifier": {
        f"PERENNIAL_NOTIFIER_{name}": value for name, value in (_NOTIFIER | _HEADS).items()
    },
}
"""By service, the environment that the demo needs beside addresses, passwords and folders."""
