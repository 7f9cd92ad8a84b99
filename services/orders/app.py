"""The only wiring of orders: settings and a pool in, a processor out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import asyncpg
import structlog

from services.orders.catalogue.catalogue_file import load_catalogue
from services.orders.catalogue.catalogue_topic import CataloguePublisher, published
from services.orders.effects import Outside, build_effects
from services.orders.handlers import build_processor
from services.orders.open_payments import check_open_payments
from services.orders.order.rules import Rules
from services.orders.payments.claims.transactions import PostgresClaims, claim_captured
from services.orders.ports import CHARGES, open_ports, routing_of
from services.orders.settings import OrdersSettings, policy_of
from services.runtime.processor import Processor
from services.runtime.toml.toml_file import digests_of


@asynccontextmanager
async def open_orders(
    settings: OrdersSettings, pool: asyncpg.Pool, clock: Callable[[], datetime]
) -> AsyncIterator[Processor]:
    """Read the catalogue, open the gateway and the provider, publish what is sold, and yield orders."""
    catalogue = load_catalogue(settings.catalogue)
    routing = routing_of(settings, catalogue, clock())
    await check_open_payments(pool, settings.gateway, CHARGES)
    async with open_ports(settings, routing, clock) as ports:
        outside = Outside(
            ports.gateway,
            ports.provider,
            clock,
            claims=PostgresClaims(pool),
            trusted_gateways=settings.trust_confirmations_of,
        )
        processor = build_processor(
            Rules(catalogue, policy_of(settings), routing),
            build_effects(outside),
            claim_captured,
        )
        files = digests_of({"catalogue": settings.catalogue, "routing": settings.routing})
        logger = structlog.get_logger().bind(service="orders")
        async with published(CataloguePublisher(settings, catalogue, clock=clock, logger=logger)):
            yield replace(processor, rules=files)
