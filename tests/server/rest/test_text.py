"""Users' texts over HTTP: refused if invisible, stored without display control characters."""

from typing import Any

import pytest

from domain.ids import UserId
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import check

INVISIBLE = ("\u200b\u3164\u2060", " \u202e\u202c", "\ufe0f\u200d", "\u2800")
STEERING = "An\u202ena \u2066K\u2069.\u200b"


def bodies(somebody: UserId) -> dict[tuple[str, str], tuple[str, dict[str, Any]]]:
    """Each route that takes a user's text: the field, and the rest of the body."""
    user = str(somebody)
    return {
        ("PUT", "/creators/me"): ("displayName", {"rateTokensPerMin": 60}),
        ("POST", "/streams"): ("title", {"type": "public"}),
        ("POST", "/overlay-tokens"): ("name", {}),
        ("POST", "/reports"): ("reason", {"userId": user}),
        ("POST", "/admin/credits"): ("reason", {"userId": user, "tokens": 1}),
        ("POST", "/admin/bans"): ("reason", {"userId": user}),
        ("POST", "/admin/refunds"): ("reason", {"tipId": user}),
    }


def texts_in(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for inner in value.values() for text in texts_in(inner)]
    return []


async def creating_operator(users: Users) -> Caller:
    operator = await users.operator()
    assert (await operator.put("/creators/me", {"displayName": "Olga", "rateTokensPerMin": 60})).status_code == 200
    return operator


@pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
async def test_invisible_text_is_refused_by_name(users: Users, text: str) -> None:
    operator, other = await creating_operator(users), await users.fan()
    for (method, path), (field, rest) in bodies(other.user_id).items():
        fields = check(await operator.ask(method, path, json={**rest, field: text}), 400, "VALIDATION_FAILED")
        assert fields["errors"] == [{"field": field, "reason": "must have a visible character"}], path


async def test_text_is_stored_without_display_control_characters(users: Users) -> None:
    operator, other = await creating_operator(users), await users.fan()
    for (method, path), (field, rest) in bodies(other.user_id).items():
        answer = await operator.ask(method, path, json={**rest, field: STEERING})
        if path != "/admin/refunds":  # there is no such tip
            assert answer.status_code in (200, 201), answer.text
            assert path == "/admin/credits" or "Anna K." in texts_in(answer.json()), path
        assert "\u202e" not in answer.text


async def test_a_tip_with_an_invisible_message_is_a_tip_without_one(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    body = {"toCreatorId": str(creator.user_id), "amountTokens": 5}
    for text, kept in (*((text, None) for text in INVISIBLE), (STEERING, "Anna K.")):
        answer = await fan.post("/tips/send", {**body, "message": text})
        assert answer.json()["tip"]["message"] == kept
