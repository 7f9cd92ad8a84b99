"""The only wiring of orders: settings and a pool in, a processor out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from services.orders.catalog_file import load_catalogue
from services.orders.executors import build_executors
from services.orders.handlers import build_processor
from services.orders.ports import open_ports
from services.orders.settings import OrdersSettings, policy_of
from services.orders.state import OrderState
from services.runtime.process import utc_now
from services.runtime.processor import Processor


@asynccontextmanager
async def open_orders(
    settings: OrdersSettings, _pool: asyncpg.Pool
) -> AsyncIterator[Processor[OrderState]]:
    """Read the catalogue, open the gateway and the provider, and yield orders."""
    catalogue = load_catalogue(settings.catalogue)
    async with open_ports(settings, utc_now) as ports:
        executors = build_executors(ports.gateway, ports.provider, utc_now)
        yield build_processor(catalogue, policy_of(settings), executors)
