"""An order that is taken back gets the very request that it accepted, and nobody else's token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final
from uuid import UUID

from schemas.orders import RenewalAccepted
from schemas.requests import RenewalRequested
from services.orders.order.identities import request_digest
from services.orders.restoration import accepted_request, requests_of
from services.runtime.log.event_log import StoredEvent
from tests.unit.orders.builders import NOW, by_token, renewal
from tests.unit.runtime.toy import Record

EXAMPLES: Final = Path(__file__).parents[4] / "schemas" / "examples"
ID: Final = UUID("00000000-0000-4000-8000-000000000001")
SALT: Final = "a salt of these tests"


def record(offset: int, asked: RenewalRequested, source: str = "/upstream/app") -> Record:
    """Return a request as it lies on the topic, with the one id that all of them bear."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(ID),
        "ce_source": source,
        "ce_type": asked.wire_type(),
        "ce_time": "2026-11-20T08:00:00Z",
        "content-type": "application/json",
    }
    return Record(
        "billing.requests.v1",
        0,
        offset,
        asked.account_id.encode(),
        asked.body(),
        [(name, value.encode()) for name, value in headers.items()],
    )


def accepted_event(request: RenewalRequested) -> RenewalAccepted:
    """Return the event by which orders accepted `request`."""
    example = json.loads((EXAMPLES / "RenewalAccepted" / "v1.json").read_text(encoding="utf-8"))
    event = RenewalAccepted.parse(json.dumps(example["data"]).encode())
    digest = request_digest(request, SALT)
    return event.model_copy(update={"account_id": request.account_id, "request_digest": digest})


def token_for(accepted: RenewalRequested, *on_topic: RenewalRequested) -> str | None:
    """Return the token with which an order goes on that `accepted` made."""
    event = accepted_event(accepted)
    stored = StoredEvent(
        shard=0,
        position=1,
        stream_id=f"order/{accepted.renewal_id}",
        stream_version=1,
        event_id=ID,
        source="/billing/orders",
        type=event.wire_type(),
        sequence=1,
        account_id=accepted.account_id,
        correlation_id="c",
        causation_id=ID,
        traceparent=None,
        occurred_at=NOW,
        recorded_at=NOW,
        body=event.body(),
    )
    requests = requests_of(record(n, each, f"/upstream/app-{n}") for n, each in enumerate(on_topic))
    found = accepted_request([stored], [event], requests, SALT)
    return None if found is None else found.payment.token


def test_request_of_another_source_with_the_same_id_is_never_taken() -> None:
    mine, theirs = renewal(payment=by_token("tok_mine")), renewal(payment=by_token("tok_theirs"))
    assert token_for(mine, mine) == "tok_mine"
    assert token_for(mine, theirs, mine) == "tok_mine"
    assert token_for(mine, theirs) is None


def test_request_of_another_account_or_order_with_the_same_id_is_never_taken() -> None:
    mine = renewal(payment=by_token("tok_mine"))
    others = [renewal(account_id="acct-99"), renewal(renewal_id="rnw-99")]
    assert token_for(mine, *others) is None
    assert token_for(mine, *others, mine) == "tok_mine"
