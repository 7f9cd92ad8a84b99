"""Which gateway charges a payment: dated rules, whose weights an order's own id decides. PURE."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from schemas.envelope import TIME_MIN, Identifier, UtcDatetime
from schemas.money import CurrencyCode
from schemas.requests import CountryCode, PaymentInstruction, PaymentMethod

WEIGHT_MAX: Final = 1_000
Method = Annotated[PaymentMethod, Field(strict=False)]
Weight = Annotated[int, Field(ge=1, le=WEIGHT_MAX)]


class Route(BaseModel):
    """Where payments go that every list lets pass; an empty list lets all pass.

    `gateways` share them by their weights. A payment whose country is not known passes no list of
    countries.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    valid_from: UtcDatetime
    valid_until: UtcDatetime | None = None
    methods: list[Method] = []
    currencies: list[CurrencyCode] = []
    countries: list[CountryCode] = []
    gateways: dict[Identifier, Weight] = Field(min_length=1)

    def holds(self, moment: datetime) -> bool:
        """Say whether it is in force."""
        return self.valid_from <= moment and (self.valid_until is None or moment < self.valid_until)

    def lets_pass(self, payment: PaymentInstruction) -> bool:
        """Say whether it is about such a payment."""
        return (
            (not self.methods or payment.method in self.methods)
            and (not self.currencies or payment.currency in self.currencies)
            and (not self.countries or payment.country in self.countries)
        )


class Routing(BaseModel):
    """The routes, of which the first that fits decides.

    `default` answers for payments that name no gateway of ours: those that were begun before
    payments named one, and those that customers made at a gateway of the shop.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", populate_by_name=True)

    default: Identifier
    routes: list[Route] = Field(alias="route", min_length=1)

    @classmethod
    def to(cls, gateway: str) -> Routing:
        """Return the rules that send everything to one gateway."""
        return cls(default=gateway, routes=[Route(valid_from=TIME_MIN, gateways={gateway: 1})])

    def route(self, payment: PaymentInstruction, moment: datetime) -> Route | None:
        """Return the first route for a payment; None: no gateway takes it."""
        fitting = (each for each in self.routes if each.holds(moment) and each.lets_pass(payment))
        return next(fitting, None)

    def gateway(self, payment: PaymentInstruction, stream_id: str, moment: datetime) -> str | None:
        """Return who charges an order: always the same for the same order, payment and moment."""
        route = self.route(payment, moment)
        return _chosen(route.gateways, stream_id) if route else None

    def names(self) -> frozenset[str]:
        """Return all gateways that are named."""
        return frozenset({self.default}.union(*(each.gateways for each in self.routes)))


def _chosen(gateways: Mapping[str, int], stream_id: str) -> str:
    """Draw by weight, with a ticket that the order's id makes."""
    digest = hashlib.sha256(f"route/{stream_id}".encode()).digest()
    ticket = int.from_bytes(digest[:8]) % sum(gateways.values())
    for name, weight in sorted(gateways.items()):
        if ticket < weight:
            return name
        ticket -= weight
    raise AssertionError
