"""`python -m services.ledger` runs the ledger."""

from schemas import BILLING
from services.ledger.app import open_ledger
from services.ledger.books.projection import MIGRATIONS
from services.ledger.settings import LedgerSettings
from services.runtime.app.start import run_service

if __name__ == "__main__":
    run_service("ledger", LedgerSettings, open_ledger, migrations=[MIGRATIONS], events=BILLING)
