"""`python -m services.orders` runs orders."""

from schemas import BILLING
from services.orders.app import open_orders
from services.orders.payments.claims.transactions import MIGRATIONS
from services.orders.settings import OrdersSettings
from services.runtime.app.start import run_service

if __name__ == "__main__":
    run_service("orders", OrdersSettings, open_orders, migrations=[MIGRATIONS], events=BILLING)
