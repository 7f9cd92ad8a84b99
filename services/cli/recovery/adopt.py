"""`perennial recover adopt`: after a restore, take back what the topic has of a service's log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from services.cli.connections import connect
from services.cli.tables import print_table
from services.cli.words import counted
from services.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from services.runtime.recovery.adoption import Adopted

_ADOPTING = ("orders", "notifier")


def adopt_command(
    service: Annotated[str, typer.Argument(help="orders or notifier; the ledger needs it not.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what.")] = False,
) -> None:
    """Take back into a restored log what was published of it since; the service must be stopped.

    What an order still needs (a charge, an activation, a refund) is written down again, and
    looked up at the gateway and the provider before anything is done.
    """
    if service not in _ADOPTING:
        message = f"name {' or '.join(_ADOPTING)}: the ledger makes its answers again by reading"
        raise ConfigurationError(message)
    adopted, effects = asyncio.run(_adopt(service, yes=yes))
    table = Table("shard", "events", "streams")
    for each in adopted:
        table.add_row(str(each.shard), str(each.events), str(len(each.stream_ids)))
    print_table(table)
    events = sum(each.events for each in adopted)
    done = "are in the log again" if yes else "would be taken back: repeat with --yes"
    typer.echo(
        f"{counted(events, 'event')} of {service} {done} ({counted(effects, 'effect')} to look up)"
    )


async def _adopt(service: str, *, yes: bool) -> tuple[list[Adopted], int]:
    # The client of Kafka takes a while to import, and what reads the log as long again.
    from services.cli.broker import admitted, broker_settings  # noqa: PLC0415

    settings = await admitted(broker_settings())
    async with connect(service) as connection:
        from services.cli.recovery.adoption import adopt_from_topic  # noqa: PLC0415

        return await adopt_from_topic(connection, service, settings, yes=yes)
