"""Forged and malformed tokens are refused: signatures, algorithms, encodings, and any input at all."""

import hmac
import json
import math
import uuid
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey

from server.access.tokens import TokenRefused, issue_token
from server.config.auth import AuthSettings
from tests.support.tokens import (
    ALICE,
    EC,
    JSON_VALUES,
    NOW,
    OTHER_EC,
    RSA,
    SECRET,
    base64url,
    claims,
    encoded,
    json_objects,
    refusal,
    signed,
    signed_by,
    signed_text,
    started,
    unhurried,
    verify,
)

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
