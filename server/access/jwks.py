"""The public keys that sign tokens: read from an address or a file by a background task, never by a request."""

import base64
import http.client
import json
import os
import stat
from collections.abc import Awaitable, Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import structlog
import trio
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

FETCH_SECONDS = 5
MAX_DOCUMENT_BYTES = 256 * 1024
# Issuers publish two or three; importing one takes the event loop about 0.1 ms.
MAX_KEYS = 64
# Below, a modulus can be factored; above, every request would pay for it.
RSA_BITS = range(2048, 8192 + 1)

log = structlog.get_logger(__name__)

PublicKey = ECKey | RSAKey
PublicKeys = dict[tuple[str, str | None], PublicKey]  # by algorithm and `kid`


class KeySet:
    """Public keys, each bound to one algorithm; `find` answers at once, `run` keeps what it finds fresh.

    A fetch is due every `refresh_seconds`, or when a token named an unknown key or the last fetch failed; never
    sooner than `fetch_gap_seconds` after the last, so strangers who invent key ids cannot make us ask more often.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[bytes]],
        *,
        algorithms: Collection[str],
        fetch_gap_seconds: float,
        refresh_seconds: float,
    ) -> None:
        self._read = read
        self._algorithms = algorithms
        self._fetch_gap_seconds = fetch_gap_seconds
        self._refresh_seconds = refresh_seconds
        self._keys: PublicKeys = {}
        self.failed_reads = 0
        self._wanted = trio.Event()

    def find(self, algorithm: str, kid: str | None) -> PublicKey | None:
        """The key of that name for that algorithm; without a name, the only key for it. None asks for a fetch."""
        key = self._keys.get((algorithm, kid))
        if key is None:
            self._wanted.set()
        return key

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load and reload the keys for ever; reports started after the first attempt, whether or not it succeeded."""
        await self._load()
        task_status.started()
        while True:
            await trio.sleep(self._fetch_gap_seconds)
            with trio.move_on_after(self._refresh_seconds - self._fetch_gap_seconds):
                await self._wanted.wait()
            await self._load()

    async def _load(self) -> None:
        """Replace the keys by those of a good document; whatever else is read, the keys that are known stay."""
        self._wanted = trio.Event()
        try:
            with trio.fail_after(FETCH_SECONDS):
                document = await self._read()
            keys = public_keys(document, self._algorithms)
            if not keys:
                raise ValueError("no key in it verifies a pinned algorithm")
            self._keys = keys
        except (OSError, http.client.HTTPException, ValueError, RecursionError, trio.TooSlowError) as error:
            self._wanted.set()
            self.failed_reads += 1
            log.warning("jwks.not_read", old_keys=len(self._keys), reason=_reason(error))
        else:
            log.info("jwks.read", keys=len(self._keys))


def public_keys(document: bytes, algorithms: Collection[str]) -> PublicKeys:
    """The keys of a JWKS (RFC 7517) that verify signatures of `algorithms`; others in it are passed over.

    Raises ValueError or RecursionError when the document is no JWKS.
    """
    jwks = json.loads(document)
    if not isinstance(jwks, dict) or not isinstance(jwks.get("keys"), list):
        raise ValueError("not a JWKS")
    found: PublicKeys = {}
    of_algorithm: dict[str, list[PublicKey]] = {}
    for jwk in jwks["keys"][:MAX_KEYS]:
        algorithm = _algorithm_of(jwk)
        if algorithm in algorithms and (key := _imported(jwk)) is not None:
            found.setdefault((algorithm, jwk.get("kid")), key)
            of_algorithm.setdefault(algorithm, []).append(key)
    for algorithm, keys in of_algorithm.items():
        found.pop((algorithm, None), None)
        if len(keys) == 1:
            found[algorithm, None] = keys[0]
    return found


def _algorithm_of(jwk: Any) -> str:
    """The one algorithm that this key may verify, by its type; empty when there is none."""
    match jwk:
        case {"kty": "EC", "crv": "P-256"}:
            algorithm = "ES256"
        case {"kty": "RSA"}:
            algorithm = "RS256"
        case _:
            return ""
    operations = jwk.get("key_ops", ["verify"])
    fits = (
        jwk.get("alg", algorithm) == algorithm
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and isinstance(jwk.get("kid"), str | None)
    )
    return algorithm if fits else ""


def _imported(jwk: dict[str, Any]) -> PublicKey | None:
    """The public half only, whatever else the entry holds."""
    try:
        if jwk["kty"] == "EC":
            return ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")})
        if _bits(jwk["n"]) in RSA_BITS:
            return RSAKey.import_key({name: jwk[name] for name in ("kty", "n", "e")})
    except (JoseError, ValueError, KeyError, TypeError):
        pass
    return None


def _bits(number: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(number + "==")).bit_length()


def _reason(error: Exception) -> str:
    # An OSError's own text holds the path; `strerror` does not.
    return f"{type(error).__name__} {getattr(error, 'strerror', None) or error}".rstrip()


def jwks_reader(*, url: str, file: str) -> Callable[[], Awaitable[bytes]]:
    """How to read the JWKS at an http(s) `url`, or in `file` when there is no `url`.

    What it returns raises OSError, HTTPException or ValueError. Cancelled, it leaves its thread to end by itself.
    """
    # A server that sends a byte now and then can hold a thread for long: one, and not the other tasks' threads.
    limiter = trio.CapacityLimiter(1)

    def read() -> bytes:
        return _read_address(url) if url else _read_file(file)

    async def read_in_thread() -> bytes:
        return await trio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=limiter)

    return read_in_thread


def _read_address(url: str) -> bytes:
    """Anything but a plain 200 is refused, redirects too: keys come from the configured address or not at all."""
    parts = urlsplit(url)
    connection_type = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    with closing(connection_type(parts.hostname or "", parts.port, timeout=FETCH_SECONDS)) as connection:
        target = parts._replace(scheme="", netloc="", fragment="").geturl()
        connection.request("GET", target, headers={"Accept": "application/json", "User-Agent": "halfminute"})
        with connection.getresponse() as response:
            if response.status != http.client.OK:
                raise ValueError(f"HTTP status {response.status}")
            return _bounded(response)


def _read_file(file: str) -> bytes:
    with Path(file).open("rb") as opened:
        if os.fstat(opened.fileno()).st_mode & stat.S_IWOTH:
            raise ValueError("anybody may write it (see its mode)")
        return _bounded(opened)


def _bounded(source: IO[bytes] | http.client.HTTPResponse) -> bytes:
    document = source.read(MAX_DOCUMENT_BYTES + 1)
    if len(document) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"larger than {MAX_DOCUMENT_BYTES} bytes")
    return document
