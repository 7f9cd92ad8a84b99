"""The rules that an operator sets: windows, promises, back-off and who is blocked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling pauses from `first` up to `longest`."""

    first: timedelta
    longest: timedelta

    def after(self, attempt: int) -> timedelta:
        """Return the pause after the attempt with this number, counted from 1."""
        doublings = min(max(attempt, 1) - 1, 32)
        return min(self.first * (1 << doublings), self.longest)


@dataclass(frozen=True, slots=True)
class Policy:
    """What `decide` may not read from the environment itself.

    `esim_hash_salt` keys the hashes of ICCIDs and requests, so that nobody can try ICCIDs until a
    published hash matches. `unknown_settle` is how long a gateway may take to show a charge.
    `own_gateways` are those that we charge through: a payment that a customer made at any other one
    was taken by the shop. `trusted_gateways` cannot be asked, and are believed for the exact amount
    of an order.
    """

    esim_hash_salt: str = field(repr=False)
    blocked_accounts: frozenset[str] = frozenset()
    own_gateways: frozenset[str] = frozenset()
    trusted_gateways: frozenset[str] = frozenset()
    confirmation_window: timedelta = timedelta(hours=1)
    charge_window: timedelta = timedelta(minutes=15)
    unknown_settle: timedelta = timedelta(minutes=15)
    activation_promise: timedelta = timedelta(minutes=30)
    activation_deadline: timedelta = timedelta(hours=24)
    look_up_backoff: Backoff = Backoff(timedelta(seconds=10), timedelta(minutes=5))
    activation_backoff: Backoff = Backoff(timedelta(seconds=5), timedelta(minutes=5))
    refund_backoff: Backoff = Backoff(timedelta(seconds=5), timedelta(minutes=15))
