"""Every route with every kind of invalid token: refused before anything is done, and nothing is revealed."""

import json
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from server.config.auth import Algorithm, AuthSettings
from server.config.secrets import Secrets
from server.context import Context
from server.rest.app import ROUTES
from server.rest.route import Needs
from tests.server.rest.conftest import client_of
from tests.server.rest.problems import SOMEBODY, check
from tests.support.clients import SECRET, token_of
from tests.support.servers import running_server, settings
from tests.support.tokens import EC, OTHER_EC, RSA, encoded, jwks, signed

GUARDED = [route for route in ROUTES if route.needs is not Needs.ANYONE]
INSIDE = ("Traceback", ".py", "SELECT", "joserfc", "asyncpg", "jwks", "BEGIN", str(SOMEBODY), SECRET)


def claims(**changes: Any) -> dict[str, Any]:
    """Return claims of a user who would be an operator."""
    now = int(time.time())
    return {"sub": str(SOMEBODY), "exp": now + 600, "iat": now, "app_metadata": {"role": "operator"}, **changes}


def unsigned(algorithm: str) -> str:
    return f"{encoded({'alg': algorithm})}.{encoded(claims())}."


def with_public_key(key: bytes) -> str:
    return signed(claims(), header={"alg": "HS256", "kid": EC.kid}, secret=key)


TOKENS: dict[str, Callable[[], str]] = {
    "none": lambda: "",
    "an expired one": lambda: token_of(SOMEBODY, role="operator", ttl_seconds=-1),
    "alg none": lambda: unsigned("none"),
    "alg None": lambda: unsigned("None"),
    "no signature": lambda: unsigned("HS256"),
    "another's signature": lambda: signed(claims(), secret="x" * 40),
    "an empty secret": lambda: signed(claims(), secret=b""),
    "no expiry": lambda: signed({"sub": str(SOMEBODY)}, secret=SECRET),
    "no subject": lambda: signed({"exp": int(time.time()) + 600}, secret=SECRET),
    "a path as its key": lambda: signed(claims(), header={"alg": "HS256", "kid": "/dev/null"}, secret=b""),
    "HS256 by the public PEM": lambda: with_public_key(EC.as_pem(private=False)),
    "HS256 by the public DER": lambda: with_public_key(EC.as_der(private=False)),
    "HS256 by the public JWK": lambda: with_public_key(json.dumps(EC.as_dict(private=False)).encode()),
    "HS256 by the public RSA key": lambda: with_public_key(RSA.as_pem(private=False)),
    "its own key in the header": lambda: signed(
        claims(), header={"alg": "HS256", "jwk": OTHER_EC.as_dict(private=False)}, secret="x" * 40
    ),
}
DECLARED: dict[str, tuple[Algorithm, ...]] = {
    "HS256": ("HS256",),
    "ES256": ("ES256", "RS256"),
    "both": ("HS256", "ES256", "RS256"),
}


@pytest.fixture(params=DECLARED)
async def guarded_server(request: pytest.FixtureRequest, dsn: str, tmp_path: Path) -> AsyncIterator[Context]:
    """A server with these algorithms, and the public keys that go with them."""
    algorithms = DECLARED[request.param]
    keys = tmp_path / "keys.json"
    keys.write_bytes(jwks([EC.as_dict(private=False), RSA.as_dict(private=False)]))
    jwks_file = "" if algorithms == ("HS256",) else str(keys)
    wanted = msgspec.structs.replace(settings(), auth=AuthSettings(algorithms=algorithms, jwks_file=jwks_file))
    secrets = Secrets(jwt_secret=SECRET if "HS256" in algorithms else None)
    async with running_server(dsn, wanted, secrets) as context:
        yield context


async def test_no_route_accepts_an_invalid_token_or_reveals_an_internal_reason(
    guarded_server: Context,
) -> None:
    async with client_of(guarded_server) as web:
        for route in ROUTES:
            path = re.sub(r"\{\w+\}", str(uuid4()), route.path)
            for make in TOKENS.values():
                headers = {"Authorization": f"Bearer {make()}".strip(), "Idempotency-Key": "k"}
                answer = await web.request(route.method, path, headers=headers, json={})
                if route in GUARDED:
                    check(answer, 401, "UNAUTHENTICATED")
                    assert answer.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
                    text = answer.text + str(answer.headers)
                    assert not [word for word in INSIDE if word in text], f"{route.method} {route.path}: {text}"
                assert answer.status_code < 500
    assert await guarded_server.postgres.fetchrow("SELECT 1 FROM users WHERE supabase_id = $1", SOMEBODY) is None


async def test_a_token_outside_its_header_is_ignored(web: httpx.AsyncClient) -> None:
    token = token_of(SOMEBODY, role="operator")
    for route in GUARDED:
        path = re.sub(r"\{\w+\}", str(uuid4()), route.path)
        answer = await web.request(
            route.method,
            path,
            params={"token": token, "access_token": token, "Authorization": f"Bearer {token}"},
            headers={"Cookie": f"token={token}; sb-access-token={token}", "X-Authorization": f"Bearer {token}"},
        )
        check(answer, 401, "UNAUTHENTICATED")
