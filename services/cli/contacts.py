"""`perennial contacts`: erase what the notifier keeps of a customer."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from services.cli.connections import connect
from services.notifier.contacts import Erasure
from services.notifier.contacts import erase as erase_contact

app = typer.Typer(help="The contact data of customers.", no_args_is_help=True)


@app.callback()
def contacts() -> None:
    """Keep `erase` a command of its own, whatever other commands there are."""


@app.command()
def erase(
    account_id: Annotated[str, typer.Argument(help="The account, as in the events.")],
) -> None:
    """Blank the contact of an account, and the refused requests that hold one.

    A request that the customer makes later brings its contact again.
    """
    erasure = asyncio.run(_erase(account_id))
    if not erasure.contact and not erasure.dead_letters:
        typer.echo(f"no contact of {account_id} was kept; older requests will not bring one")
        return
    typer.echo(
        f"{account_id}: contact {'erased' if erasure.contact else 'was not kept'}, "
        f"{erasure.dead_letters} dead letters blanked"
    )


async def _erase(account_id: str) -> Erasure:
    async with connect("notifier") as connection:
        return await erase_contact(connection, account_id)
