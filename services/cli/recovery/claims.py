"""`perennial recover claims`: claim anew the transactions that the log of orders captured."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import asyncpg
import typer

from services.cli.connections import connect
from services.cli.words import counted
from services.orders.payments.claims.claim_check import check_claims, restore_lost_claims
from services.runtime.archive.ranges import open_archive
from services.runtime.errors import ConfigurationError
from services.runtime.key_ring import KeyRing
from services.runtime.recovery.positions import refuse_running
from services.runtime.verify.checks import Check

EXIT_WRONG = 1


def claims_command(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what.")] = False,
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive",
            exists=True,
            file_okay=False,
            help="A folder with the files of archived events: what they captured is claimed, too.",
        ),
    ] = None,
) -> None:
    """Claim again what the log captured and no claim covers any more; orders must be stopped.

    A claim of a wrong order is named and stays: only the owner of the tables can have written it.
    """
    restored, left = asyncio.run(_restored(archive, yes=yes))
    done = "are claimed again" if yes else "would be claimed again: repeat with --yes"
    typer.echo(f"{counted(restored, 'transaction')} of orders {done}")
    if left.problem is not None:
        typer.echo(f"{left.problem}: {left.advice}", err=True)
        raise typer.Exit(EXIT_WRONG)
    if left.unread:
        typer.echo(f"not compared: {left.unread}; name the folder of their files with --archive")


async def _restored(folder: Path | None, *, yes: bool) -> tuple[int, Check]:
    async with connect("orders") as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            restored, left = await _restore(connection, folder)
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.commit() if yes else transaction.rollback())
    return restored, left


async def _restore(connection: asyncpg.Connection, folder: Path | None) -> tuple[int, Check]:
    from services.cli.broker import broker_settings  # noqa: PLC0415 - settings take a while to import

    await connection.execute("LOCK TABLE shard IN EXCLUSIVE MODE")
    await refuse_running(connection, "orders")
    archive = await open_archive(connection, folder, KeyRing.of(broker_settings().anchor_keys))
    if folder is not None and archive.problems:
        raise ConfigurationError(next(iter(archive.problems.values())))
    return await restore_lost_claims(connection, archive), await check_claims(connection, archive)
