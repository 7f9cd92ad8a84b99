"""`perennial contacts`: erase what the notifier keeps of a customer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from services.cli.connections import connect
from services.cli.words import counted
from services.notifier.contacts.erasure import Erasure, blank_letters
from services.notifier.contacts.erasure import erase as erase_contact

app = typer.Typer(help="The contact data of customers.", no_args_is_help=True)


@app.callback()
def contacts() -> None:
    """Keep `erase` a command of its own, whatever other commands there are."""


@app.command()
def erase(
    account_id: Annotated[str, typer.Argument(help="The account, as in the events.")],
    address: Annotated[
        list[str] | None,
        typer.Option(
            "--address",
            help="An address to look for in refused requests, beside those known of the account.",
        ),
    ] = None,
) -> None:
    """Blank the contact of an account, and the refused requests of notifier and orders with it.

    A request that the customer makes later brings its contact again.
    """
    erasure = asyncio.run(_erase(account_id, address or []))
    if not erasure.contact and not erasure.dead_letters:
        typer.echo(f"no contact of {account_id} was kept; older requests will not bring one")
        return
    typer.echo(
        f"{account_id}: contact {'erased' if erasure.contact else 'was not kept'}, "
        f"{counted(erasure.dead_letters, 'dead letter')} blanked"
    )


async def _erase(account_id: str, addresses: Sequence[str]) -> Erasure:
    async with connect("notifier") as notifier, connect("orders") as orders:
        erasure, known = await erase_contact(notifier, account_id, addresses)
        blanked = await blank_letters(orders, account_id, known)
    return replace(erasure, dead_letters=erasure.dead_letters + blanked)
