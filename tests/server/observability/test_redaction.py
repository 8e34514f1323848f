"""Values that no log line may contain, as plain values."""

from typing import Any

import pytest

from server.config.secrets import Secrets
from server.observability.redaction import REDACTED, Redaction, Unredacted, secret_words
from tests.server.rest.problems import SOMEBODY
from tests.support.clients import token_of

TOKEN = token_of(SOMEBODY)
ADDRESS = "postgresql://calls:hunter%2F2@db.example/calls"
SECRETS = Secrets(ADDRESS, "signs-all-tokens-0123456789-0123456789", "opens-the-webhook-0123456789-0123456789")


def redacted(**fields: Any) -> dict[str, Any]:
    return dict(Redaction(secret_words(SECRETS))(None, "info", fields))


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"Authorization: Bearer {TOKEN}",
        f"malformed: '{TOKEN[:60]}'",
        "Bearer opaque-thing",
        "finn@example.org wrote",
        f"cannot reach {ADDRESS}",
        "cannot reach postgres://a:b@c:5432/d?x=y",
        "password hunter/2 or hunter%2F2 is wrong",
        f"signed with {SECRETS.jwt_secret}",
        f"opened with {SECRETS.billing_webhook_secret!r}",
        "invalid input for query argument $3: 'I love you' (a str is needed)",
        "duplicate key\nDETAIL:  Key (memo)=(I love you) already exists.",
    ],
)
@pytest.mark.parametrize("place", ["bare", "in a list", "in a map", "in an exception"])
def test_a_secret_is_redacted_at_any_depth(text: str, place: str) -> None:
    value: Any = {
        "bare": text,
        "in a list": [1, (text,)],
        "in a map": {"a": {"b": text}},
        "in an exception": ValueError(text),
    }[place]
    shown = str(redacted(event="storage.away", reason=value))
    for secret in (TOKEN[:50], "opaque", "finn@", "hunter", "a:b@c", "signs-all", "opens-the", "I love you"):
        assert secret not in shown
    assert REDACTED in shown


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "jwt_secret",
        "password",
        "Authorization",
        "apiKey",
        "database_url",
        "email",
        "displayName",
        "text",
        "message",
        "memo",
    ],
)
def test_a_field_with_the_name_of_a_secret_is_redacted(name: str) -> None:
    assert redacted(**{name: "x"}) == {name: REDACTED}
    assert redacted(inner={name: ["x"]}) == {"inner": {name: REDACTED}}


def test_every_other_value_is_logged_unchanged() -> None:
    fields = {"event": "room.crashed", "room": str(SOMEBODY), "crashes": 2, "ms": 1.5, "again": True, "by": None}
    assert redacted(**fields, tokens=30, rule="/api/calls/<uuid:call_id>") == {
        **fields,
        "tokens": 30,
        "rule": "/api/calls/<uuid:call_id>",
    }


def test_without_secrets_no_text_is_changed() -> None:
    assert Redaction([""])(None, "info", {"event": "server.draining"}) == {"event": "server.draining"}


def test_a_text_of_this_server_is_shown_as_it_is_and_as_an_ordinary_text() -> None:
    shown = redacted(request_id=Unredacted(TOKEN))["request_id"]
    assert (shown, type(shown)) == (TOKEN, str)
