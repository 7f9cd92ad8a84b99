"""`perennial sandbox`: pay and give back as the app's gateway that the sandbox is; empty the sandbox."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from pydantic import ValidationError

from schemas.confirmations import PaymentConfirmed, RefundConfirmed, RefundInstructed
from schemas.envelope import name_based_uuid, utc_text
from schemas.money import Money
from schemas.orders import RenewalAccepted, TopUpAccepted
from schemas.requests import PaymentMethod
from services.cli.addresses import stack_file
from services.cli.clock.now import now
from services.cli.connections import connect
from services.cli.words import counted
from services.orders.payments.gateways.sandbox import CustomerPayment, SandboxGateway
from services.orders.sandbox_journal import GATEWAY_JOURNAL, PROVIDER_JOURNAL, SandboxJournal
from services.runtime.environment import VARIABLE
from services.runtime.errors import ConfigurationError
from services.runtime.plain_words import problems_of

EXIT_UNKNOWN: Final = 1
_NAMESPACE: Final = UUID("5f0f6a0d-3f39-5d0b-9a0f-0c1a3b6f2e71")
_FOLDER: Final = "PERENNIAL_ORDERS_SANDBOX_JOURNAL_FOLDER"
_ACCEPTED: Final = (
    "SELECT type, body FROM event WHERE stream_id = ANY($1::text[]) AND type = ANY($2::text[])"
)
_SOURCE: Final = "/gateway/sandbox"
_TIMEOUT_SECONDS: Final = 30

app = typer.Typer(help="The sandbox: its gateway has no money.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Act as the customer of the sandbox, and empty it."""


@app.command()
def pay(  # noqa: PLR0913 - each is an option of the command
    order_id: Annotated[str, typer.Argument(help="A renewal_id or topup_id that was accepted.")],
    *,
    amount_minor: Annotated[
        int | None, typer.Option(min=0, help="Another amount than the order costs.")
    ] = None,
    gateway: Annotated[str, typer.Option(help="The name of the app's gateway.")] = "app",
    transaction: Annotated[
        str | None,
        typer.Option(help="The gateway's id of it; without, the same one for the same order."),
    ] = None,
    hint: Annotated[
        bool, typer.Option("--hint/--no-hint", help="Whether the gateway's side says so.")
    ] = True,
    journal_folder: Annotated[
        Path | None, typer.Option(help=f"Of the sandbox; else ${_FOLDER}, else that of `make up`.")
    ] = None,
) -> None:
    """Have the sandbox hold a payment under an order's reference, and send the hint of it.

    Paid twice under one transaction, it is held once. See docs/SANDBOX.md.
    """
    accepted, folder = _accepted_order(order_id), _existing_folder(journal_folder)
    try:
        payment = _payment(accepted, gateway, transaction, amount_minor)
    except ValidationError as error:
        message = ", ".join(f"{wrong['loc'][0]} {wrong['msg']}" for wrong in problems_of(error))
        raise ConfigurationError(message) from None
    with closing(SandboxJournal(folder / GATEWAY_JOURNAL)) as journal:
        SandboxGateway(journal, now, 0, 0).pay(payment)
    if hint:
        asyncio.run(_say(accepted, payment))
    told = "and its hint is sent" if hint else "and nobody is told"
    typer.echo(
        f"{payment.gateway} holds {payment.amount} of {payment.reference} as "
        f"{payment.gateway_txn_id}, {told}"
    )


def _accepted_order(order_id: str) -> RenewalAccepted | TopUpAccepted:
    accepted = asyncio.run(_accepted(order_id))
    if accepted is None:
        typer.echo(f"orders accepted no {order_id}: was it published, and consumed?", err=True)
        raise typer.Exit(EXIT_UNKNOWN)
    return accepted


def _existing_folder(folder: Path | None) -> Path:
    chosen = folder or _sandbox_folder()
    if not chosen.is_dir():
        message = f"{chosen} is no folder: name that of the sandbox with --journal-folder"
        typer.echo(message, err=True)
        raise typer.Exit(EXIT_UNKNOWN)
    return chosen


@app.command()
def reset(
    journal_folder: Annotated[
        Path | None, typer.Option(help=f"Of the sandbox; else ${_FOLDER}, else that of `make up`.")
    ] = None,
) -> None:
    """Empty the journals of gateway and provider: they have charged and activated nothing then.

    Orders may run meanwhile. What it holds itself stays: a charge that it knows is not found there
    any more. Refused where PERENNIAL_ENVIRONMENT is not demo.
    """
    stack = _stack_folder()
    folder = journal_folder or _sandbox_folder()
    # The stack of `make up` is a demonstration by itself.
    of_stack = stack is not None and folder.resolve() == stack.resolve()
    environment = os.environ.get(VARIABLE) or ("demo" if of_stack else "production")
    if environment != "demo":
        message = f"set {VARIABLE}=demo to empty a sandbox that `make up` did not start"
        raise ConfigurationError(message)
    files = [folder / name for name in (GATEWAY_JOURNAL, PROVIDER_JOURNAL)]
    if not any(file.is_file() for file in files):
        typer.echo(f"{folder} holds no journal: nothing was emptied", err=True)
        raise typer.Exit(EXIT_UNKNOWN)
    for file in files:
        with closing(SandboxJournal(file)) as journal, journal.locked():
            typer.echo(f"{file}: {counted(journal.empty(), 'entry', 'entries')} forgotten")


@app.command()
def refund(
    order_id: Annotated[str, typer.Argument(help="A renewal_id with money to give back.")],
) -> None:
    """Say as the shop's gateway that it gave back what orders instructed it to (RefundInstructed).

    The references are made up: behind the app's gateway of the sandbox there is no money.
    """
    instructed = asyncio.run(_instructed(order_id))
    if not instructed:
        message = f"orders asked for no refund of {order_id}: see `perennial orders show`"
        typer.echo(message, err=True)
        raise typer.Exit(EXIT_UNKNOWN)
    asyncio.run(_send([_given_back(each) for each in instructed]))
    for each in instructed:
        typer.echo(f"{each.gateway} gave {each.amount} of {each.gateway_txn_id} back, and says so")


def _sandbox_folder() -> Path:
    if named := os.environ.get(_FOLDER):
        return Path(named)
    return _stack_folder() or Path(".perennial/sandbox")


def _stack_folder() -> Path | None:
    file = stack_file()
    named = json.loads(file.read_text()).get("sandbox_folder") if file else None
    return Path(named) if named else None


async def _accepted(order_id: str) -> RenewalAccepted | TopUpAccepted | None:
    types: dict[str, type[RenewalAccepted | TopUpAccepted]] = {
        RenewalAccepted.wire_type(): RenewalAccepted,
        TopUpAccepted.wire_type(): TopUpAccepted,
    }
    async with connect("orders") as connection:
        streams = [f"order/{order_id}", f"topup/{order_id}"]
        row = await connection.fetchrow(_ACCEPTED, streams, list(types))
    return types[row["type"]].parse(row["body"]) if row else None


def _payment(
    accepted: RenewalAccepted | TopUpAccepted,
    gateway: str,
    transaction: str | None,
    amount_minor: int | None,
) -> CustomerPayment:
    if isinstance(accepted, RenewalAccepted):
        reference, price = f"order/{accepted.renewal_id}", accepted.quote.total
    else:
        reference, price = f"topup/{accepted.topup_id}", accepted.amount
    in_app = accepted.payment_method is not PaymentMethod.WALLET
    amount = price.amount_minor if amount_minor is None else amount_minor
    return CustomerPayment(
        gateway=gateway,
        gateway_txn_id=transaction or f"app-{name_based_uuid(_NAMESPACE, reference)}",
        reference=reference,
        method=accepted.payment_method if in_app else PaymentMethod.CARD,
        amount=Money(amount_minor=amount, currency=price.currency),
    )


async def _say(accepted: RenewalAccepted | TopUpAccepted, payment: CustomerPayment) -> None:
    kind, _, order_id = payment.reference.partition("/")
    said: dict[str, Any] = {
        "account_id": accepted.account_id,
        "renewal_id" if kind == "order" else "topup_id": order_id,
        "gateway": payment.gateway,
        "gateway_txn_id": payment.gateway_txn_id,
        "method": payment.method.value,
        "amount": payment.amount.model_dump(),
        "confirmed_at": utc_text(now()),
    }
    await _send([{"type": PaymentConfirmed.wire_type(), "data": said}])


async def _instructed(order_id: str) -> list[RefundInstructed]:
    async with connect("orders") as connection:
        streams, types = [f"order/{order_id}"], [RefundInstructed.wire_type()]
        rows = await connection.fetch(_ACCEPTED, streams, types)
    return [RefundInstructed.parse(row["body"]) for row in rows]


def _given_back(instructed: RefundInstructed) -> dict[str, Any]:
    data: dict[str, Any] = {
        "account_id": instructed.account_id,
        "renewal_id": instructed.renewal_id,
        "gateway": instructed.gateway,
        "gateway_txn_id": instructed.gateway_txn_id,
        "gateway_refund_ref": f"back-{name_based_uuid(_NAMESPACE, instructed.refund_id)}",
        "amount": instructed.amount.model_dump(),
        "refunded_at": utc_text(now()),
    }
    return {"type": RefundConfirmed.wire_type(), "data": data}


async def _send(rows: Sequence[dict[str, Any]]) -> None:
    # The client of Kafka takes longer to import than to see that the order is not there.
    from services.cli.broker import admitted, broker_settings  # noqa: PLC0415
    from services.upstream.delivery import deliver  # noqa: PLC0415
    from services.upstream.receipts import DeliveryReceipt  # noqa: PLC0415
    from services.upstream.requests import checked_request  # noqa: PLC0415

    receipts = [
        DeliveryReceipt(checked_request(number, row, source=_SOURCE))
        for number, row in enumerate(rows, 1)
    ]
    settings = await admitted(broker_settings())
    await deliver(settings, receipts, timeout_seconds=_TIMEOUT_SECONDS)
