"""Verifies the signed tokens (JWT, RFC 7519) that clients present, and issues tokens for development.

The recommendations of RFC 8725 are followed: the settings fix the accepted algorithms, each key serves one of them, and
a header can neither name a key's address nor bring a key. A token is parsed strictly, since parsers that disagree about
one text could see two users in it.
"""

import base64
import json
import math
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, get_args

import trio
from joserfc import jws
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import OctKey

from domain.email_address import clean_email
from domain.ids import UserId
from domain.protocol.commands import MAX_TOKEN
from server.access.jwks import KeySet, PublicKey, jwks_reader
from server.config.auth import MIN_SECRET_CHARACTERS, Algorithm, AuthSettings, claim_path

# 9999-12-31T23:59:59Z, the last second that RFC 3339 can express; the expiry of overlay tokens, which have none.
LAST_SECOND = 253_402_300_799

# Tokens that are remembered as verified: a signature costs more than all other checks. At 1 kB each that is 4 MB.
VERIFIED_MAX = 4_096

NAME_CHARACTERS = 200  # of a token's name that are looked at; a display name has fewer


@dataclass(frozen=True, slots=True)
class Identity:
    """The claims of a verified token, valid until `expires_at` (unix seconds).

    For an overlay token `user_id` is the id of the token itself, and `overlay_of` the creator that it belongs to.
    `name` is what the token calls the user, uncleaned, at most NAME_CHARACTERS; "" without one. `email` is the address
    that it names, cleaned; "" without one.
    A session replaces its identity at `token:refresh`; a REST request has one of its own.
    """

    user_id: UserId
    is_operator: bool
    expires_at: int
    overlay_of: UserId | None = None
    name: str = ""
    email: str = ""


class TokenRefused(Exception):
    """A token is invalid; `description` is safe for the client and for a quoted header value: no part of the token."""

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description


class TokenVerifier:
    """Verifies tokens with the algorithms and keys of the settings; a token cannot add to either.

    `secret` is used for HS256 alone, `keys` (by default those of the settings) for ES256 and RS256 alone. If one key
    served both, anybody could sign HS256 tokens with the published public key as the secret.
    Raises ValueError if HS256 is allowed and the secret is missing, short or a public key.
    """

    def __init__(self, settings: AuthSettings, *, secret: str | None = None, keys: KeySet | None = None) -> None:
        self._settings = settings
        self._operator_path = claim_path(settings.operator_claim)
        self._name_path = settings.name_claim.split(".")
        self._email_path = settings.email_claim.split(".")
        self._secret = secret_key(secret) if "HS256" in settings.algorithms else None
        self._keys = keys or _key_set(settings)
        self._verified: dict[str, dict[str, Any]] = {}  # claims by token, the oldest first
        self._verified_with: object = None  # the public keys at that time

    @property
    def failed_key_reads(self) -> int:
        """Return how often reading the public keys failed or found no usable key."""
        return 0 if self._keys is None else self._keys.failed_reads

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Refresh the public keys until cancelled; started after the first attempt. Returns at once without any."""
        if self._keys is None:
            task_status.started()
        else:
            await self._keys.run(task_status=task_status)

    def verify(self, token: str, *, now: float) -> Identity:
        """Return the identity that `token` proves at `now` (unix seconds). Raises only TokenRefused.

        Checked in this order: length and form, algorithm and key, signature, times, audience and issuer, subject.
        No claim is read before the signature is verified.
        Never waits: a token with an unknown key is refused, and `run` is asked to fetch the keys.
        """
        claims = self._claims(token)
        expires_at = self._expiry(claims, now)
        self._check_parties(claims)
        return Identity(
            user_id=_subject(claims),
            is_operator=_names(_claim_at(claims, self._operator_path), self._settings.operator_value),
            expires_at=expires_at,
            name=_name(_claim_at(claims, self._name_path)),
            email=_email(_claim_at(claims, self._email_path)),
        )

    def _claims(self, token: str) -> dict[str, Any]:
        """Return the claims of a token whose signature is valid, now or since the public keys were read."""
        keys = None if self._keys is None else self._keys.current
        if keys is not self._verified_with:
            self._verified_with = keys
            self._verified.clear()
        claims = self._verified.get(token)
        if claims is None:
            claims = _read_object(self._signed_payload(token))
            if len(self._verified) >= VERIFIED_MAX:
                del self._verified[next(iter(self._verified))]
            self._verified[token] = claims
        return claims

    def _signed_payload(self, token: str) -> bytes:
        """Return the payload of a token whose signature is valid. Raises TokenRefused."""
        if len(token) > MAX_TOKEN:
            raise TokenRefused("token too long")
        if not _COMPACT.fullmatch(token):
            raise TokenRefused("malformed token")
        algorithm, key = self._key_for(_read_object(_decoded(token.partition(".")[0])))
        try:
            return jws.deserialize_compact(token, key, registry=_PINNED[algorithm]).payload
        except BadSignatureError:
            raise TokenRefused("wrong signature") from None
        except JoseError:
            raise TokenRefused("malformed token") from None

    def _key_for(self, header: dict[str, Any]) -> tuple[Algorithm, OctKey | PublicKey]:
        """Return the allowed algorithm and its configured key; keys or key URLs in the header are ignored.

        Raises TokenRefused, also for the headers `crit` and `b64`: a verifier must refuse extensions that it does not
        implement (RFC 7515 §4.1.11, RFC 7797).
        """
        if "crit" in header or "b64" in header:
            raise TokenRefused("header extension not supported")
        allowed = [algorithm for algorithm in self._settings.algorithms if algorithm == header.get("alg")]
        if not allowed:
            raise TokenRefused("algorithm not allowed")
        kid = header.get("kid")
        if not isinstance(kid, str | None):
            raise TokenRefused("malformed token")
        key = self._secret if allowed[0] == "HS256" else self._public_key(allowed[0], kid)
        if key is None:
            raise TokenRefused("unknown key")
        return allowed[0], key

    def _public_key(self, algorithm: Algorithm, kid: str | None) -> PublicKey | None:
        return None if self._keys is None else self._keys.find(algorithm, kid)

    def _expiry(self, claims: dict[str, Any], now: float) -> int:
        """Return the second at which the token becomes invalid, leeway included (unix seconds).

        Raises TokenRefused for a token without `exp`, which would be valid for ever, for an expired one, and for one
        before its `nbf`.
        """
        if "exp" not in claims:
            raise TokenRefused("token without expiry")
        expires_at = math.floor(_second(claims["exp"])) + self._settings.leeway_seconds
        if now >= expires_at:
            raise TokenRefused("token expired")
        if "nbf" in claims and now < _second(claims["nbf"]) - self._settings.leeway_seconds:
            raise TokenRefused("token not valid yet")
        return expires_at

    def _check_parties(self, claims: dict[str, Any]) -> None:
        """Raise TokenRefused for a token of another issuer or audience; each is checked only if it is configured."""
        if self._settings.audience and not _names(claims.get("aud"), self._settings.audience):
            raise TokenRefused("wrong audience")
        if self._settings.issuer and claims.get("iss") != self._settings.issuer:
            raise TokenRefused("wrong issuer")


def secret_key(secret: str | None) -> OctKey:
    """Return the key for HS256. Raises ValueError for a secret that is missing, short or a public key.

    The minimum of 32 characters is that of RFC 7518 §3.2: as many bits as the hash has.
    """
    if not secret or len(secret) < MIN_SECRET_CHARACTERS:
        raise ValueError(f"HS256 needs HALFMINUTE_JWT_SECRET, at least {MIN_SECRET_CHARACTERS} characters")
    if "-----BEGIN" in secret or '"kty"' in secret:
        raise ValueError("HALFMINUTE_JWT_SECRET holds a PEM or JWK; public keys belong in auth.jwks_file")
    return OctKey.import_key(secret)


def _key_set(settings: AuthSettings) -> KeySet | None:
    if not settings.jwks_url and not settings.jwks_file:
        return None
    return KeySet(
        jwks_reader(url=settings.jwks_url, file=settings.jwks_file),
        algorithms=settings.algorithms,
        fetch_gap_seconds=settings.jwks_fetch_gap_seconds,
        refresh_seconds=settings.jwks_refresh_seconds,
    )


_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")

# Unknown header fields are ignored (RFC 7515); each registry allows one algorithm, so a key is never used with another.
_PINNED = {name: jws.JWSRegistry(algorithms=[name], strict_check_header=False) for name in get_args(Algorithm)}


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise TokenRefused("malformed token") from None


def _read_object(text: bytes) -> dict[str, Any]:
    try:
        value = _JSON.decode(text.decode())
    except (ValueError, RecursionError):
        raise TokenRefused("malformed token") from None
    if not isinstance(value, dict):
        raise TokenRefused("malformed token")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object. Raises ValueError for a duplicate name: of two equal ones, parsers choose differently."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("duplicate field")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)


def _second(value: object) -> float:
    """Return a claimed time. Raises TokenRefused unless it is a number within the calendar."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LAST_SECOND:
        raise TokenRefused("malformed token")
    return value


def _names(claim: object, expected: str) -> bool:
    """Return whether a claim equals the expected text or is a list with it."""
    return claim == expected or (isinstance(claim, list) and expected in claim)


def _subject(claims: dict[str, Any]) -> UserId:
    """Return the user id in `sub`. Raises TokenRefused for a text that is no UUID, and for ids of system wallets."""
    subject = claims.get("sub")
    # uuid.UUID also accepts braces, "urn:", other scripts' digits and underscores.
    if not isinstance(subject, str) or not _UUID.fullmatch(subject):
        raise TokenRefused("subject is not a user id")
    user_id = uuid.UUID(subject)
    # Ids that start like a UUIDv7 of 1970 belong to the system wallets.
    if user_id.int >> 80 == 0:
        raise TokenRefused("subject is not a user id")
    return UserId(user_id)


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def _claim_at(claims: dict[str, Any], path: Sequence[str]) -> object:
    """Return the claim at this path, such as `app_metadata.role`, or None."""
    claim: object = claims
    for step in path:
        if not isinstance(claim, dict):
            return None
        claim = claim.get(step)
    return claim


def _name(claim: object) -> str:
    return claim[:NAME_CHARACTERS] if isinstance(claim, str) else ""


def _email(claim: object) -> str:
    return clean_email(claim) if isinstance(claim, str) else ""


def bearer(header_value: str | None) -> str:
    """Return the token of an `Authorization: Bearer` header (RFC 6750); the scheme is not case-sensitive.

    Raises TokenRefused if the header is missing (None), empty or of another scheme.
    """
    if not header_value:
        raise TokenRefused("no token")
    scheme, _, token = header_value.partition(" ")
    if scheme.lower() != "bearer":
        raise TokenRefused("not a bearer token")
    if not token.strip(" "):
        raise TokenRefused("no token")
    return token.strip(" ")


def issue_token(
    secret: str,
    sub: uuid.UUID,
    *,
    role: str | None = None,
    ttl_seconds: int,
    now: float,
    audience: str = "authenticated",
    issuer: str = "",
) -> str:
    """Return an HS256 token with the claims of a Supabase session, valid for `ttl_seconds` from `now` (unix seconds).

    `role` goes to `app_metadata`, which only the issuer can write. Raises ValueError for an unsafe secret.
    Only the command line and tests call it: users of a real deployment get their tokens from the identity provider.
    """
    issued_at = math.floor(now)
    claims = {
        "sub": str(sub),
        "aud": audience,
        "role": "authenticated",
        "iat": issued_at,
        "exp": issued_at + ttl_seconds,
        **({"iss": issuer} if issuer else {}),
        **({"app_metadata": {"role": role}} if role else {}),
    }
    header = {"alg": "HS256", "typ": "JWT"}
    return jws.serialize_compact(header, json.dumps(claims), secret_key(secret), registry=_PINNED["HS256"])
