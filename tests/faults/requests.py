"""What the customers of the stream ask for: a first wave, and a second that spends the wallets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

PLAN: Final = "eu-data-basic"
_TOP_UP_MINOR: Final = 10_000
_REQUESTED_AT: Final = "2026-11-20T08:00:00Z"
_TOKENS: Final = ("tok_ok", "tok_slow", "tok_duplicate", "tok_timeout_after", "tok_error_after")
_ENDINGS: Final = ("0000", "0000", "9003", "9005", "9006")


@dataclass(frozen=True, slots=True)
class Wave:
    """Requests of one kind each, in the order they are published."""

    renewals: list[dict[str, Any]]
    top_ups: list[dict[str, Any]]


def first_wave(accounts: int) -> Wave:
    """Return a top-up by card for each even account, and a renewal by card for each odd one."""
    numbers = range(accounts)
    return Wave(
        renewals=[card_renewal(number, "first") for number in numbers if number % 2],
        top_ups=[top_up(number) for number in numbers if not number % 2],
    )


def second_wave(accounts: int) -> Wave:
    """Return renewals of all: by wallet where there is one, by card elsewhere."""
    numbers = range(accounts)
    return Wave(
        renewals=[
            card_renewal(number, "second") if number % 2 else wallet_renewal(number)
            for number in numbers
        ],
        top_ups=[],
    )


def card_renewal(
    number: int, name: str, *, token: str | None = None, ending: str | None = None
) -> dict[str, Any]:
    """Return a renewal by card; the sandbox's troubles take turns unless they are named."""
    payment = by_card(token or _TOKENS[number // 2 % len(_TOKENS)])
    return _renewal(number, name, ending or _ENDINGS[number // 10 % len(_ENDINGS)], payment)


def wallet_renewal(number: int) -> dict[str, Any]:
    """Return a renewal that the wallet pays."""
    payment = {"method": "wallet", "mode": "wallet", "currency": "USD"}
    return _renewal(number, "wallet", _ENDINGS[number // 2 % len(_ENDINGS)], payment)


def top_up(number: int) -> dict[str, Any]:
    """Return a top-up by card."""
    return {
        "account_id": account(number),
        "topup_id": f"top-{number:04d}",
        "amount": {"amount_minor": _TOP_UP_MINOR, "currency": "USD"},
        "payment": by_card(_TOKENS[number // 2 % len(_TOKENS)]),
        "contact": contact(number),
        "requested_at": _REQUESTED_AT,
    }


def by_card(token: str) -> dict[str, Any]:
    """Return how to pay by a card's token."""
    return {"method": "card", "mode": "charge", "currency": "USD", "token": token}


def account(number: int) -> str:
    """Return an account id."""
    return f"acct-{number:04d}"


def contact(number: int) -> dict[str, Any]:
    """Return where to reach the customer."""
    return {"email": f"customer-{number:04d}@example.com", "locale": "en", "time_zone": "UTC"}


def _renewal(number: int, name: str, ending: str, payment: dict[str, Any]) -> dict[str, Any]:
    return {
        "account_id": account(number),
        "renewal_id": f"rnw-{number:04d}-{name}",
        "iccid": f"8985203{number:08d}{ending}",
        "plan_code": PLAN,
        "payment": payment,
        "contact": contact(number),
        "requested_at": _REQUESTED_AT,
    }
