"""The log of a real server through a whole story: each request with its user and outcome, and no secret."""

import base64
import hashlib
import hmac
import json
import subprocess
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import OctKey

from server.config.secrets import read_secrets
from tests.storage.postgres_processes import bin_dir
from tests.support.clients import Phone, ring_and_join
from tests.support.processes import ServerProcess

JWT_SECRET = "planted-jwt-secret-0123456789-0123456789"
BILLING_SECRET = "planted-billing-secret-0123456789-012345"
PASSWORD = "planted-password"
EMAIL = "planted.person@example.org"
NAME, REASON = "Planted Name", "planted message text"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def planted_token(user: Phone, *, expired: bool = False, role: str = "") -> str:
    """A token whose claims hold an e-mail address, as Supabase's do."""
    claims = {"sub": str(user.user_id), "exp": int(time.time()) + (-5 if expired else 600), "email": EMAIL}
    claims |= {"app_metadata": {"role": role}} if role else {}
    return jws.serialize_compact({"alg": "HS256"}, json.dumps(claims), OctKey.import_key(JWT_SECRET))


def use(phone: Phone, token: str) -> str:
    phone.token = token
    phone.http.headers["Authorization"] = f"Bearer {token}"
    return token


@pytest.fixture
def address(dsn: str) -> str:
    """A database address with a password in it that nobody asks for."""
    parts = urlsplit(dsn)
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0] or 'postgres'}:{PASSWORD}@{host}"))


def test_the_log_of_a_whole_story_has_no_secret_in_it(address: str, tmp_path: Path) -> None:
    settings = {
        "DATABASE_URL": address,
        "HALFMINUTE_JWT_SECRET": JWT_SECRET,
        "BILLING_WEBHOOK_SECRET": BILLING_SECRET,
        "HALFMINUTE_LOG_LEVEL": "debug",
        "HALFMINUTE_CALLS_BLOCK_SECONDS": "1",
    }
    assert read_secrets(settings).database_url == address
    with ServerProcess(tmp_path / "data", settings=settings) as server:
        tokens = live_through_a_story(server)
        tokens.append(see_a_fault(server, address))
        server.terminate()
        assert server.wait_exit() == 0
    lines = [*server.out.all(), *server.errors.all()]
    whole = "\n".join(lines)
    secrets = (JWT_SECRET, BILLING_SECRET, PASSWORD, EMAIL, NAME, REASON, address, "planted", *tokens)
    assert [secret for secret in secrets if secret in whole] == []
    assert [part for token in tokens for part in token.split(".") if len(part) > 20 and part in whole] == []
    answered = server.logged("http.answered")
    assert {line["status"] for line in answered} >= {200, 201, 400, 401, 403, 404}
    assert all(line.keys() >= {"request_id", "method", "rule", "status", "ms"} for line in answered)
    assert [line["rule"] for line in answered if line["request_id"] == TRACE] == ["/api/wallet/ledger"]
    assert len(answered) >= 15
    (fault,) = server.logged("http.fault")
    assert "Failing row contains" not in fault["exception"] and "CheckViolationError" in fault["exception"]


def live_through_a_story(server: ServerProcess) -> list[str]:
    """Hold a call, tip, send valid and invalid webhooks and every wrong request; return the tokens used."""
    fans, creators, operator = (Phone(server.http_port, server.websocket_port) for _ in range(3))
    tokens = [use(phone, planted_token(phone)) for phone in (fans, creators)]
    tokens.append(use(operator, planted_token(operator, role="operator")))
    fans.http.get("/me")
    gift = {"userId": str(fans.user_id), "tokens": 100, "reason": REASON}
    assert operator.http.post("/admin/credits", json=gift).status_code == 201
    terms = {"rateTokensPerMin": 60, "displayName": NAME}
    assert creators.http.put("/creators/me", json=terms).status_code == 200
    with fans, creators:
        ring = ring_and_join(fans, creators)
        fans.wait_for("block:charged")
        _ask_wrongly(server, fans.http, tokens[0])
        _sweep(fans.http)
        fans.ask_ok({"type": "call:end", "callId": ring["callId"]})
    tokens.append(use(operator, planted_token(operator, expired=True)))
    with closing(operator.http) as web:
        assert web.get("/me").status_code == 401
    return tokens


def see_a_fault(server: ServerProcess, address: str) -> str:
    """Make the database fail on a name, with an error text that holds it; return the token of that name's user."""
    statement = f"ALTER TABLE halfminute.users ADD CHECK (display_name <> '{NAME}') NOT VALID"
    subprocess.run([bin_dir() / "psql", "-Xqc", statement, address], check=True, timeout=10)
    creator = Phone(server.http_port, server.websocket_port)
    token = use(creator, planted_token(creator))
    terms = {"rateTokensPerMin": 60, "displayName": NAME}
    with closing(creator.http) as web:
        assert web.put("/creators/me", json=terms).status_code == 500
    return token


def _ask_wrongly(server: ServerProcess, web: httpx.Client, token: str) -> None:
    trace = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    assert web.get("/wallet/ledger", params={"kind": EMAIL, "token": token}, headers=trace).status_code == 400
    assert web.get(f"/{token}").status_code == 404
    assert web.get(f"/calls/{uuid4()}", params={"access_token": token}).status_code == 400
    assert web.get("/admin/audit").status_code == 403
    assert web.get("/me", headers={"Authorization": f"Basic {token}"}).status_code == 401
    assert web.post("/calls/init", content=json.dumps({"creatorId": token}).encode()).status_code == 400
    assert web.post("/calls/init", content=token.encode()).status_code == 400
    address = f"http://127.0.0.1:{server.websocket_port}/ws"
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(address, params={"token": token}, headers=headers, timeout=60, verify=False).status_code == 426


def _sweep(web: httpx.Client) -> None:
    assert web.post("/billing/meter", headers={"X-Billing-Secret": BILLING_SECRET}).status_code == 200
    assert web.post("/billing/meter", headers={"X-Billing-Secret": BILLING_SECRET + "x"}).status_code == 403
    timestamp = str(int(time.time()))
    digest = hmac.digest(BILLING_SECRET.encode(), f"m.{timestamp}.".encode(), hashlib.sha256)
    signed = {"Webhook-Id": "m", "Webhook-Timestamp": timestamp}
    signed["Webhook-Signature"] = f"v1,{base64.b64encode(digest).decode()}"
    assert web.post("/billing/meter", headers=signed).status_code == 200
