"""What the effects of payments reach the outside by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from services.orders.payments.claims.port import Claims
from services.orders.payments.gateways.gateway import PaymentGateway


class PaymentPorts(Protocol):
    """The gateway, the claims on its transactions, and a clock."""

    @property
    def gateway(self) -> PaymentGateway:
        """The gateways that move the money."""

    @property
    def claims(self) -> Claims:
        """The claims: which order a transaction serves."""

    @property
    def trusted_gateways(self) -> frozenset[str]:
        """The gateways whose confirmations are believed where they cannot be asked."""

    @property
    def clock(self) -> Callable[[], datetime]:
        """Tells when the outside was seen to answer."""
