"""`perennial recover`: publish a log again, or read a topic again, after the broker lost something."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.table import Table

from schemas.registry import Topic
from schemas.topics import TOPICS, source_of
from services.cli.addresses import SERVICES
from services.cli.connections import connect
from services.cli.recovery.adopt import adopt_command
from services.cli.recovery.claims import claims_command
from services.cli.tables import print_table
from services.cli.words import counted
from services.runtime.errors import ConfigurationError
from services.runtime.recovery.positions import (
    Move,
    Republishing,
    move_cursors,
    plan_moves,
    plan_republishing,
)
from services.runtime.recovery.positions import republish as start_over

POSITION_MAX: Final = (1 << 63) - 1
_BEGINNING: Final = re.compile(r"(?:([0-9]{1,9}):)?([0-9]{1,19})")
app = typer.Typer(
    help=(
        "After a topic was made again, a broker moved, or a database restored. Without --yes, "
        "the commands only say what they would do. See docs/OPERATIONS.md."
    ),
    no_args_is_help=True,
)
app.command("adopt")(adopt_command)
app.command("claims")(claims_command)
Service = Annotated[str, typer.Argument(help="orders, ledger or notifier")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")]


class Beginning(NamedTuple):
    """Where one shard begins, or all that are not named."""

    shard: int | None
    position: int


def _beginning(text: str) -> Beginning:
    found = _BEGINNING.fullmatch(text)
    shard, position = (found[1], int(found[2])) if found else (None, 0)
    if not 1 <= position <= POSITION_MAX:
        message = f"{text!r} is neither POSITION nor SHARD:POSITION; positions begin at 1"
        raise typer.BadParameter(message)
    return Beginning(None if shard is None else int(shard), position)


def _firsts(beginnings: Iterable[Beginning]) -> Mapping[int | None, int]:
    firsts: dict[int | None, int] = {}
    for shard, position in beginnings:
        if shard in firsts:
            _refuse(
                "name one position for all shards that are not named"
                if shard is None
                else f"shard {shard} is named twice: name one position of it"
            )
        firsts[shard] = position
    return firsts


@app.command()
def republish(
    service: Service,
    from_position: Annotated[
        list[Any] | None,
        typer.Option(
            parser=_beginning,
            metavar="[SHARD:]POSITION",
            help=(
                "First position to publish again, of one shard or of all that are not named; may be "
                "repeated. When only shards are named, the others are left alone."
            ),
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Have a stopped service publish its events again: same order, same bytes, same headers.

    It does so when it starts. Consumers that have an event already ignore it.
    """
    _known(service)
    first = _firsts(from_position or [Beginning(None, 1)])
    plan = asyncio.run(_republish(service, first, yes=yes))
    table = Table("shard", "after position", "to position", "events")
    for each in plan:
        table.add_row(*map(str, (each.shard, each.after_position, each.head_position, each.events)))
    _print(table)
    events = counted(sum(each.events for each in plan), "event")
    typer.echo(
        f"{service} publishes {events} again when it starts"
        if yes
        else f"{events} would be published again: stop {service}, then repeat with --yes"
    )


@app.command()
def reread(
    service: Service,
    topic: Annotated[str, typer.Argument(help="A topic that the service reads.")],
    partition: Annotated[
        int | None, typer.Option(min=0, help="One partition; all of them without.")
    ] = None,
    offset: Annotated[
        int | None, typer.Option(min=0, help="Where to read on; the oldest record without.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Have a stopped service read a topic again, as the topic is now.

    What the service has taken before is ignored when it comes again.
    """
    _known(service)
    read = _read_by(service, topic)
    if offset is not None and partition is None:
        _refuse("an offset belongs to one partition: name it with --partition")
    moves = asyncio.run(_reread(service, read.name, partition, offset, yes=yes))
    table = Table("topic", "partition", "next offset was", "becomes")
    for move in moves:
        was = "-" if move.was is None else move.was
        table.add_row(*map(str, (read.name, move.partition, was, move.becomes)))
    _print(table)
    typer.echo(
        f"{service} reads on from there when it starts"
        if yes
        else f"nothing was moved: stop {service}, then repeat with --yes"
    )


def _print(table: Table) -> None:
    print_table(table)


def _refuse(message: str) -> None:
    raise ConfigurationError(message)


def _known(service: str) -> None:
    if service not in SERVICES:
        _refuse(f"there is no service {service}: name {', '.join(SERVICES)}")


def _read_by(service: str, topic: str) -> Topic:
    reads = {each.name: each for each in TOPICS if service in each.groups}
    if topic not in reads:
        _refuse(f"{service} does not read {topic}: name {', '.join(reads)}")
    return reads[topic]


async def _republish(
    service: str, first: Mapping[int | None, int], *, yes: bool
) -> list[Republishing]:
    async with connect(service) as connection:
        plan = await plan_republishing(connection, source_of(service), first)
        if yes:
            await start_over(connection, service, plan)
        return plan


async def _reread(
    service: str, topic: str, partition: int | None, offset: int | None, *, yes: bool
) -> list[Move]:
    # Only this command needs Kafka, whose client takes longer to import than the others to run.
    from services.cli.broker import admitted, broker_settings  # noqa: PLC0415
    from services.runtime.kafka.topics.topic_bounds import bounds_of  # noqa: PLC0415
    from services.runtime.kafka.topics.topic_identity import identities  # noqa: PLC0415

    settings = await admitted(broker_settings())
    identity = (await identities(settings, [topic])).get(topic)
    if identity is None:
        message = f"topic {topic} does not exist: run `perennial setup`, then try again"
        raise ConfigurationError(message)
    bounds = await bounds_of(settings, topic)
    if partition is not None and partition not in bounds:
        _refuse(f"{topic} has partitions 0 to {max(bounds)}")
    wanted = bounds if partition is None else {partition: bounds[partition]}
    offsets = {each: first if offset is None else offset for each, (first, _) in wanted.items()}
    for each, (first, end) in wanted.items():
        if not first <= offsets[each] <= end:
            _refuse(f"{topic}/{each} holds the offsets {first} to {end}: choose one of them")
    async with connect(service) as connection:
        moves = await plan_moves(connection, topic, offsets)
        if yes:
            await move_cursors(connection, service, topic, moves, identity)
        return moves
