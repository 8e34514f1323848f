"""Only a current token for this audience, signed with a pinned key, names a user; every other input is refused."""

import json
import uuid
from typing import Any

import msgspec
import pytest
import trio

from domain.ids import PAYOUTS
from server.access.tokens import Identity, TokenRefused, TokenVerifier, bearer, issue_token
from server.config.auth import AuthSettings, claim_path
from tests.support.tokens import (
    ALICE,
    EC,
    NOW,
    RSA,
    SECRET,
    claims,
    part,
    refusal,
    signed,
    signed_text,
    verify,
    without,
)

# --- the claims of a valid token ---


def test_a_token_names_its_user_and_its_expiry() -> None:
    token = issue_token(SECRET, ALICE, ttl_seconds=60, now=NOW)
    assert verify(token) == Identity(user_id=ALICE, is_operator=False, expires_at=int(NOW) + 60)


def test_a_supabase_session_token_is_accepted() -> None:
    session = {
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": 1_795_349_000}],
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "email": "alice@example.com",
        "is_anonymous": False,
        "phone": "",
        "session_id": "6a1c1c0e-3a5f-4a40-8f1b-0a2f9f3c7d55",
        "user_metadata": {"email_verified": True},
    }
    token = signed(claims(**session), header={"alg": "HS256", "kid": "K2hX0xA1", "typ": "JWT", "cat": "unknown"})
    assert verify(token).user_id == ALICE


def test_an_issued_token_has_the_shape_of_a_supabase_session() -> None:
    token = issue_token(SECRET, ALICE, role="operator", ttl_seconds=60, now=NOW + 0.9, issuer="https://example.com")
    assert part(token, 0) == {"alg": "HS256", "typ": "JWT"}
    assert part(token, 1) == {
        "sub": str(ALICE),
        "aud": "authenticated",
        "role": "authenticated",
        "iat": int(NOW),
        "exp": int(NOW) + 60,
        "iss": "https://example.com",
        "app_metadata": {"role": "operator"},
    }


def test_an_issued_role_makes_an_operator() -> None:
    assert verify(issue_token(SECRET, ALICE, role="operator", ttl_seconds=60, now=NOW)).is_operator
    assert not verify(issue_token(SECRET, ALICE, role="support", ttl_seconds=60, now=NOW)).is_operator


@pytest.mark.parametrize(
    "metadata",
    [
        {"user_metadata": {"role": "operator"}},
        {"role": "operator"},
        {"app_metadata.role": "operator"},
        {"app_metadata": "role"},
        {"app_metadata": ["role", "operator"]},
        {"app_metadata": {"role": "operators"}},
        {"app_metadata": {"role": "an operator"}},
        {"app_metadata": {"role": True}},
        {"app_metadata": {"role": {"operator": True}}},
        {"app_metadata": None},
    ],
)
def test_only_the_configured_claim_makes_an_operator(metadata: dict[str, Any]) -> None:
    assert not verify(signed(claims(**metadata))).is_operator


def test_a_claim_may_list_several_roles() -> None:
    settings = AuthSettings(operator_claim="realm_access.roles", operator_value="staff")
    token = signed(claims(realm_access={"roles": ["viewer", "staff"]}))
    assert verify(token, settings).is_operator


# --- time ---


def test_a_token_is_valid_until_the_second_it_expires() -> None:
    token = signed(claims(exp=NOW + 10))
    assert verify(token, now=NOW + 9.999)
    assert refusal(token, now=NOW + 10) == "token expired"


def test_a_fraction_of_a_second_is_not_granted_after_expires_at() -> None:
    token = signed(claims(exp=NOW + 10.75))
    assert verify(token, now=NOW + 9.9).expires_at == NOW + 10
    assert refusal(token, now=NOW + 10) == "token expired"


def test_leeway_moves_both_ends_and_expires_at_says_so() -> None:
    settings = AuthSettings(leeway_seconds=5)
    token = signed(claims(nbf=NOW + 5, exp=NOW + 10))
    assert verify(token, settings, now=NOW).expires_at == NOW + 15
    assert refusal(token, settings, now=NOW - 0.001) == "token not valid yet"
    assert refusal(token, settings, now=NOW + 15) == "token expired"


def test_a_token_is_not_valid_before_its_time() -> None:
    token = signed(claims(nbf=NOW + 1))
    assert refusal(token) == "token not valid yet"
    assert verify(token, now=NOW + 1)


def test_a_token_without_expiry_is_refused() -> None:
    assert refusal(signed(without("exp"))) == "token without expiry"


@pytest.mark.parametrize("name", ["exp", "nbf"])
@pytest.mark.parametrize(
    "value",
    [
        "true",
        "null",
        '"1900000000"',
        "[1900000000]",
        "{}",
        "NaN",
        "Infinity",
        "1e999",
        "1e300",
        "-1",
        "9" * 3000,
        "9" * 5000,
    ],
)
def test_a_time_that_is_no_time_is_refused(name: str, value: str) -> None:
    body = json.dumps(claims(**{name: "?"})).replace('"?"', value)
    assert refusal(signed_text(body)) == "malformed token"


# --- subject, audience and issuer ---


@pytest.mark.parametrize(
    "subject",
    [
        None,
        "",
        7,
        ["0b9f3c5e-8a4d-4c21-9a53-5c1a4f0f7e11"],
        "alice",
        "0b9f3c5e8a4d4c219a535c1a4f0f7e11",
        "{0b9f3c5e-8a4d-4c21-9a53-5c1a4f0f7e11}",
        "urn:uuid:0b9f3c5e-8a4d-4c21-9a53-5c1a4f0f7e11",
        "0b9f3c5e-8a4d-4c21-9a53-5c1a4f0f7e11\n",
        "0b9f3c5e-8a4d-4c21-9a53-5c1a4f0f7e1\u0661",
        "0b9f3c5e-8a4d-4c21-9a53-5c1a4f0f_e11",
    ],
)
def test_a_subject_that_is_no_uuid_is_refused(subject: object) -> None:
    assert refusal(signed(claims(sub=subject))) == "subject is not a user id"


def test_a_token_without_a_subject_is_refused() -> None:
    assert refusal(signed(without("sub"))) == "subject is not a user id"


@pytest.mark.parametrize("subject", [PAYOUTS, uuid.UUID(int=0)])
def test_nobody_signs_in_as_a_system_wallet(subject: uuid.UUID) -> None:
    assert refusal(signed(claims(sub=str(subject)))) == "subject is not a user id"


def test_upper_and_lower_case_name_the_same_user() -> None:
    assert verify(signed(claims(sub=str(ALICE).upper()))).user_id == ALICE


def test_the_audience_is_checked_only_when_configured() -> None:
    settings = AuthSettings(audience="authenticated")
    assert verify(signed(without("aud")))
    assert verify(signed(claims(aud="authenticated")), settings)
    assert verify(signed(claims(aud=["billing", "authenticated"])), settings)


@pytest.mark.parametrize("audience", ["anon", "authenticated,anon", ["anon"], [], {"authenticated": 1}, None, 1, [[]]])
def test_a_token_for_another_audience_is_refused(audience: object) -> None:
    assert refusal(signed(claims(aud=audience)), AuthSettings(audience="authenticated")) == "wrong audience"


def test_the_issuer_is_checked_only_when_configured() -> None:
    settings = AuthSettings(issuer="https://example.com/auth/v1")
    assert verify(signed(claims(iss="anybody")))
    assert verify(signed(claims(iss="https://example.com/auth/v1")), settings)
    assert refusal(signed(claims(iss="https://example.com/auth/v1/")), settings) == "wrong issuer"
    assert refusal(signed(claims(iss=["https://example.com/auth/v1"])), settings) == "wrong issuer"
    assert refusal(signed(claims()), settings) == "wrong issuer"


# --- the Authorization header ---


@pytest.mark.parametrize("value", ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c  "])
def test_a_bearer_token_is_taken_from_the_header(value: str) -> None:
    assert bearer(value) == "a.b.c"


@pytest.mark.parametrize(
    ("value", "description"),
    [
        (None, "no token"),
        ("", "no token"),
        ("Bearer", "no token"),
        ("Bearer  ", "no token"),
        ("Basic dXNlcjpwYXNz", "not a bearer token"),
        ("Bearera.b.c", "not a bearer token"),
        ("a.b.c", "not a bearer token"),
        (" Bearer a.b.c", "not a bearer token"),
    ],
)
def test_a_header_without_bearer_token_is_refused(value: str | None, description: str) -> None:
    with pytest.raises(TokenRefused) as refused:
        bearer(value)
    assert refused.value.description == description


# --- settings ---


@pytest.mark.parametrize("claim", ["user_metadata.role", "user_metadata", "claims.user_metadata.role"])
def test_an_operator_claim_that_users_can_write_is_refused_at_start(claim: str) -> None:
    with pytest.raises(ValueError, match="users can write that themselves"):
        AuthSettings(operator_claim=claim)
    with pytest.raises(msgspec.ValidationError, match="users can write that themselves"):
        msgspec.convert({"operator_claim": claim}, AuthSettings)


def test_an_operator_claim_is_read_as_a_path() -> None:
    assert claim_path("app_metadata.role") == ("app_metadata", "role")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"algorithms": ()}, "at least one of"),
        ({"algorithms": ("none",)}, "at least one of"),
        ({"algorithms": ("HS256", "HS512")}, "at least one of"),
        ({"algorithms": ("ES256",)}, "need auth.jwks_url"),
        ({"jwks_file": "keys.json"}, "only they use it"),
        ({"algorithms": ("ES256",), "jwks_file": "keys.json", "jwks_url": "https://example.com"}, "exclude each other"),
        ({"algorithms": ("ES256",), "jwks_url": "file:///etc/passwd"}, "http or https"),
        ({"algorithms": ("ES256",), "jwks_url": "example.com/jwks.json"}, "http or https"),
        ({"algorithms": ("ES256",), "jwks_url": "https://"}, "http or https"),
        ({"algorithms": ("ES256",), "jwks_url": "https://user:word@example.com/"}, "without a user name"),
        ({"algorithms": ("ES256",), "jwks_url": "https://example.com:99999/"}, "Port out of range"),
        ({"jwks_refresh_seconds": 30, "jwks_fetch_gap_seconds": 31}, "must not be below"),
        ({"operator_claim": ""}, "operator_claim"),
        ({"operator_claim": "app_metadata..role"}, "operator_claim"),
        ({"operator_value": ""}, "operator_value"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused_at_start(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        AuthSettings(**settings)


@pytest.mark.parametrize(
    "settings", [{"algorithms": ["none"]}, {"leeway_seconds": -1}, {"leeway_seconds": 301}, {"jwks_urls": "x"}]
)
def test_settings_outside_their_limits_are_refused_when_read(settings: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(settings, AuthSettings)


@pytest.mark.parametrize(
    ("secret", "complaint"),
    [
        (None, "at least 32 characters"),
        ("", "at least 32 characters"),
        ("x" * 31, "at least 32 characters"),
        (EC.as_pem().decode(), "holds a PEM"),
        (RSA.as_pem(private=True).decode(), "holds a PEM"),
        (json.dumps(EC.as_dict(private=False)), "holds a PEM or JWK"),
    ],
)
def test_a_secret_that_keeps_nothing_secret_is_refused_at_start(secret: str | None, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        TokenVerifier(AuthSettings(), secret=secret)


def test_no_secret_is_needed_when_only_public_keys_are_pinned() -> None:
    TokenVerifier(AuthSettings(algorithms=("ES256",), jwks_file="keys.json"))


async def test_without_public_keys_there_is_nothing_to_refresh() -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(TokenVerifier(AuthSettings(), secret=SECRET).run)
