"""Overlay tokens: shown once, stored as a digest, limited, and invalid once revoked."""

from uuid import UUID

import httpx
import trio

from server.context import Context
from storage.people.overlay_tokens import find_overlay_token
from tests.server.rest.conftest import Users
from tests.server.rest.problems import SOMEBODY, check


async def test_a_token_is_shown_once_and_names_its_creator(context: Context, users: Users) -> None:
    creator = await users.creator()
    made = await creator.post("/overlay-tokens", {"name": " my\u0007 scene "})
    assert made.status_code == 201
    card = made.json()
    secret = card.pop("secret")
    assert secret.startswith("hmo_") and len(secret) >= len("hmo_") + 27
    assert (card["name"], card["lastUsedAt"], card["revokedAt"]) == ("my scene", None, None)
    listed = await creator.get("/overlay-tokens")
    assert listed.json()["items"] == [card]
    assert secret not in listed.text
    row = await context.postgres.fetchrow("SELECT t::text AS all FROM overlay_tokens t")
    assert row is not None and secret not in row["all"] and secret.encode().hex() not in row["all"]
    found = await find_overlay_token(context.postgres, secret)
    assert found == (UUID(card["overlayTokenId"]), creator.user_id)
    assert (await creator.get("/overlay-tokens")).json()["items"][0]["lastUsedAt"] is not None


async def test_its_use_is_recorded_once_a_minute(context: Context, users: Users) -> None:
    creator = await users.creator()
    secret = (await creator.post("/overlay-tokens", {"name": "scene"})).json()["secret"]
    noted = []
    for _ in range(2):
        await find_overlay_token(context.postgres, secret)
        noted.append((await creator.get("/overlay-tokens")).json()["items"][0]["lastUsedAt"])
    assert noted[0] == noted[1]
    await context.postgres.execute("UPDATE overlay_tokens SET last_used_at = last_used_at - interval '61 seconds'")
    await find_overlay_token(context.postgres, secret)
    assert (await creator.get("/overlay-tokens")).json()["items"][0]["lastUsedAt"] > noted[0]


async def test_a_forged_secret_is_refused(context: Context, users: Users) -> None:
    creator = await users.creator()
    secret = (await creator.post("/overlay-tokens", {"name": "scene"})).json()["secret"]
    for other in (
        "",
        "hmo_",
        secret[:-1],
        secret + "x",
        secret[4:],
        secret.swapcase(),
        "hmo_" + "é" * 40,
        creator.token,
    ):
        assert await find_overlay_token(context.postgres, other) is None
    assert await find_overlay_token(context.postgres, "hmo_" + "\ud800" * 40) is None


async def test_a_revoked_token_is_refused_and_remains_in_the_list(context: Context, users: Users) -> None:
    creator, other = await users.creator(), await users.creator()
    made = (await creator.post("/overlay-tokens", {"name": "scene"})).json()
    path = f"/overlay-tokens/{made['overlayTokenId']}"
    check(await other.ask("DELETE", path), 404, "NOT_FOUND")
    assert await find_overlay_token(context.postgres, made["secret"]) is not None
    revoked = await creator.ask("DELETE", path)
    assert (revoked.status_code, revoked.json()["revokedAt"] is not None) == (200, True)
    assert (await creator.ask("DELETE", path)).json() == revoked.json()
    assert await find_overlay_token(context.postgres, made["secret"]) is None
    assert (await creator.get("/overlay-tokens")).json()["items"] == [revoked.json()]
    check(await creator.ask("DELETE", f"/overlay-tokens/{SOMEBODY}"), 404, "NOT_FOUND")


async def test_a_creator_has_ten_live_ones_at_most_however_many_are_asked_for_at_once(users: Users) -> None:
    creator = await users.creator()
    answers: list[httpx.Response] = []

    async def make() -> None:
        answers.append(await creator.post("/overlay-tokens", {"name": "scene"}))

    async with trio.open_nursery() as nursery:
        for _ in range(15):
            nursery.start_soon(make)
    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [403] * 5
    made = [answer.json() for answer in answers if answer.status_code == 201]
    assert len({each["secret"] for each in made}) == 10
    check(await creator.post("/overlay-tokens", {"name": "one more"}), 403, "FORBIDDEN")
    await creator.ask("DELETE", f"/overlay-tokens/{made[0]['overlayTokenId']}")
    assert (await creator.post("/overlay-tokens", {"name": "one more"})).status_code == 201


async def test_only_creators_have_overlays_and_each_has_a_name(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    check(await fan.post("/overlay-tokens", {"name": "scene"}), 409, "NOT_A_CREATOR")
    for name in ("", "\t", "x" * 81, 5, None):
        fields = check(await creator.post("/overlay-tokens", {"name": name}), 400, "VALIDATION_FAILED")
        assert [error["field"] for error in fields["errors"]] == ["name"]
    assert (await fan.get("/overlay-tokens")).json()["items"] == []
