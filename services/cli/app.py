"""The commands of `perennial`, put together, and their exit status."""

from __future__ import annotations

import sys

import typer

from services.cli import (
    contacts,
    dlq,
    effects,
    ledger,
    orders,
    publish,
    recover,
    setup_command,
    status,
)
from services.runtime.errors import ConfigurationError, Transient

EXIT_USAGE = 2
EXIT_UNREACHABLE = 3

app = typer.Typer(
    name="perennial",
    help="Event-sourced billing for prepaid eSIM plans.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("publish")(publish.publish)
app.command("setup")(setup_command.setup)
app.command("status")(status.status)
app.add_typer(orders.app, name="orders")
app.add_typer(ledger.app, name="ledger")
app.add_typer(dlq.app, name="dlq")
app.add_typer(effects.app, name="effects")
app.add_typer(contacts.app, name="contacts")
app.add_typer(recover.app, name="recover")


def main() -> None:
    """Run the command line; exit 2 on a usage error, 3 when Postgres or Kafka cannot be reached."""
    try:
        app()
    except ConfigurationError as error:
        sys.stderr.write(f"perennial: {error}\n")
        sys.exit(EXIT_USAGE)
    except (Transient, OSError) as error:
        sys.stderr.write(f"perennial: cannot reach what is needed: {error}\n")
        sys.exit(EXIT_UNREACHABLE)
