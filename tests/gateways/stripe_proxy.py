"""Stands before localstripe: makes trouble as it is told, and does what of Stripe that one lacks.

It remembers idempotency keys, filters lists by time, knows parameters that localstripe refuses, and
asks for the customer's agreement as Stripe does: off-session by an error, then on a page of its own.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from deploy.local.ports import HOST

Pairs = list[tuple[str, str]]
_UNKNOWN_TO_LOCALSTRIPE: Final = (
    *("allowed_payment_method_types", "return_url", "cancellation_reason"),
)
_ALL: Final = 100_000
_NOT_AGREED: Final = {"code": "authentication_required", "decline_code": "authentication_required"}


class Trouble(StrEnum):
    """What becomes of one POST."""

    DOWN = "answered 503, nothing done"
    CUT_BEFORE = "cut, nothing done"
    CUT_AFTER = "done, then cut"
    SLOW = "done, answered too late"
    LATE = "answered too late, done even later"
    TWICE = "delivered twice"
    ERROR_AFTER = "done, answered with an error"
    GARBAGE_AFTER = "done, answered with rubbish"


class Answer(NamedTuple):
    """A status and a body."""

    status: int
    body: bytes


class StripeProxy:
    """A second address of localstripe. `troubles` are used up, one for each POST."""

    def __init__(self, target: str, clock: Callable[[], datetime], patience: float) -> None:
        """Know the server, what time it is, and after how many seconds nobody waits any more."""
        self.troubles: deque[Trouble | None] = deque()
        self.look_ups_are_down = False
        self.refuses_refunds_as: str | None = None
        self.patience = patience
        self._clock = clock
        self._upstream = httpx.Client(base_url=target, trust_env=False)
        self._known: dict[str, tuple[bytes, Answer]] = {}
        self._created: dict[str, int] = {}
        self._shown: set[str] = set()
        self._lock = threading.Lock()
        self._late: list[threading.Timer] = []
        self._upstream.delete("/_config/data")

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Yield the address."""
        with ThreadingHTTPServer((HOST, 0), self._handler()) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield f"http://{HOST}:{server.server_port}"
            finally:
                self.arrive()
                server.shutdown()
                thread.join(10)
                self._upstream.close()

    def arrive(self) -> None:
        """Let everything be done that is still under way."""
        for timer in self._late:
            timer.join(10)
        self._late.clear()

    def held(self, what: str) -> list[dict[str, Any]]:
        """Return everything of a kind that there really is."""
        answer = self._upstream.get(f"/v1/{what}?limit={_ALL}", headers=AUTHORIZED)
        objects: list[dict[str, Any]] = answer.json()["data"]
        return objects

    def save_card(self, number: str) -> str:
        """Save a card for a new customer, as the shop does; return the token to charge."""
        customer = self.post("/v1/customers")["id"]
        card = {"number": number, "exp_month": "12", "exp_year": "2030", "cvc": "123"}
        details = {f"card[{name}]": value for name, value in card.items()}
        method = self.post("/v1/payment_methods", type="card", **details)["id"]
        self.post(f"/v1/payment_methods/{method}/attach", customer=customer)
        return f"{customer}-{method}"

    def charged(self) -> list[str]:
        """Return which payments money was really taken for, each as often as it was."""
        intents = self.held("payment_intents")
        return sorted(
            each["metadata"]["payment_id"] for each in intents if each["status"] == "succeeded"
        )

    def refunded(self) -> list[str]:
        """Return which payments really went back, each as often as they did."""
        return sorted(each["metadata"]["payment_id"] for each in self.held("refunds"))

    def agree(self, intent_id: str, *, success: bool = True) -> None:
        """Be the customer on the page: agree, or fail to."""
        assert intent_id in self._shown, "the customer was shown no page"
        secret = self._upstream.get(f"/v1/payment_intents/{intent_id}", headers=AUTHORIZED)
        params = {"client_secret": secret.json()["client_secret"], "success": str(success).lower()}
        self.post(f"/v1/payment_intents/{intent_id}/_authenticate", **params)

    def post(self, path: str, **params: str) -> dict[str, Any]:
        """Ask localstripe for something past the proxy."""
        answer = self._upstream.post(path, data=params, headers=AUTHORIZED)
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def act(self, trouble: Trouble | None, path: str, body: bytes, key: str) -> Answer | None:
        """Do what is asked for and what is to go wrong; None: the connection is cut."""
        match trouble:
            case None:
                return self._do(path, body, key)
            case Trouble.DOWN:
                return Answer(503, b'{"error": {"type": "api_error"}}')
            case Trouble.CUT_BEFORE:
                return None
            case Trouble.LATE:
                late = threading.Timer(2 * self.patience, self._do, (path, body, key))
                late.start()
                self._late.append(late)
                time.sleep(1.5 * self.patience)
                return None
            case Trouble.TWICE:
                with ThreadPoolExecutor(2) as pool:
                    first, second = pool.map(lambda _: self._do(path, body, key), range(2))
                assert first == second
                return first
            case _:
                answer = self._do(path, body, key)
                if trouble is Trouble.SLOW:
                    time.sleep(1.5 * self.patience)
                    return answer
                broken = {
                    Trouble.ERROR_AFTER: Answer(500, b'{"error": {"type": "api_error"}}'),
                    Trouble.GARBAGE_AFTER: Answer(200, b'{"object": "payment_intent"}'),
                }
                return broken.get(trouble)

    def read(self, path: str) -> Answer:
        """Answer a GET."""
        if self.look_ups_are_down:
            return Answer(503, b'{"error": {"type": "api_error"}}')
        parts = urlsplit(path)
        if parts.path == "/v1/payment_intents":
            return self._listed(dict(parse_qsl(parts.query)))
        answer = self._upstream.get(path, headers=AUTHORIZED)
        return Answer(answer.status_code, self._as_stripe_says(answer.content))

    def _do(self, path: str, body: bytes, key: str) -> Answer:
        """Do something once per key."""
        if path == "/v1/refunds" and self.refuses_refunds_as:
            error = {"type": "invalid_request_error", "code": self.refuses_refunds_as}
            return Answer(400, json.dumps({"error": error}).encode())
        with self._lock:
            if key in self._known:
                asked, answer = self._known[key]
                same = Answer(400, b'{"error": {"type": "idempotency_error"}}')
                return answer if asked == body else same
            answer = self._forward(path, parse_qsl(body.decode()))
            self._known[key] = body, answer
            return answer

    def _forward(self, path: str, params: Pairs) -> Answer:
        if path.endswith("/confirm"):
            return self._show_page(path)
        understood = [pair for pair in params if not pair[0].startswith(_UNKNOWN_TO_LOCALSTRIPE)]
        before = {each["id"] for each in self.held("payment_intents")}
        done = self._upstream.post(path, content=urlencode(understood), headers=FORM)
        for each in self.held("payment_intents"):
            if each["id"] not in before:
                self._created[each["id"]] = int(self._clock().timestamp())
        told = json.loads(self._as_stripe_says(done.content))
        if ("off_session", "true") in params and told.get("last_payment_error") == _NOT_AGREED:
            error = _NOT_AGREED | {"type": "card_error", "payment_intent": told}
            return Answer(402, json.dumps({"error": error}).encode())
        return Answer(done.status_code, json.dumps(told).encode())

    def _show_page(self, path: str) -> Answer:
        """Let the customer agree on a page: localstripe waits for that already."""
        self._shown.add(path.split("/")[3])
        return self.read(path.removesuffix("/confirm"))

    def _as_stripe_says(self, content: bytes) -> bytes:
        """Return a PaymentIntent that waits for the customer as Stripe shows it."""
        told = json.loads(content)
        if told.get("status") == "requires_action":
            if told["id"] in self._shown:
                page = {"url": f"https://hooks.stripe.example/{told['id']}", "return_url": "x"}
                told["next_action"] = {"type": "redirect_to_url", "redirect_to_url": page}
            else:
                told |= {"status": "requires_payment_method", "next_action": None}
                told["last_payment_error"] = _NOT_AGREED
        return json.dumps(told).encode()

    def _listed(self, query: dict[str, str]) -> Answer:
        """List what was created in the time that is asked for, a page at a time, newest first."""
        since = int(query.get("created[gte]", 0))
        until = int(query.get("created[lte]", 2**40))
        found = [
            each
            for each in reversed(self.held("payment_intents"))
            if since <= self._created.get(each["id"], since) <= until
        ]
        ids = [each["id"] for each in found]
        first = ids.index(query["starting_after"]) + 1 if "starting_after" in query else 0
        last = first + int(query.get("limit", 10))
        page = {"object": "list", "data": found[first:last], "has_more": last < len(found)}
        return Answer(200, json.dumps(page).encode())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(proxy.read(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                key = self.headers["idempotency-key"]
                trouble = proxy.troubles.popleft() if proxy.troubles else None
                answer = proxy.act(trouble, self.path, body, key)
                if answer is None:
                    self.close_connection = True
                else:
                    self._reply(answer)

            def _reply(self, answer: Answer) -> None:
                try:
                    self.send_response(answer.status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(answer.body)))
                    self.end_headers()
                    self.wfile.write(answer.body)
                except OSError:
                    self.close_connection = True  # nobody waited

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


GOOD, DECLINED, ASKING = "4242424242424242", "4000000000000341", "4000002760003184"
"""Cards that localstripe knows: one is charged, one declined, one needs the customer's agreement."""
API_KEY: Final = "sk_test_perennial"
AUTHORIZED: Final = {"authorization": f"Bearer {API_KEY}"}
FORM: Final = AUTHORIZED | {"content-type": "application/x-www-form-urlencoded"}
