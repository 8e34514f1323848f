"""The `[auth]` section: which tokens are accepted, and where the keys that verify them are published.

A wrong setting here could let users sign their own tokens, so contradictions stop the start of the server.
"""

from ipaddress import ip_address
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

import msgspec

Algorithm = Literal["HS256", "ES256", "RS256"]

MIN_SECRET_CHARACTERS = 32  # RFC 7518 §3.2: a key for HS256 has at least as many bits as the hash, 256


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[auth]` section. Raises ValueError for settings that contradict each other or would be unsafe.

    A user whose claim `operator_claim` equals `operator_value`, or is a list with it, is an operator.
    `leeway_seconds` is added to `exp` and subtracted from `nbf`, for clocks that differ.
    """

    algorithms: tuple[Algorithm, ...] = ("HS256",)
    jwks_url: str = ""
    jwks_file: str = ""
    jwks_refresh_seconds: Annotated[int, msgspec.Meta(ge=30, le=86_400)] = 600
    jwks_fetch_gap_seconds: Annotated[int, msgspec.Meta(ge=1, le=3_600)] = 30
    audience: str = ""  # empty: not checked
    issuer: str = ""  # empty: not checked
    leeway_seconds: Annotated[int, msgspec.Meta(ge=0, le=300)] = 0
    operator_claim: str = "app_metadata.role"
    operator_value: str = "operator"
    name_claim: str = "user_metadata.full_name"
    email_claim: str = "email"

    def __post_init__(self) -> None:
        if not self.algorithms or not set(self.algorithms) <= set(get_args(Algorithm)):
            raise ValueError(f"auth.algorithms must name at least one of {', '.join(get_args(Algorithm))}, no other")
        if self.jwks_url and self.jwks_file:
            raise ValueError("auth.jwks_url and auth.jwks_file exclude each other")
        if bool(self.jwks_url or self.jwks_file) != bool(set(self.algorithms) - {"HS256"}):
            raise ValueError("ES256 and RS256 need auth.jwks_url or auth.jwks_file, and only they use it")
        if self.jwks_url:
            check_address(self.jwks_url)
        if self.jwks_refresh_seconds < self.jwks_fetch_gap_seconds:
            raise ValueError("auth.jwks_refresh_seconds must not be below auth.jwks_fetch_gap_seconds")
        if not self.operator_value:
            raise ValueError("auth.operator_value must not be empty")
        claim_path(self.operator_claim)
        for setting, claim in (("name_claim", self.name_claim), ("email_claim", self.email_claim)):
            if claim and "" in claim.split("."):
                raise ValueError(f"auth.{setting} must be a claim's name, or names joined by dots")
        if "user_metadata" in self.email_claim.split("."):
            raise ValueError("auth.email_claim must not be under user_metadata: users can write that themselves")


def check_address(url: str) -> None:
    """Check the address of a JWKS. Raises ValueError unless it is https, or http to this machine, without a user name.

    An attacker who can change the answers of a plain connection could sign tokens for all users.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or parts.username is not None:
        raise ValueError("auth.jwks_url must be an http or https address, without a user name")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError("auth.jwks_url must be https; plain http is for 127.0.0.1, [::1] and localhost alone")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def claim_path(claim: str) -> tuple[str, ...]:
    """Split a claim such as `app_metadata.role` into keys. Raises ValueError for a claim that users can write.

    In a Supabase session users write `user_metadata` themselves, and only the issuer writes `app_metadata`.
    """
    path = tuple(claim.split("."))
    if not all(path):
        raise ValueError("auth.operator_claim must be a claim's name, or names joined by dots")
    if "user_metadata" in path:
        raise ValueError("auth.operator_claim must not be under user_metadata: users can write that themselves")
    return path
