"""Access tokens, signing keys and key servers for tests, valid and invalid ones."""

import base64
import hmac
import http.client
import http.server
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import hypothesis
import pytest
import trio
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry, serialize_compact

from domain.ids import UserId
from server.access.jwks import KeySet
from server.access.tokens import Identity, TokenRefused, TokenVerifier
from server.config.auth import Algorithm, AuthSettings
from tests.support.processes import free_ports

NOW = 1_795_350_000.0
SECRET = "a secret of more than thirty-two characters"
ALICE = UserId(uuid.UUID("0b9f3c5e-8a4d-4c21-9a53-5c1a4f0f7e11"))
EC = ECKey.generate_key("P-256", {"kid": "ec"})
OTHER_EC = ECKey.generate_key("P-256", {"kid": "other"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})

unhurried = hypothesis.settings(deadline=None)


def verify(token: str, by: AuthSettings | TokenVerifier | None = None, *, now: float = NOW) -> Identity:
    verifier = by if isinstance(by, TokenVerifier) else TokenVerifier(by or AuthSettings(), secret=SECRET)
    return verifier.verify(token, now=now)


def refusal(token: str, by: AuthSettings | TokenVerifier | None = None, *, now: float = NOW) -> str:
    with pytest.raises(TokenRefused) as refused:
        verify(token, by, now=now)
    return refused.value.description


async def started(nursery: trio.Nursery, algorithms: tuple[Algorithm, ...], *keys: ECKey | RSAKey) -> TokenVerifier:
    """Return a verifier that has the secret and has fetched these keys."""
    settings = AuthSettings(algorithms=algorithms, jwks_file="keys.json")
    verifier = TokenVerifier(settings, secret=SECRET, keys=Issuer(*keys).key_set())
    await nursery.start(verifier.run)
    return verifier


def claims(**changes: Any) -> dict[str, Any]:
    return {"sub": str(ALICE), "exp": int(NOW) + 60, **changes}


def without(name: str) -> dict[str, Any]:
    return {other: value for other, value in claims().items() if other != name}


def signed(body: dict[str, Any], *, header: dict[str, Any] | None = None, secret: str | bytes = SECRET) -> str:
    """Sign a token by HS256 without a library, so that invalid claims can be signed."""
    return signed_text(json.dumps(body), header=json.dumps(header or {"alg": "HS256"}), secret=secret)


def signed_text(body: str, *, header: str = '{"alg": "HS256"}', secret: str | bytes = SECRET) -> str:
    text = f"{base64url(header.encode())}.{base64url(body.encode())}"
    key = secret.encode() if isinstance(secret, str) else secret
    return f"{text}.{base64url(hmac.digest(key, text.encode(), 'sha256'))}"


def signed_by(key: ECKey | RSAKey, algorithm: str, body: dict[str, Any] | None = None, **header: Any) -> str:
    fields = {"alg": algorithm, "kid": key.kid} | header
    present = {name: value for name, value in fields.items() if value is not None}
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    return serialize_compact(present, json.dumps(body or claims()), key, registry=registry)


def encoded(value: object) -> str:
    return base64url(json.dumps(value).encode())


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(token: str, number: int) -> Any:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[number] + "=="))


def jwks(keys: list[Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


class Silence(threading.Event):
    """A response that is held back until it is set."""

    askers = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.askers += 1
        return super().wait(timeout)


Answer = tuple[int, bytes | Silence]


@contextmanager
def serving(answers: dict[str, Answer]) -> Iterator[str]:
    """Yield the URL of an HTTP server with these responses; for a Silence it keeps the connection open."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers[self.path]
            if isinstance(body, Silence):
                body.wait()
                return
            self.send_response(status)
            if status == http.client.FOUND:
                self.send_header("Location", body.decode())
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def listening(handler: type[http.server.BaseHTTPRequestHandler]) -> http.server.ThreadingHTTPServer:
    (port,) = free_ports(1)
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)


class Issuer:
    """A key server that records its requests."""

    def __init__(self, *keys: ECKey | RSAKey) -> None:
        self.keys = keys
        self.asked_at: list[float] = []
        self.failure: Exception | None = None
        self._origin = trio.current_time()

    async def read(self) -> bytes:
        self.asked_at.append(round(trio.current_time() - self._origin))
        if self.failure is not None:
            raise self.failure
        return jwks([key.as_dict(private=False) for key in self.keys])

    def key_set(self) -> KeySet:
        return KeySet(self.read, algorithms=("ES256", "RS256"), fetch_gap_seconds=30, refresh_seconds=600)


def json_objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    names = ["alg", "kid", "typ", "cty", "x5c", "jku", "sub", "exp", "nbf", "aud", "iss", "app_metadata", "role"]
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=5), values, max_size=5)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON_VALUES = SCALARS | st.lists(SCALARS, max_size=3) | json_objects(SCALARS)
