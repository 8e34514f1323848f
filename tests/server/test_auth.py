"""Only a token signed with a pinned key, for us and now, names a user; every other input is refused in one way."""

import base64
import hmac
import http.client
import http.server
import json
import math
import os
import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry, serialize_compact
from structlog.testing import capture_logs
from trio.testing import MockClock

from domain.ids import PAYOUTS, UserId
from server.auth import Algorithm, AuthSettings, Identity, TokenRefused, TokenVerifier, bearer, claim_path, issue_token
from server.jwks import MAX_DOCUMENT_BYTES, KeySet, jwks_reader, public_keys

NOW = 1_795_350_000.0
SECRET = "a secret of more than thirty-two characters"
ALICE = UserId(uuid.UUID("0b9f3c5e-8a4d-4c21-9a53-5c1a4f0f7e11"))
EC = ECKey.generate_key("P-256", {"kid": "ec"})
OTHER_EC = ECKey.generate_key("P-256", {"kid": "other"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})

unhurried = hypothesis.settings(deadline=None)


# --- what a good token says ---


def test_a_token_names_its_user_and_when_it_ends() -> None:
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


def test_a_token_counts_until_the_second_it_expires() -> None:
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


def test_a_token_does_not_count_before_its_time() -> None:
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


# --- who and for whom ---


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
def test_a_token_for_somebody_else_is_refused(audience: object) -> None:
    assert refusal(signed(claims(aud=audience)), AuthSettings(audience="authenticated")) == "wrong audience"


def test_the_issuer_is_checked_only_when_configured() -> None:
    settings = AuthSettings(issuer="https://example.com/auth/v1")
    assert verify(signed(claims(iss="anybody")))
    assert verify(signed(claims(iss="https://example.com/auth/v1")), settings)
    assert refusal(signed(claims(iss="https://example.com/auth/v1/")), settings) == "wrong issuer"
    assert refusal(signed(claims(iss=["https://example.com/auth/v1"])), settings) == "wrong issuer"
    assert refusal(signed(claims()), settings) == "wrong issuer"


# --- signatures and algorithms ---


def test_a_token_signed_with_another_secret_is_refused() -> None:
    assert refusal(signed(claims(), secret=SECRET + "!")) == "wrong signature"


def test_claims_changed_after_signing_are_refused() -> None:
    head, _, signature = signed(claims()).split(".")
    assert refusal(f"{head}.{encoded(claims(sub=str(uuid.uuid4())))}.{signature}") == "wrong signature"


@pytest.mark.parametrize("name", ["none", "None", "NONE", "", "HS384", "HS512", "hs256", None, ["HS256"], {}, 1, True])
@pytest.mark.parametrize("stripped", [False, True])
def test_an_algorithm_that_is_not_pinned_is_refused(name: object, stripped: bool) -> None:
    token = signed(claims(), header={"alg": name})
    assert refusal(token.rpartition(".")[0] + "." if stripped else token) == "algorithm not allowed"


def test_a_header_without_algorithm_is_refused() -> None:
    assert refusal(signed(claims(), header={"typ": "JWT"})) == "algorithm not allowed"


def test_a_longer_digest_under_the_same_secret_is_refused() -> None:
    text = f"{encoded({'alg': 'HS512'})}.{encoded(claims())}"
    token = f"{text}.{base64url(hmac.digest(SECRET.encode(), text.encode(), 'sha512'))}"
    assert refusal(token) == "algorithm not allowed"


@pytest.mark.parametrize("key", [EC, RSA], ids=["ES256", "RS256"])
async def test_a_token_signed_with_the_public_key_as_hmac_secret_is_refused(
    nursery: trio.Nursery, key: ECKey | RSAKey
) -> None:
    jwk = key.as_dict(private=False)
    spellings = [key.as_pem(), key.as_pem().strip(), key.as_der(), json.dumps(jwk).encode(), msgspec.json.encode(jwk)]
    header = {"alg": "HS256", "kid": key.kid}
    verifier = await started(nursery, ("HS256", "ES256", "RS256"), EC, RSA)
    for secret in spellings:
        assert refusal(signed(claims(), header=header, secret=secret), verifier) == "wrong signature"
    verifier = await started(nursery, ("ES256", "RS256"), EC, RSA)
    for secret in spellings:
        assert refusal(signed(claims(), header=header, secret=secret), verifier) == "algorithm not allowed"


async def test_a_public_key_verifies_tokens_of_its_own_algorithm(nursery: trio.Nursery) -> None:
    verifier = await started(nursery, ("ES256", "RS256"), EC, RSA)
    assert verifier.verify(signed_by(EC, "ES256"), now=NOW).user_id == ALICE
    assert verifier.verify(signed_by(RSA, "RS256"), now=NOW).user_id == ALICE


async def test_a_key_never_verifies_another_algorithm(nursery: trio.Nursery) -> None:
    verifier = await started(nursery, ("ES256", "RS256"), EC, RSA)
    assert refusal(signed_by(EC, "ES256", kid="rsa"), verifier) == "unknown key"
    assert refusal(signed_by(RSA, "RS256", kid="ec"), verifier) == "unknown key"
    assert refusal(signed_by(RSA, "RS512"), verifier) == "algorithm not allowed"
    assert refusal(signed_by(RSA, "PS256"), verifier) == "algorithm not allowed"


async def test_the_secret_is_not_used_unless_its_algorithm_is_pinned(nursery: trio.Nursery) -> None:
    verifier = await started(nursery, ("ES256",), EC)
    assert refusal(signed(claims()), verifier) == "algorithm not allowed"


async def test_a_token_of_another_key_under_a_known_name_is_refused(nursery: trio.Nursery) -> None:
    verifier = await started(nursery, ("ES256",), EC)
    assert refusal(signed_by(OTHER_EC, "ES256", kid="ec"), verifier) == "wrong signature"
    head, body, signature = signed_by(EC, "ES256").split(".")
    assert refusal(f"{head}.{body}.{signature[:-4]}", verifier) == "wrong signature"
    assert refusal(f"{head}.{body}.{base64url(bytes(64))}", verifier) == "wrong signature"


async def test_a_key_that_travels_in_the_token_is_not_used(nursery: trio.Nursery) -> None:
    public = OTHER_EC.as_dict(private=False)
    verifier = await started(nursery, ("ES256",), EC)
    assert refusal(signed_by(OTHER_EC, "ES256", kid="ec", jwk=public), verifier) == "wrong signature"
    assert refusal(signed_by(OTHER_EC, "ES256", jku="https://example.com/jwks"), verifier) == "unknown key"


async def test_a_token_without_key_name_is_verified_by_the_only_key(nursery: trio.Nursery) -> None:
    verifier = await started(nursery, ("ES256", "RS256"), EC, RSA)
    assert verifier.verify(signed_by(EC, "ES256", kid=None), now=NOW).user_id == ALICE
    verifier = await started(nursery, ("ES256",), EC, OTHER_EC)
    assert refusal(signed_by(EC, "ES256", kid=None), verifier) == "unknown key"


# --- malformed ---


@pytest.mark.parametrize("extension", [{"crit": ["b64"], "b64": False}, {"b64": True}, {"crit": []}, {"crit": ["exp"]}])
def test_header_extensions_are_refused(extension: dict[str, Any]) -> None:
    assert refusal(signed(claims(), header={"alg": "HS256", **extension})) == "header extension not supported"


@pytest.mark.parametrize("kid", [1, None, ["ec"], {"ec": 1}])
async def test_a_key_name_that_is_no_text_is_refused(nursery: trio.Nursery, kid: object) -> None:
    verifier = await started(nursery, ("HS256", "ES256"), EC)
    for algorithm in ("HS256", "ES256"):
        assert refusal(signed(claims(), header={"alg": algorithm, "kid": kid}), verifier) == "malformed token"


def test_duplicate_fields_are_refused_in_header_claims_and_below() -> None:
    text = json.dumps(claims()).removesuffix("}")
    assert refusal(signed_text(f'{text}, "sub": "{uuid.uuid4()}"}}')) == "malformed token"
    assert refusal(signed_text(f'{text}, "app_metadata": {{"role": "a", "role": "b"}}}}')) == "malformed token"
    assert refusal(signed_text(text + "}", header='{"alg": "HS256", "alg": "HS256"}')) == "malformed token"


@pytest.mark.parametrize("nest", ["[", '{"a":'])
def test_deep_nesting_is_refused_in_header_and_claims(nest: str) -> None:
    deep = nest * (6000 // len(nest))
    assert refusal(signed_text(deep)) == "malformed token"
    assert refusal(f"{base64url(deep.encode())}.e30.e30") == "malformed token"
    closed = "[" * 2500 + "]" * 2500
    assert refusal(signed_text(f'{{"a": {closed}}}'))


@pytest.mark.parametrize("body", ["", "[]", "null", "1", '"sub"', "{", "{}}", "\ufeff{}", "{'a': 1}"])
def test_a_part_that_is_no_json_object_is_refused(body: str) -> None:
    assert refusal(signed_text(body)) == "malformed token"
    assert refusal(signed_text(json.dumps(claims()), header=body)) == "malformed token"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_json_is_refused_anywhere(number: float) -> None:
    assert refusal(signed(claims(app_metadata={"score": number}))) == "malformed token"


def test_other_encodings_of_json_are_refused() -> None:
    body = json.dumps(claims()).encode("utf-16")
    text = f"{encoded({'alg': 'HS256'})}.{base64url(body)}"
    assert refusal(f"{text}.{base64url(hmac.digest(SECRET.encode(), text.encode(), 'sha256'))}") == "malformed token"


@pytest.mark.parametrize(
    "change", ["{}=", "{}\n", " {}", "{}.", ".{}", "{}.{}", "\ufeff{}", "\ud800{}", "{}\u0661", "{}+", "{}/"]
)
def test_a_token_with_anything_around_it_is_refused(change: str) -> None:
    assert refusal(change.replace("{}", signed(claims()))) == "malformed token"


def test_two_spellings_of_one_signature_are_not_both_accepted() -> None:
    token = signed(claims())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare_bit_set = alphabet[alphabet.index(token[-1]) + 1]
    assert refusal(token[:-1] + spare_bit_set) == "wrong signature"


def test_a_token_over_eight_kibibytes_is_refused() -> None:
    fits, over = (signed(claims(padding="x" * size)) for size in (6012, 6013))
    assert len(fits) <= 8192 < len(over)
    assert verify(fits)
    assert refusal(over) == "token too long"


# --- any input at all ---


def json_objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    names = ["alg", "kid", "typ", "cty", "x5c", "jku", "sub", "exp", "nbf", "aud", "iss", "app_metadata", "role"]
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=5), values, max_size=5)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON_VALUES = SCALARS | st.lists(SCALARS, max_size=3) | json_objects(SCALARS)


@unhurried
@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_at_all_is_refused(text: str) -> None:
    assert refusal(text)


@unhurried
@given(st.lists(st.binary(max_size=200).map(lambda data: base64url(data)), min_size=2, max_size=4).map(".".join))
def test_any_base64_parts_are_refused(text: str) -> None:
    assert refusal(text)


@unhurried
@given(json_objects(JSON_VALUES), json_objects(JSON_VALUES))
def test_any_signed_claims_are_an_identity_or_refused(header: dict[str, Any], body: dict[str, Any]) -> None:
    settings = AuthSettings(audience="authenticated", issuer="issuer", leeway_seconds=1)
    for token in (
        signed({**claims(aud="authenticated", iss="issuer"), **body}, header={**header, "alg": "HS256"}),
        signed(body),
    ):
        try:
            identity = verify(token, settings)
        except TokenRefused:
            continue
        assert isinstance(identity.user_id, uuid.UUID)
        assert identity.expires_at > NOW


@unhurried
@given(st.data())
def test_no_changed_character_leaves_a_token_valid(data: st.DataObject) -> None:
    token = issue_token(SECRET, ALICE, ttl_seconds=60, now=NOW)
    at = data.draw(st.integers(0, len(token) - 1))
    put = data.draw(
        st.text(st.sampled_from("AZaz09-_.=+/ \n\u00e9"), max_size=3).filter(lambda text: text != token[at])
    )
    assert refusal(token[:at] + put + token[at + 1 :])


@unhurried
@given(st.text(min_size=20))
def test_a_refusal_never_echoes_the_token(text: str) -> None:
    assert text not in refusal(text)
    assert text not in refusal(signed(claims(sub=text)))


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


async def test_without_public_keys_there_is_nothing_to_keep_fresh() -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(TokenVerifier(AuthSettings(), secret=SECRET).run)


# --- which keys a JWKS yields ---


def test_a_jwks_yields_only_keys_that_verify_pinned_algorithms() -> None:
    ec, rsa = EC.as_dict(private=False), RSA.as_dict(private=False)
    entries = [
        ec | {"kid": "good", "use": "sig", "alg": "ES256", "key_ops": ["verify"], "ext": True},
        ec | {"kid": "for encryption", "use": "enc"},
        ec | {"kid": "for signing only", "key_ops": ["sign"]},
        ec | {"kid": "odd operations", "key_ops": {"verify": True}},
        ec | {"kid": "other algorithm", "alg": "HS256"},
        ec | {"kid": "not on the curve", "x": base64url(bytes(31) + b"\1")},
        ECKey.generate_key("P-384", {"kid": "other curve"}, private=False).as_dict(),
        ec | {"kid": 7},
        rsa | {"kid": "not pinned"},
        {"kty": "oct", "k": base64url(SECRET.encode()), "kid": "secret", "alg": "ES256"},
        {"kty": "EC", "crv": "P-256", "kid": "half", "x": ec["x"]},
        {"kty": "unheard-of", "kid": "new"},
        "good",
        None,
    ]
    assert set(public_keys(jwks(entries), ("ES256",))) == {("ES256", "good"), ("ES256", None)}


@pytest.mark.parametrize(("bits", "size"), [(1024, 128), (2047, 256), (8193, 1025)])
def test_an_rsa_key_that_is_weak_or_costly_is_passed_over(bits: int, size: int) -> None:
    rsa = RSA.as_dict(private=False)
    odd = rsa | {"kid": "odd", "n": base64url((1 << bits - 1 | 1).to_bytes(size))}
    assert set(public_keys(jwks([rsa, odd]), ("RS256",))) == {("RS256", "rsa"), ("RS256", None)}


def test_the_private_half_of_a_key_is_not_kept() -> None:
    keys = public_keys(jwks([EC.as_dict(private=True), RSA.as_dict(private=True)]), ("ES256", "RS256"))
    assert set(keys) > {("ES256", "ec"), ("RS256", "rsa")}
    assert not any(key.is_private for key in keys.values())


def test_the_first_of_two_keys_with_one_name_counts() -> None:
    twice = [EC.as_dict(private=False), OTHER_EC.as_dict(private=False) | {"kid": "ec"}]
    assert public_keys(jwks(twice), ("ES256",))["ES256", "ec"].thumbprint() == EC.thumbprint()


def test_a_jwks_counts_only_to_its_sixty_fourth_key() -> None:
    ec = EC.as_dict(private=False)
    keys = public_keys(jwks([ec | {"kid": str(number)} for number in range(1, 100)]), ("ES256",))
    assert ("ES256", "64") in keys
    assert ("ES256", "65") not in keys


def test_two_keys_without_name_are_not_guessed_at() -> None:
    nameless = [{name: key.as_dict(private=False)[name] for name in ("kty", "crv", "x", "y")} for key in (EC, OTHER_EC)]
    assert set(public_keys(jwks(nameless[:1]), ("ES256",))) == {("ES256", None)}
    assert public_keys(jwks(nameless), ("ES256",)) == {}


@unhurried
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg"]), JSON_VALUES), max_size=5
    )
)
def test_any_odd_key_is_passed_over(entries: list[dict[str, Any]]) -> None:
    good = [key.as_dict(private=False) for key in (EC, RSA)]
    odd = [key | entry for entry in entries for key in good]
    assert set(public_keys(jwks([*good, *odd]), ("ES256", "RS256"))) >= {("ES256", "ec"), ("RS256", "rsa")}


# --- when keys are fetched: at start, for an unknown key, from time to time ---


class Issuer:
    """Publishes keys and notes when it was asked."""

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


async def test_keys_are_there_once_the_task_has_started(nursery: trio.Nursery) -> None:
    issuer = Issuer(EC)
    keys = issuer.key_set()
    assert keys.find("ES256", "ec") is None
    await nursery.start(keys.run)
    assert keys.find("ES256", "ec") is not None
    assert issuer.asked_at == [0]


async def test_a_new_key_is_refused_until_a_fetch_has_brought_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    issuer = Issuer(EC)
    settings = AuthSettings(algorithms=("ES256",), jwks_file="keys.json")
    verifier = TokenVerifier(settings, keys=issuer.key_set())
    await nursery.start(verifier.run)
    await trio.sleep(45)
    issuer.keys = (EC, OTHER_EC)
    assert refusal(signed_by(OTHER_EC, "ES256"), verifier) == "unknown key"
    assert issuer.asked_at == [0]  # the request itself fetched nothing
    await trio.sleep(0.001)
    assert verifier.verify(signed_by(OTHER_EC, "ES256"), now=NOW).user_id == ALICE
    await trio.sleep(599)
    assert issuer.asked_at == [0, 45]


async def test_whatever_keys_strangers_name_there_is_one_fetch_in_thirty_seconds(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    issuer = Issuer(EC)
    keys = issuer.key_set()
    await nursery.start(keys.run)
    for number in range(100):
        assert keys.find("ES256", f"invented {number}") is None
        assert keys.find("RS256", None) is None
        await trio.sleep(1)
    assert issuer.asked_at == [0, 30, 60, 90]


async def test_keys_are_read_again_every_ten_minutes_and_a_withdrawn_one_is_gone(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    issuer = Issuer(EC, OTHER_EC)
    keys = issuer.key_set()
    await nursery.start(keys.run)
    issuer.keys = (OTHER_EC,)
    await trio.sleep(599)
    assert keys.find("ES256", "ec") is not None
    await trio.sleep(2)
    assert keys.find("ES256", "ec") is None
    assert keys.find("ES256", "other") is not None
    assert issuer.asked_at[:2] == [0, 600]


@pytest.mark.parametrize(
    "failure", [OSError("unreachable"), ValueError("HTTP status 500"), http.client.BadStatusLine("?"), RecursionError()]
)
async def test_old_keys_stay_in_use_while_fetches_fail_and_it_tries_again_after_the_gap(
    nursery: trio.Nursery, autojump_clock: MockClock, failure: Exception
) -> None:
    issuer = Issuer(EC)
    keys = issuer.key_set()
    await nursery.start(keys.run)
    issuer.failure = failure
    await trio.sleep(645)
    assert keys.find("ES256", "ec") is not None
    assert issuer.asked_at == [0, 600, 630]


async def test_the_server_starts_although_the_issuer_is_down(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    issuer = Issuer(EC)
    issuer.failure = OSError("unreachable")
    keys = issuer.key_set()
    await nursery.start(keys.run)
    assert keys.find("ES256", "ec") is None
    issuer.failure = None
    await trio.sleep(31)
    assert keys.find("ES256", "ec") is not None


async def test_a_document_that_is_no_jwks_changes_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    documents = iter([jwks([EC.as_dict(private=False)]), b"<html>", b"[]", b'{"keys": {}}', b"\xff", b"[" * 100_000])

    async def read() -> bytes:
        return next(documents)

    keys = KeySet(read, algorithms=("ES256",), fetch_gap_seconds=30, refresh_seconds=30)
    await nursery.start(keys.run)
    await trio.sleep(155)
    assert keys.find("ES256", "ec") is not None
    assert next(documents, None) is None


async def test_a_fetch_that_takes_too_long_is_given_up(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    keys = KeySet(trio.sleep_forever, algorithms=("ES256",), fetch_gap_seconds=30, refresh_seconds=600)
    asked_at = trio.current_time()
    await nursery.start(keys.run)
    assert trio.current_time() - asked_at == pytest.approx(5)


# --- reading over HTTP and from a file ---


async def test_keys_are_read_over_http(nursery: trio.Nursery) -> None:
    with serving({"/auth/v1/jwks.json?v=2": (200, jwks([EC.as_dict(private=False)]))}) as address:
        settings = AuthSettings(algorithms=("ES256",), jwks_url=f"{address}/auth/v1/jwks.json?v=2")
        verifier = TokenVerifier(settings)
        await nursery.start(verifier.run)
    assert verifier.verify(signed_by(EC, "ES256"), now=NOW).user_id == ALICE


async def test_a_redirect_is_not_followed() -> None:
    answers: dict[str, Answer] = {"/moved": (302, b"/jwks.json"), "/jwks.json": (200, jwks([]))}
    with serving(answers) as address, pytest.raises(ValueError, match="HTTP status 302"):
        await jwks_reader(url=f"{address}/moved", file="")()


@pytest.mark.parametrize("status", [201, 204, 404, 500])
async def test_any_status_but_200_is_a_failed_fetch(status: int) -> None:
    with serving({"/": (status, b"")}) as address, pytest.raises(ValueError, match=f"HTTP status {status}"):
        await jwks_reader(url=address, file="")()


async def test_a_document_over_the_size_limit_is_refused() -> None:
    answers: dict[str, Answer] = {"/fits": (200, b" " * MAX_DOCUMENT_BYTES), "/over": (200, b" " * 9_999_999)}
    with serving(answers) as address:
        assert len(await jwks_reader(url=f"{address}/fits", file="")()) == MAX_DOCUMENT_BYTES
        with pytest.raises(ValueError, match="larger than"):
            await jwks_reader(url=f"{address}/over", file="")()


async def test_a_file_without_end_is_refused_after_its_first_bytes(tmp_path: Path) -> None:
    pipe = tmp_path / "jwks.json"
    os.mkfifo(pipe)
    refused = threading.Event()

    def write() -> None:
        with pipe.open("wb", buffering=0) as end, suppress(BrokenPipeError):
            end.write(b" " * (MAX_DOCUMENT_BYTES + 1))
            refused.wait()

    threading.Thread(target=write, daemon=True).start()
    try:
        with trio.fail_after(5), pytest.raises(ValueError, match="larger than"):
            await jwks_reader(url="", file=str(pipe))()
    finally:
        refused.set()


async def test_a_server_that_never_answers_holds_up_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    silence = Silence()
    with serving({"/": (200, silence)}) as address:
        verifier = TokenVerifier(AuthSettings(algorithms=("ES256",), jwks_url=address))
        asked_at, began = trio.current_time(), time.monotonic()
        await nursery.start(verifier.run)
        assert trio.current_time() - asked_at == pytest.approx(5)
        assert time.monotonic() - began < 4  # the thread, left behind, waits five real seconds
        assert refusal(signed_by(EC, "ES256"), verifier) == "unknown key"
        silence.set()


async def test_a_silent_server_holds_one_thread_however_often_it_is_asked() -> None:
    silence = Silence()
    with serving({"/": (200, silence)}) as address:
        read = jwks_reader(url=address, file="")
        for _ in range(3):
            with trio.move_on_after(0.1):
                await read()
        assert silence.askers <= 1
        silence.set()


async def test_a_silent_server_gets_its_thread_back_to_us_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.jwks.FETCH_SECONDS", 0.05)
    silence = Silence()
    with serving({"/": (200, silence)}) as address, trio.fail_after(5):
        with pytest.raises(TimeoutError):
            await jwks_reader(url=address, file="")()
        silence.set()


async def test_a_server_that_is_not_there_is_a_failed_fetch() -> None:
    with serving({}) as address:
        pass
    with pytest.raises(OSError, match="refused"):
        await jwks_reader(url=address, file="")()


async def test_a_file_is_read_again_like_an_address(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    read = jwks_reader(url="", file=str(file))
    with pytest.raises(FileNotFoundError):
        await read()
    file.write_bytes(jwks([EC.as_dict(private=False)]))
    assert ("ES256", "ec") in public_keys(await read(), ("ES256",))
    file.write_bytes(jwks([OTHER_EC.as_dict(private=False)]))
    assert ("ES256", "other") in public_keys(await read(), ("ES256",))


async def test_a_failed_fetch_is_logged_without_the_path(nursery: trio.Nursery, tmp_path: Path) -> None:
    settings = AuthSettings(algorithms=("ES256",), jwks_file=str(tmp_path / "missing.json"))
    with capture_logs() as events:
        await nursery.start(TokenVerifier(settings).run)
    assert [event["reason"] for event in events] == ["FileNotFoundError No such file or directory"]
    assert str(tmp_path) not in str(events)


# --- what the tests speak in ---


def verify(token: str, by: AuthSettings | TokenVerifier | None = None, *, now: float = NOW) -> Identity:
    verifier = by if isinstance(by, TokenVerifier) else TokenVerifier(by or AuthSettings(), secret=SECRET)
    return verifier.verify(token, now=now)


def refusal(token: str, by: AuthSettings | TokenVerifier | None = None, *, now: float = NOW) -> str:
    with pytest.raises(TokenRefused) as refused:
        verify(token, by, now=now)
    return refused.value.description


async def started(nursery: trio.Nursery, algorithms: tuple[Algorithm, ...], *keys: ECKey | RSAKey) -> TokenVerifier:
    """A verifier that has the secret and has fetched these keys."""
    settings = AuthSettings(algorithms=algorithms, jwks_file="keys.json")
    verifier = TokenVerifier(settings, secret=SECRET, keys=Issuer(*keys).key_set())
    await nursery.start(verifier.run)
    return verifier


def claims(**changes: Any) -> dict[str, Any]:
    return {"sub": str(ALICE), "exp": int(NOW) + 60, **changes}


def without(name: str) -> dict[str, Any]:
    return {other: value for other, value in claims().items() if other != name}


def signed(body: dict[str, Any], *, header: dict[str, Any] | None = None, secret: str | bytes = SECRET) -> str:
    """HS256 by hand, so that what no issuer would sign can be signed."""
    return signed_text(json.dumps(body), header=json.dumps(header or {"alg": "HS256"}), secret=secret)


def signed_text(body: str, *, header: str = '{"alg": "HS256"}', secret: str | bytes = SECRET) -> str:
    text = f"{base64url(header.encode())}.{base64url(body.encode())}"
    key = secret.encode() if isinstance(secret, str) else secret
    return f"{text}.{base64url(hmac.digest(key, text.encode(), 'sha256'))}"


def signed_by(key: ECKey | RSAKey, algorithm: str, **header: Any) -> str:
    fields = {"alg": algorithm, "kid": key.kid} | header
    present = {name: value for name, value in fields.items() if value is not None}
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    return serialize_compact(present, json.dumps(claims()), key, registry=registry)


def encoded(value: object) -> str:
    return base64url(json.dumps(value).encode())


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(token: str, number: int) -> Any:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[number] + "=="))


def jwks(keys: list[Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


class Silence(threading.Event):
    """An answer that does not come until it is set."""

    askers = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.askers += 1
        return super().wait(timeout)


Answer = tuple[int, bytes | Silence]


@contextmanager
def serving(answers: dict[str, Answer]) -> Iterator[str]:
    """The address of a real HTTP server; it keeps an open connection where the answer is silence."""

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
    # Above 32768 the kernel hands out ports to clients.
    for port in random.sample(range(20_000, 32_768), 50):
        with suppress(OSError):
            return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    raise AssertionError("no free port")
