"""`perennial effects`: what waits to be done, doing it now, and settling what only a person can."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID, uuid4

import typer
from pydantic import ValidationError
from rich.table import Column, Table
from rich.text import Text
from typer.core import TyperCommand

from schemas.envelope import utc_text
from services.cli.clock.now import now
from services.cli.connections import connect
from services.cli.moments import moment
from services.cli.tables import print_table
from services.cli.words import counted
from services.runtime.flow.operator.effect_table import (
    ClosedRequest,
    EffectRow,
    EffectTable,
    RetryAnswer,
)
from services.runtime.plain_words import problems_of
from services.runtime.processor import Settlement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.runtime.effect_definition import EffectDefinition

EXIT_NOT_DONE: Final = 1
EXIT_USAGE: Final = 2
_POLLS_PER_SECOND: Final = 5

app = typer.Typer(help="What the services do outside: charges, emails.", no_args_is_help=True)
Service = Annotated[str, typer.Option("--service", "-s", help="orders or notifier")]
EffectId = Annotated[str, typer.Argument(help="As `perennial effects list` shows it.")]
By = Annotated[str, typer.Option("--by", help="Who settles it: a login, not an address.")]
Reason = Annotated[str, typer.Option("--reason", help="How it is known; kept as an event.")]
Outcome = Annotated[
    str, typer.Option("--outcome", help="What became of it; see below for each kind.")
]
Gateway = Annotated[
    str | None, typer.Option("--gateway", help="Where the money moved, if that is needed.")
]
Provider = Annotated[
    str | None, typer.Option("--provider", help="Where the plan is active, if that is needed.")
]
Reference = Annotated[
    str | None,
    typer.Option(
        "--reference",
        help="The id at the other side: of the transaction, the order, the refund, the message.",
    ),
]
At = Annotated[
    datetime | None,
    typer.Option("--at", parser=moment, metavar="MOMENT", help="When it happened (default: now)."),
]


@app.command("list")
def list_(
    service: Service = "orders",
    held: Annotated[
        bool, typer.Option("--held", help="Those too that wait for something else to happen.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the effects that wait or run, oldest first."""
    rows = asyncio.run(_listed(service, limit, held=held))
    if as_json:
        typer.echo(json.dumps([_data(row) for row in rows], indent=2))
        return
    print_table(_table(rows, now()))
    typer.echo(f"{counted(len(rows), 'effect')} of {service}")


@app.command()
def retry(effect_id: EffectId, service: Service = "orders") -> None:
    """Have the running service do a waiting effect now. It looks up first what it did before."""
    answer = asyncio.run(_retried(service, effect_id))
    typer.echo(f"{effect_id}: {answer}", err=answer is not RetryAnswer.DUE_NOW)
    if answer is not RetryAnswer.DUE_NOW:
        raise typer.Exit(EXIT_NOT_DONE)


def definitions() -> dict[str, Sequence[EffectDefinition[Any, Any, Any]]]:
    """Return the effects that each service defines, by its name."""
    # The services take a while to import, and only who asks what may be said needs them.
    from services.notifier import effects as notifier  # noqa: PLC0415
    from services.orders import effects as orders  # noqa: PLC0415

    return {"orders": orders.EFFECTS, "notifier": notifier.EFFECTS}


class SettleCommand(TyperCommand):
    """Its help ends with what may be said of each kind, as the services define it."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002 - as click has it
        """Write the outcomes of each kind, with the options that they need."""
        for service, effects in definitions().items():
            with formatter.section(f"Outcomes of effects of {service}"):
                formatter.write_dl([(each.kind, each.described()) for each in effects])


@app.command(cls=SettleCommand)
def settle(  # noqa: PLR0913, PLR0917 - each is an option of the command
    effect_id: EffectId,
    by: By,
    reason: Reason,
    outcome: Outcome,
    gateway: Gateway = None,
    provider: Provider = None,
    reference: Reference = None,
    at: At = None,
    service: Service = "orders",
    wait_seconds: Annotated[int, typer.Option(min=1, help="How long to wait for the answer.")] = 30,
) -> None:
    """Settle an effect as a person found it: what became of it, who says so, and how it is known.

    The running service decides it, between two attempts.
    """
    settlement = _settlement(
        outcome=outcome,
        by=by,
        reason=reason,
        gateway=gateway,
        provider=provider,
        reference=reference,
        at=at,
    )
    _show(effect_id, service, asyncio.run(_settled(service, effect_id, settlement, wait_seconds)))


def _settlement(**said: Any) -> Settlement:  # noqa: ANN401 - what the person typed
    try:
        return Settlement(**said)
    except ValidationError as error:
        wrong = ", ".join(
            f"--{problem['loc'][0]} {problem['msg']}" for problem in problems_of(error)
        )
        typer.echo(f"not asked: {wrong}", err=True)
        raise typer.Exit(EXIT_USAGE) from None


def _show(effect_id: str, service: str, answer: ClosedRequest | None) -> None:
    if answer is None:
        message = (
            f"{effect_id}: no answer yet; the request waits for {service} to run, and for the end "
            "of the attempt when the effect is running"
        )
        typer.echo(message, err=True)
        raise typer.Exit(EXIT_NOT_DONE)
    typer.echo(f"{effect_id}: {answer.closed_as} ({answer.note})")
    if answer.closed_as != "applied":
        raise typer.Exit(EXIT_NOT_DONE)


async def _listed(service: str, limit: int, *, held: bool) -> list[EffectRow]:
    async with connect(service) as connection:
        return list(await EffectTable(connection).listed(include_held=held, limit=limit))


async def _retried(service: str, effect_id: str) -> RetryAnswer:
    async with connect(service) as connection:
        return await EffectTable(connection).retry(effect_id)


async def _settled(
    service: str, effect_id: str, settlement: Settlement, wait_seconds: int
) -> ClosedRequest | None:
    request_id: UUID = uuid4()
    async with connect(service) as connection:
        table = EffectTable(connection)
        if not await table.ask(request_id, effect_id, settlement):
            return ClosedRequest("refused", RetryAnswer.FINISHED)
        for _ in range(wait_seconds * _POLLS_PER_SECOND):
            if answer := await table.answer(request_id):
                return answer
            await asyncio.sleep(1 / _POLLS_PER_SECOND)
    return None


def _table(rows: list[EffectRow], now: datetime) -> Table:
    table = Table(
        Column("effect", overflow="fold"),
        "state",
        Column("age", justify="right"),
        Column("due in", justify="right"),
        Column("attempts", justify="right"),
        Column("stream", overflow="fold"),
        Column("account", overflow="fold"),
        Column("trouble", overflow="fold"),
    )
    for row in rows:
        due = "" if row.due_at is None else f"{int((row.due_at - now).total_seconds())} s"
        table.add_row(
            Text(row.effect_id),
            row.state,
            f"{int((now - row.started_at).total_seconds())} s",
            due,
            str(row.attempt),
            Text(row.stream_id),
            Text(row.account_id),
            Text(row.trouble or ""),
        )
    return table


def _data(row: EffectRow) -> dict[str, Any]:
    return {
        "effect_id": row.effect_id,
        "kind": row.kind,
        "state": row.state,
        "stream_id": row.stream_id,
        "account_id": row.account_id,
        "started_at": utc_text(row.started_at),
        "due_at": utc_text(row.due_at) if row.due_at else None,
        "attempts": row.attempt,
        "checkpoint": row.checkpoint,
        "trouble": row.trouble,
    }
