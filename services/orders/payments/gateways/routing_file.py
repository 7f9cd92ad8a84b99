"""Reads the rules of routing and refuses what would leave a payment without a gateway that takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from schemas.requests import PaymentInstruction, PaymentMethod, PaymentMode
from services.orders.catalogue.catalogue import Catalogue
from services.orders.order.routing import Routing
from services.runtime.toml.toml_file import Fault, read_toml

Charges = Mapping[str, frozenset[PaymentMethod]]
"""The methods that each configured gateway charges, by its name."""


def load_routing(path: Path, charges: Charges, catalogue: Catalogue, now: datetime) -> Routing:
    """Read and check the routing at `path`, from now on.

    Raises:
        ConfigurationError: the file cannot be used; one `file:line: reason` for every fault.
    """
    file = read_toml(path, "routing")
    routing = file.validated(Routing)
    file.refuse(_name_faults(routing, charges))
    file.refuse(_period_faults(routing))
    file.refuse(_payment_faults(routing, charges, catalogue, now))
    return routing


def _name_faults(routing: Routing, charges: Charges) -> Iterator[Fault]:
    what_to_do = (
        f"name one that is ({', '.join(sorted(charges))}), or add it to PERENNIAL_ORDERS_GATEWAY"
    )
    if routing.default not in charges:
        yield ("default",), f"{routing.default} is not configured: {what_to_do}"
    for index, route in enumerate(routing.routes):
        for name in sorted(route.gateways.keys() - charges.keys()):
            yield ("route", index, "gateways"), f"{name} is not configured: {what_to_do}"


def _period_faults(routing: Routing) -> Iterator[Fault]:
    for index, route in enumerate(routing.routes):
        if route.valid_until is not None and route.valid_until <= route.valid_from:
            yield ("route", index, "valid_until"), "valid_until must be after valid_from"


def _payment_faults(
    routing: Routing, charges: Charges, catalogue: Catalogue, now: datetime
) -> Iterator[Fault]:
    """Find payments that the catalogue accepts and no route takes, or one that cannot charge them."""
    found: dict[Fault, None] = {}
    for moment in _moments(routing, now):
        for payment in _payments(routing, catalogue):
            route = routing.route(payment, moment)
            kind = f"{payment.method.value} in {payment.currency}"
            if route is None:
                fault: Fault = (("route",), f"none takes {kind}, which the catalogue accepts")
                found.setdefault(fault)
                continue
            index = routing.routes.index(route)
            for name in sorted(route.gateways):
                if payment.method not in charges[name]:
                    reason = f"{name} cannot charge {payment.method.value}: list methods it can"
                    found.setdefault((("route", index, "gateways"), reason))
    yield from found


def _payments(routing: Routing, catalogue: Catalogue) -> Iterator[PaymentInstruction]:
    """Yield a payment of every kind that any route or the catalogue tells from others."""
    countries = sorted({country for route in routing.routes for country in route.countries})
    for row in catalogue.payments:
        if row.mode is not PaymentMode.CHARGE:
            continue
        for currency in row.currencies:
            for country in (None, *countries):
                yield PaymentInstruction(
                    method=row.method,
                    mode=PaymentMode.CHARGE,
                    currency=currency,
                    country=country,
                    token="any",  # noqa: S106 - nobody is charged
                )


def _moments(routing: Routing, now: datetime) -> list[datetime]:
    """Return now, and every later moment from which on another route may decide."""
    dates = {date for route in routing.routes for date in (route.valid_from, route.valid_until)}
    return [now, *sorted(date for date in dates if date is not None and date > now)]
