"""A stand-in for Stripe on loopback: it answers like the API and signs events like it."""

import hashlib
import hmac
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

SECRET_KEY = "sk_test_only_for_tests_0123456789"
WEBHOOK_SECRET = "whsec_only-for-tests-0123456789-0123456789"


class StripeStandIn:
    """Creates Checkout Sessions; a repeated idempotency key is answered with the same session."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[dict[str, str]] = []  # every form, with its headers that matter
        self.sessions: dict[str, dict[str, Any]] = {}  # by idempotency key
        self.refusals: list[int] = []  # the statuses of the next answers
        self.prefix = "cs_test_"  # of its sessions' ids: two stand-ins beside one database need one each

    def answer(self, headers: dict[str, str], form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.requests.append({**form, **headers})
        if self.refusals:
            return self.refusals.pop(0), {"error": {"type": "api_error", "message": "a card number, perhaps"}}
        key = headers["idempotency-key"]
        made = {"id": f"{self.prefix}{len(self.sessions)}", "object": "checkout.session", "form": form}
        session = self.sessions.setdefault(key, {**made, "url": f"https://checkout.example/c/pay/{made['id']}"})
        if session["form"] != form:
            return 400, {"error": {"type": "idempotency_error"}}
        return 200, session

    def event(
        self,
        purchase: dict[str, Any],
        kind: str = "checkout.session.completed",
        *,
        checkout: str | None = None,
        **changed: Any,
    ) -> bytes:
        """Return Stripe's event for a purchase. `checkout`: the id of another session than the purchase's own."""
        session = {
            "id": checkout or self.sessions[purchase["purchaseId"]]["id"],
            "object": "checkout.session",
            "client_reference_id": purchase["purchaseId"],
            "payment_intent": f"pi_{checkout or self.sessions[purchase['purchaseId']]['id']}",
            "payment_status": "paid",
            "amount_total": purchase["priceCents"],
            "currency": purchase["currency"].lower(),
            "customer_details": {"email": "somebody@example.org"},
        }
        event = {"id": "evt_1", "object": "event", "type": kind, "livemode": False}
        for name, value in changed.items():
            (event if name in event else session)[name] = value
        return json.dumps({**event, "data": {"object": session}}).encode()

    def refund(
        self, purchase: dict[str, Any], cents: int = 699, *, checkout: str | None = None, **changed: Any
    ) -> bytes:
        """Return Stripe's event for a charge that was refunded in part or as a whole."""
        session_id = checkout or self.sessions[purchase["purchaseId"]]["id"]
        charge = {
            "id": f"ch_{session_id}",
            "object": "charge",
            "payment_intent": f"pi_{session_id}",
            "metadata": {"purchase_id": purchase["purchaseId"]},
            "amount": purchase["priceCents"],
            "amount_refunded": cents,
            "currency": purchase["currency"].lower(),
            "status": "succeeded",
        }
        event = {"id": "evt_refund", "object": "event", "type": "charge.refunded"}
        return json.dumps({**event, "data": {"object": {**charge, **changed}}}).encode()

    def dispute(self, purchase: dict[str, Any], step: str = "created", status: str = "needs_response") -> bytes:
        """Return Stripe's event for a chargeback, which names only the payment."""
        session_id = self.sessions[purchase["purchaseId"]]["id"]
        dispute = {
            "id": f"dp_{session_id}",
            "object": "dispute",
            "charge": f"ch_{session_id}",
            "payment_intent": f"pi_{session_id}",
            "metadata": {},
            "amount": purchase["priceCents"],
            "currency": purchase["currency"].lower(),
            "status": status,
        }
        event = {"id": f"evt_{step}", "object": "event", "type": f"charge.dispute.{step}"}
        return json.dumps({**event, "data": {"object": dispute}}).encode()


def signature(raw: bytes, at: float, secret: str = WEBHOOK_SECRET) -> str:
    """Return the value of a `Stripe-Signature` header."""
    digest = hmac.new(secret.encode(), f"{int(at)}.".encode() + raw, hashlib.sha256).hexdigest()
    return f"t={int(at)},v1={digest},v0=0123456789abcdef"


@contextmanager
def stripe_stand_in() -> Iterator[StripeStandIn]:
    stand_in = StripeStandIn()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            known = ("authorization", "idempotency-key", "content-type", "stripe-version")
            headers = {name.lower(): value for name, value in self.headers.items() if name.lower() in known}
            with lock:
                status, answer = stand_in.answer({"path": self.path, **headers}, dict(parse_qsl(body.decode())))
            raw = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    lock = threading.Lock()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stand_in.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield stand_in
        finally:
            server.shutdown()
            thread.join()
