"""Public keys from a JWKS: which keys are accepted, when the JWKS is fetched, and what an invalid one changes."""

import http.client
import http.server
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from structlog.testing import capture_logs
from trio.testing import MockClock

from server.access import tokens
from server.access.jwks import KeySet, public_keys
from server.access.tokens import TokenRefused, TokenVerifier, issue_token
from server.config.auth import AuthSettings
from tests.support.tokens import (
    ALICE,
    EC,
    JSON_VALUES,
    NOW,
    OTHER_EC,
    RSA,
    SECRET,
    Issuer,
    base64url,
    jwks,
    refusal,
    signed_by,
    unhurried,
)

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
def test_an_rsa_key_that_is_weak_or_costly_is_skipped(bits: int, size: int) -> None:
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


def test_a_jwks_is_read_only_to_its_sixty_fourth_key() -> None:
    ec = EC.as_dict(private=False)
    keys = public_keys(jwks([ec | {"kid": str(number)} for number in range(1, 100)]), ("ES256",))
    assert ("ES256", "64") in keys
    assert ("ES256", "65") not in keys


def test_two_keys_without_name_are_both_ignored() -> None:
    nameless = [{name: key.as_dict(private=False)[name] for name in ("kty", "crv", "x", "y")} for key in (EC, OTHER_EC)]
    assert set(public_keys(jwks(nameless[:1]), ("ES256",))) == {("ES256", None)}
    assert public_keys(jwks(nameless), ("ES256",)) == {}


@unhurried
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg"]), JSON_VALUES), max_size=5
    )
)
def test_any_malformed_key_is_skipped(entries: list[dict[str, Any]]) -> None:
    good = [key.as_dict(private=False) for key in (EC, RSA)]
    odd = [key | entry for entry in entries for key in good]
    assert set(public_keys(jwks([*good, *odd]), ("ES256", "RS256"))) >= {("ES256", "ec"), ("RS256", "rsa")}


# --- when keys are fetched: at start, for an unknown key, from time to time ---


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


async def test_unknown_key_names_cause_at_most_one_fetch_in_thirty_seconds(
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


async def test_keys_are_read_again_every_ten_minutes_and_a_withdrawn_one_is_removed(
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


async def test_a_verified_token_is_refused_once_its_key_is_withdrawn(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    issuer = Issuer(EC, OTHER_EC)
    settings = AuthSettings(algorithms=("ES256",), jwks_file="keys.json")
    verifier = TokenVerifier(settings, keys=issuer.key_set())
    await nursery.start(verifier.run)
    token = signed_by(EC, "ES256")
    assert verifier.verify(token, now=NOW) == verifier.verify(token, now=NOW)
    issuer.keys = (OTHER_EC,)
    await trio.sleep(601)
    with pytest.raises(TokenRefused, match="unknown key"):
        verifier.verify(token, now=NOW)


async def test_a_verified_token_expires_and_is_one_of_a_limited_number(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "VERIFIED_MAX", 2)
    verifier = TokenVerifier(AuthSettings(), secret=SECRET)
    texts = [issue_token(SECRET, ALICE, ttl_seconds=60 + number, now=NOW) for number in range(3)]
    for text in texts:
        assert verifier.verify(text, now=NOW).user_id == ALICE
    assert list(verifier._verified) == texts[1:]
    with pytest.raises(TokenRefused, match="expired"):
        verifier.verify(texts[2], now=NOW + 3600)


@pytest.mark.parametrize(
    "failure", [OSError("unreachable"), ValueError("HTTP status 500"), http.client.BadStatusLine("?"), RecursionError()]
)
async def test_old_keys_are_used_while_fetches_fail_and_the_fetch_is_retried_after_the_gap(
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


BAD_DOCUMENTS = {
    "empty": b"",
    "a page": b"<html>",
    "a list": b"[]",
    "keys that are no list": b'{"keys": {}}',
    "no text": b"\xff",
    "a deep nest": b"[" * 100_000,
    "cut off": jwks([EC.as_dict(private=False)])[:-10],
    "no keys": b'{"keys": []}',
    "no object in the list": b'{"keys": [null, 1, "good"]}',
    "keys of another algorithm": jwks([RSA.as_dict(private=False)]),
    "keys for encryption": jwks([OTHER_EC.as_dict(private=False) | {"use": "enc"}]),
    "keys that are not on the curve": jwks([OTHER_EC.as_dict(private=False) | {"x": base64url(bytes(31) + b"\1")}]),
    "secrets": jwks([{"kty": "oct", "k": base64url(SECRET.encode()), "alg": "ES256"}]),
    "too many keys before a good one": jwks([{"kty": "oct"}] * 64 + [OTHER_EC.as_dict(private=False)]),
    "an integer of many digits": b'{"keys": [' + b"9" * 5000 + b"]}",
}


@pytest.mark.parametrize("name", BAD_DOCUMENTS)
async def test_a_document_without_a_good_key_changes_nothing_and_is_logged_and_counted(
    nursery: trio.Nursery, autojump_clock: MockClock, name: str
) -> None:
    documents = iter([jwks([EC.as_dict(private=False)]), BAD_DOCUMENTS[name]])

    async def read() -> bytes:
        return next(documents)

    keys = KeySet(read, algorithms=("ES256",), fetch_gap_seconds=30, refresh_seconds=30)
    await nursery.start(keys.run)
    with capture_logs() as logs:
        await trio.sleep(35)
    assert next(documents, None) is None
    assert keys.find("ES256", "ec") is not None
    assert keys.failed_reads == 1
    (line,) = logs
    assert (line["event"], line["log_level"], line["old_keys"]) == ("jwks.not_read", "warning", 2)


async def test_the_next_good_document_replaces_the_keys_that_a_bad_one_left(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    issuer = Issuer(EC)
    keys = issuer.key_set()
    await nursery.start(keys.run)
    issuer.keys = ()
    await trio.sleep(601)
    assert keys.find("ES256", "ec") is not None
    issuer.keys = (OTHER_EC,)
    await trio.sleep(30)  # a failed read is retried after the gap, not only after the period
    assert keys.find("ES256", "ec") is None
    assert keys.find("ES256", "other") is not None


async def test_a_fetch_that_takes_too_long_is_abandoned(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    keys = KeySet(trio.sleep_forever, algorithms=("ES256",), fetch_gap_seconds=30, refresh_seconds=600)
    asked_at = trio.current_time()
    await nursery.start(keys.run)
    assert trio.current_time() - asked_at == pytest.approx(5)
