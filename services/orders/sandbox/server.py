"""The sandbox gateway and provider over HTTP, so that a test can kill them as a process."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.orders.payments.gateways.gateway import Charge, ChargeReference, Refund
from services.orders.payments.gateways.sandbox import CustomerPayment, SandboxGateway
from services.orders.renewals.providers.provider import EsimProvider, PlanOrder

_STATUS: Final = {
    "not_found": 404,
    "unavailable": 503,
    "outcome_unknown": 504,
    "not_supported": 501,
}


def sandbox_app(gateway: SandboxGateway, provider: EsimProvider) -> Starlette:
    """Return the application: POST asks, GET looks up, the body's `outcome` is the answer."""

    async def alive(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            *_charges(gateway),
            *_payments(gateway),
            *_top_ups(provider),
            Route("/livez", alive),
        ],
        exception_handlers={ValidationError: _malformed},
    )


def _charges(gateway: SandboxGateway) -> list[Route]:
    async def charge(request: Request) -> Response:
        return _answer(await gateway.charge(Charge.model_validate_json(await request.body())))

    async def charge_look_up(request: Request) -> Response:
        reference = ChargeReference(payment_id=request.path_params["key"])
        return _answer(await gateway.look_up_charge(reference))

    async def charge_cancel(request: Request) -> Response:
        reference = ChargeReference(payment_id=request.path_params["key"])
        return _answer(await gateway.cancel_charge(reference))

    return [
        Route("/charges", charge, methods=["POST"]),
        Route("/charges/{key}", charge_look_up),
        Route("/charges/{key}/cancel", charge_cancel, methods=["POST"]),
    ]


def _payments(gateway: SandboxGateway) -> list[Route]:
    async def pay(request: Request) -> Response:
        gateway.pay(CustomerPayment.model_validate_json(await request.body()))
        return JSONResponse({"status": "paid"})

    async def transaction_look_up(request: Request) -> Response:
        names = request.path_params
        return _answer(await gateway.look_up_transaction(names["gateway"], names["key"]))

    async def refund(request: Request) -> Response:
        return _answer(await gateway.refund(Refund.model_validate_json(await request.body())))

    async def refund_look_up(request: Request) -> Response:
        return _answer(gateway.known_refund(request.path_params["key"]))

    return [
        Route("/transactions", pay, methods=["POST"]),
        Route("/transactions/{gateway}/{key}", transaction_look_up),
        Route("/refunds", refund, methods=["POST"]),
        Route("/refunds/{key}", refund_look_up),
    ]


def _top_ups(provider: EsimProvider) -> list[Route]:
    async def top_up(request: Request) -> Response:
        return _answer(await provider.top_up(PlanOrder.model_validate_json(await request.body())))

    async def top_up_look_up(request: Request) -> Response:
        return _answer(await provider.look_up(request.path_params["key"]))

    return [
        Route("/top-ups", top_up, methods=["POST"]),
        Route("/top-ups/{key}", top_up_look_up),
    ]


def _answer(outcome: BaseModel) -> Response:
    body = outcome.model_dump(mode="json", exclude_none=True)
    return JSONResponse(body, status_code=_STATUS.get(body["outcome"], 200))


def _malformed(_request: Request, _error: Exception) -> Response:
    detail = "the body is not a valid request: see docs/SANDBOX.md"
    return JSONResponse({"detail": detail}, status_code=422)
