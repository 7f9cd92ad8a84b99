"""The commands of `perennial`, put together, and their exit status."""

from __future__ import annotations

import gc
import sys
from typing import ClassVar

import typer
from typer.main import get_command

from services.cli.ending import ended
from services.cli.lazy import LazyGroup
from services.runtime.errors import ConfigurationError


class Commands(LazyGroup):
    """What `perennial` can do."""

    entries: ClassVar = {
        "publish": ("Publish requests from a file.", "services.cli.requests.publish:publish"),
        "check-records": (
            "Say what records would become; publish nothing, store nothing.",
            "services.cli.requests.check_records:check_records",
        ),
        "catalogue": (
            "Show plans, prices, taxes, ways to pay, limits and promotions.",
            "services.cli.requests.catalogue:catalogue",
        ),
        "quote": ("Show what an order would cost.", "services.cli.requests.catalogue:quote"),
        "setup": (
            "Create roles, schemas, tables and topics.",
            "services.cli.setup.setup_command:setup",
        ),
        "status": ("Show how the services stand.", "services.cli.operation.status:status"),
        "log": (
            "The logs of the services: whether they are what was written, and their heads.",
            "services.cli.books.log",
        ),
        "orders": ("What became of an order.", "services.cli.requests.orders"),
        "customers": (
            "What a customer ordered, paid and got back.",
            "services.cli.requests.customers",
        ),
        "ledger": (
            "The books: who is owed what, and whether it adds up.",
            "services.cli.books.ledger",
        ),
        "dlq": ("Records that could not be handled.", "services.cli.operation.dlq"),
        "shards": ("Shards that wait for a person.", "services.cli.operation.shards"),
        "effects": (
            "What the services do outside: charges, emails.",
            "services.cli.operation.effects",
        ),
        "contacts": ("The contact data of customers.", "services.cli.operation.contacts"),
        "recover": (
            "After a topic was made again, a broker moved, or a database restored.",
            "services.cli.recovery.recover",
        ),
        "archive": (
            "What is settled and old leaves the database for files.",
            "services.cli.archive.archive",
        ),
        "clock": ("What time it is for the services.", "services.cli.clock.clock"),
        "sandbox": ("The sandbox: its gateway has no money.", "services.cli.requests.sandbox"),
    }


app = typer.Typer(
    name="perennial",
    help="Event-sourced billing for prepaid eSIM plans.",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def perennial() -> None:
    """Event-sourced billing for prepaid eSIM plans."""


def _is_text(argument: str) -> bool:
    """Say whether an argument can be sent on: bytes that are no UTF-8 arrive as lone surrogates."""
    return "\0" not in argument and not any("\ud800" <= each <= "\udfff" for each in argument)


def main() -> None:
    """Run the command line; exit 2 on a usage error, 3 when Postgres or Kafka cannot be reached."""
    # Imports make many objects and no cycles: looking for those takes a tenth of a short command.
    gc.set_threshold(100_000)
    sys.exit(ended(_run))


def _run() -> None:
    if any(not _is_text(each) for each in sys.argv):
        message = "an argument is not UTF-8: write it anew"
        raise ConfigurationError(message)
    command = get_command(app)
    with command.make_context("perennial", sys.argv[1:]) as context:
        command.invoke(context)
