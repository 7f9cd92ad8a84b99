"""Several gateways as one: each payment goes to the gateway that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from services.orders.payments.gateways.gateway import (
    Captured,
    Charge,
    ChargeLookUp,
    ChargeOutcome,
    ChargeReference,
    PaymentGateway,
    Refund,
    RefundLookUp,
    RefundOutcome,
    TransactionLookUp,
)
from services.runtime.errors import Halt

OutcomeT = TypeVar("OutcomeT", ChargeOutcome, ChargeLookUp)


@dataclass(frozen=True, slots=True)
class OpenGateway:
    """A gateway, and the names under which it reports its charges."""

    gateway: PaymentGateway
    reported: frozenset[str]


@dataclass(frozen=True, slots=True)
class GatewayRouter:
    """`PaymentGateway` over those that are open, by their names.

    What names none goes to `default`: a charge from before there were several, or a payment that a
    customer made at a gateway of the shop. The only gateway may report its charges as it likes.
    """

    opened: Mapping[str, OpenGateway]
    default: str

    async def charge(self, charge: Charge) -> ChargeOutcome:
        """Charge at the gateway that the order names.

        Raises:
            Halt: it is not open, or what it reports could not be found again.
        """
        name = self._named(charge.gateway)
        return self._checked(name, await self.opened[name].gateway.charge(charge))

    async def look_up_charge(self, reference: ChargeReference) -> ChargeLookUp:
        """Ask the gateway that was told to charge.

        Raises:
            Halt: it is not open, or what it reports could not be found again.
        """
        name = self._named(reference.gateway)
        return self._checked(name, await self.opened[name].gateway.look_up_charge(reference))

    async def cancel_charge(self, reference: ChargeReference) -> ChargeLookUp:
        """End a charge at the gateway that was told to charge.

        Raises:
            Halt: it is not open, or what it reports could not be found again.
        """
        name = self._named(reference.gateway)
        return self._checked(name, await self.opened[name].gateway.cancel_charge(reference))

    async def look_up_transaction(self, gateway: str, gateway_txn_id: str) -> TransactionLookUp:
        """Ask the gateway that reports its charges under this name."""
        asked = self._reporting(gateway)
        return await asked.look_up_transaction(gateway, gateway_txn_id)

    async def refund(self, refund: Refund) -> RefundOutcome:
        """Give back where the money came in.

        Raises:
            Halt: that gateway is not open.
        """
        return await self._holding(refund).refund(refund)

    async def look_up_refund(self, refund: Refund) -> RefundLookUp:
        """Ask where the money came in.

        Raises:
            Halt: that gateway is not open.
        """
        return await self._holding(refund).look_up_refund(refund)

    def _named(self, name: str | None) -> str:
        if name is None:
            return self.default
        if name not in self.opened:
            message = (
                f"an order names the gateway {name}, which is not open: add it to "
                "PERENNIAL_ORDERS_GATEWAY until no payment needs it, and start again"
            )
            raise Halt(message)
        return name

    def _holding(self, refund: Refund) -> PaymentGateway:
        if refund.through is None:
            return self._reporting(refund.gateway)
        return self.opened[self._named(refund.through)].gateway

    def _reporting(self, reported: str) -> PaymentGateway:
        names = (name for name, each in self.opened.items() if reported in each.reported)
        return self.opened[next(names, self.default)].gateway

    def _checked(self, name: str, outcome: OutcomeT) -> OutcomeT:
        """Return what a gateway said, when a confirmation of this money would be asked of it, too."""
        if not isinstance(outcome, Captured) or len(self.opened) == 1:
            return outcome
        if outcome.gateway not in self.opened[name].reported:
            message = (
                f"the gateway {name} charges as {outcome.gateway}: add that to GATEWAY_NAMES and "
                "start again; the charge is then looked up and recorded"
            )
            raise Halt(message)
        return outcome
