"""`python -m services.notifier` runs the notifier."""

from pathlib import Path

from schemas import BILLING
from services.notifier.app import open_notifier
from services.notifier.settings import NotifierSettings
from services.runtime.app.start import run_service

if __name__ == "__main__":
    migrations = [Path(__file__).with_name("migrations")]
    run_service("notifier", NotifierSettings, open_notifier, migrations, events=BILLING)
