"""The public keys that verify tokens (JWKS): read from a URL or a file by a background task, never by a request.

An identity provider publishes its keys as a JSON Web Key Set (RFC 7517) and replaces them from time to time. A request
that waited for the provider would depend on its speed; instead, a token with a new key is refused until the next fetch,
at most `fetch_gap_seconds` later.
"""

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

FETCH_SECONDS = 5  # afterwards a fetch counts as failed
MAX_DOCUMENT_BYTES = 256 * 1024  # 4 KiB for each of MAX_KEYS keys, for keys with a certificate chain
# Issuers publish two or three; importing one blocks the event loop for about 0.1 ms.
MAX_KEYS = 64
# A shorter modulus can be factored; a longer one makes every verification slow.
RSA_BITS = range(2048, 8192 + 1)

log = structlog.get_logger(__name__)

PublicKey = ECKey | RSAKey
PublicKeys = dict[tuple[str, str | None], PublicKey]  # by algorithm and `kid`


class KeySet:
    """Public keys, each bound to one algorithm: `find` looks one up without waiting, `run` refreshes them.

    The keys are fetched every `refresh_seconds`, and earlier after an unknown key id or a failed fetch. Two fetches are
    at least `fetch_gap_seconds` apart, so invented key ids cannot cause more of them.
    Keys from before stay in use as long as fetches fail: an outage of the provider must not refuse all users.
    `read` returns the bytes of the document (see `jwks_reader`). `failed_reads` counts fetches without a usable key.
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

    @property
    def current(self) -> object:
        """Return the keys, as an object that is replaced when they are read again."""
        return self._keys

    def find(self, algorithm: str, kid: str | None) -> PublicKey | None:
        """Return the key with this id for the algorithm, or its only key if `kid` is None.

        Returns None and requests a fetch if there is none. Never waits. With several keys for the algorithm, a token
        without `kid` matches none of them, since it does not say which one signed it.
        """
        key = self._keys.get((algorithm, kid))
        if key is None:
            self._wanted.set()
        return key

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load and reload the keys until cancelled; reports started after the first attempt, even if that failed."""
        await self._load()
        task_status.started()
        while True:
            await trio.sleep(self._fetch_gap_seconds)
            with trio.move_on_after(self._refresh_seconds - self._fetch_gap_seconds):
                await self._wanted.wait()
            await self._load()

    async def _load(self) -> None:
        """Replace the keys by those of a valid document; keep the present keys if it is invalid or unreachable."""
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
    """Return the keys of a JWKS (RFC 7517) that verify signatures of `algorithms`, and skip the others.

    Each key is bound to one algorithm by its type, so a token cannot choose another one for it. Of two keys with the
    same algorithm and id the first counts. Keys beyond the first MAX_KEYS are ignored.
    The only key of an algorithm is also found without an id, under `(algorithm, None)`.
    Raises ValueError or RecursionError for a document that is not a JWKS.
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
    """Return the algorithm that this key verifies, by its type; empty if there is none.

    A key that declares another algorithm, an encryption use, or operations without `verify` (RFC 7517 §4) is skipped.
    """
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
    """Import the public part of a key and ignore a private one; return None for an invalid key."""
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
    """Describe why a fetch failed, for the log."""
    # The text of an OSError contains the path; `strerror` does not.
    return f"{type(error).__name__} {getattr(error, 'strerror', None) or error}".rstrip()


def jwks_reader(*, url: str, file: str) -> Callable[[], Awaitable[bytes]]:
    """Return a function that reads the JWKS from an http(s) `url`, or from `file` if `url` is empty.

    The function raises OSError, HTTPException or ValueError, the last one also for a document of more than
    MAX_DOCUMENT_BYTES. Its cancellation abandons the reading thread, which ends by itself at its socket's timeout.
    """
    # One thread: a server that sends very slowly holds it for long, and must not exhaust the shared threads.
    limiter = trio.CapacityLimiter(1)

    def read() -> bytes:
        return _read_address(url) if url else _read_file(file)

    async def read_in_thread() -> bytes:
        return await trio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=limiter)

    return read_in_thread


def _read_address(url: str) -> bytes:
    """Read the document. Refuses any status but 200, redirects included: keys come from the configured address only."""
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
    """Read the document. Raises ValueError if every user of the machine may write it, and so add a key."""
    with Path(file).open("rb") as opened:
        if os.fstat(opened.fileno()).st_mode & stat.S_IWOTH:
            raise ValueError("anybody may write it (see its mode)")
        return _bounded(opened)


def _bounded(source: IO[bytes] | http.client.HTTPResponse) -> bytes:
    document = source.read(MAX_DOCUMENT_BYTES + 1)
    if len(document) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"larger than {MAX_DOCUMENT_BYTES} bytes")
    return document
