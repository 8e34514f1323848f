"""Creators: their cards, their terms, and the users whom they block."""

from typing import Any
from uuid import UUID

import pytest

from domain.ids import UserId
from server.context import Context
from server.sessions import online_creators
from storage.people.users import creators_among
from tests.server.rest.conftest import Users
from tests.server.rest.problems import SOMEBODY, check


async def test_a_user_becomes_a_creator_and_changes_the_terms(users: Users) -> None:
    user = await users.fan(0)
    card = await user.put("/creators/me", {"displayName": "Cleo", "rateTokensPerMin": 90, "acceptsCalls": False})
    assert card.status_code == 200
    expected: dict[str, Any] = {
        "userId": str(user.user_id),
        "displayName": "Cleo",
        "about": "",
        "pictureUrl": "",
        "rateTokensPerMin": 90,
        "acceptsCalls": False,
        "online": False,
        "busy": False,
    }
    assert card.json() == expected
    picture = {"pictureUrl": "https://pictures.example.com:8443/cleo.jpg?size=200#face"}
    changes: list[dict[str, Any]] = [{"rateTokensPerMin": 120}, {"acceptsCalls": True}, {"displayName": "Clea"}, {}]
    for terms in (*changes, {"about": "Talks at night"}, picture, {"about": ""}, {"pictureUrl": ""}):
        changed = await user.put("/creators/me", terms)
        expected |= terms
        assert changed.json() == expected, "only what was sent has changed"
        assert (await user.get(f"/creators/{user.user_id}")).json() == expected


async def test_a_new_creator_needs_a_rate_and_accepts_calls(users: Users) -> None:
    user = await users.fan(0)
    for terms in ({}, {"displayName": "Cleo"}, {"acceptsCalls": True}):
        fields = check(await user.put("/creators/me", terms), 400, "VALIDATION_FAILED")
        assert fields["errors"] == [{"field": "rateTokensPerMin", "reason": "is required to become a creator"}]
    me = (await user.get("/me")).json()["user"]
    assert (me["isCreator"], me["displayName"]) == (False, ""), "nothing was changed"
    assert (await user.put("/creators/me", {"rateTokensPerMin": 1})).json()["acceptsCalls"] is True


async def test_a_name_is_stored_without_display_control_characters(users: Users) -> None:
    user = await users.fan(0)
    card = await user.put("/creators/me", {"displayName": " Cl\u0007eo\nDe\u009be ", "rateTokensPerMin": 1})
    assert card.json()["displayName"] == "Cleo Dee", "the end of a line parts words, as a space does"


async def test_invalid_terms_are_named(users: Users) -> None:
    user = await users.fan(0)
    check(await user.put("/creators/me", {}), 400, "VALIDATION_FAILED")
    for field, values in {
        "rateTokensPerMin": (0, -1, 1_000_000_001, "5", 5.0, None),
        "displayName": ("", "\n\t ", "x" * 81, 7),
        "acceptsCalls": (1, "true", None),
        "about": ("x" * 501, 7, None),
        "pictureUrl": (
            "http://example.com/a.jpg",
            "https://user@example.com/a.jpg",
            "https://example.com/a b.jpg",
            "https://",
            "javascript:alert(1)",
            "/a.jpg",
            "https://example.com/\n",
            f"https://example.com/{'x' * 500}",
            None,
        ),
    }.items():
        for value in values:
            terms = {"rateTokensPerMin": 5, field: value}
            fields = check(await user.put("/creators/me", terms), 400, "VALIDATION_FAILED")
            assert [error["field"] for error in fields["errors"]] == [field]
    assert (await user.get("/me")).json()["user"]["isCreator"] is False


async def test_a_text_about_a_creator_is_cleaned(users: Users) -> None:
    creator = await users.creator()
    card = await creator.put("/creators/me", {"about": " \u202eTalks\u0007 at night\u200b "})
    assert card.json()["about"] == "Talks at night"


async def test_creators_are_found_by_the_beginning_of_their_name(users: Users) -> None:
    fan = await users.fan(0)
    for name in ("Cleo", "cleopatra", "Uncle", "100%"):
        await (await users.creator()).put("/creators/me", {"displayName": name})
    await fan.put("/me", {"displayName": "Cleophas"})
    for wanted, expected in (("CLE", ["cleopatra", "Cleo"]), ("100%", ["100%"]), ("1_", []), ("x", [])):
        found = (await fan.get("/creators", name=wanted)).json()
        assert [card["displayName"] for card in found["items"]] == expected
        assert found["total"] == len(expected)
    first = await fan.get("/creators", name="cle", limit=1)
    second = await fan.follow(first.links["next"]["url"])
    assert [page.json()["items"][0]["displayName"] for page in (first, second)] == ["cleopatra", "Cleo"]
    for name in ("", "\u200b", "x" * 81):
        check(await fan.get("/creators", name=name), 400, "VALIDATION_FAILED")


async def test_a_card_says_whether_a_creator_is_online_and_busy(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    path = f"/creators/{creator.user_id}"
    assert [(await fan.get(path)).json()[name] for name in ("online", "busy")] == [False, False]
    await users.phone(creator)
    assert [(await fan.get(path)).json()[name] for name in ("online", "busy")] == [True, False]
    await fan.post("/calls/init", {"creatorId": str(creator.user_id)})
    assert [(await fan.get(path)).json()[name] for name in ("online", "busy")] == [True, True]


async def test_creators_are_found_by_their_presence(context: Context, users: Users) -> None:
    fan, away = await users.fan(), await users.creator()
    near, busy = [await users.online_creator() for _ in range(2)]
    await users.phone(fan)  # a user who is online and no creator
    await users.start_call(fan, busy)
    await near.put("/creators/me", {"displayName": "Zoe"})

    async def found(**query: str) -> list[UserId]:
        answer = (await fan.get("/creators", **query)).json()
        assert len(answer["items"]) == answer["total"]
        assert all(card["online"] == (query["presence"] == "online") for card in answer["items"])
        return [UserId(UUID(card["userId"])) for card in answer["items"]]

    assert await found(presence="online") == [busy.user_id, near.user_id]
    assert await found(presence="offline") == [away.user_id]
    assert await found(presence="online", name="zo") == [near.user_id]
    assert await found(presence="offline", name="zo") == []
    # One who has gone is offline at once.
    context.sessions.evict(near.user_id, 4001, "gone")
    assert await found(presence="online") == [busy.user_id]
    assert await found(presence="offline") == [near.user_id, away.user_id]
    check(await fan.get("/creators", presence="away"), 400, "VALIDATION_FAILED")


async def test_the_ids_of_all_who_are_connected_are_looked_up_at_most_once_a_second(
    context: Context, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan, creator = await users.fan(), await users.online_creator()
    lookups = 0

    async def looked_up(*args: Any) -> list[UserId]:
        nonlocal lookups
        lookups += 1
        return await creators_among(*args)

    monkeypatch.setattr(online_creators, "creators_among", looked_up)
    monkeypatch.setattr(online_creators, "FRESH_SECONDS", 3600)
    for _ in range(3):
        assert (await fan.get("/creators", presence="online")).json()["total"] == 1
    later = await users.online_creator()
    assert (await fan.get("/creators", presence="online")).json()["items"][0]["userId"] == str(creator.user_id)
    assert lookups == 1
    monkeypatch.setattr(online_creators, "FRESH_SECONDS", 0)
    assert (await fan.get("/creators", presence="online")).json()["items"][0]["userId"] == str(later.user_id)
    assert lookups == 2


async def test_a_user_who_is_no_creator_has_no_card(users: Users) -> None:
    fan = await users.fan(0)
    for user_id in (fan.user_id, SOMEBODY):
        check(await fan.get(f"/creators/{user_id}"), 404, "NOT_FOUND")


async def test_creators_are_listed_newest_first_and_new_ones_do_not_shift_the_next_page(users: Users) -> None:
    fan = await users.fan(0)
    made = [str((await users.creator()).user_id) for _ in range(5)]
    first = await fan.get("/creators", limit=2)
    assert first.json().keys() == {"items", "limit", "offset", "total", "totalCapped"}
    assert [first.json()[name] for name in ("limit", "offset", "total", "totalCapped")] == [2, 0, 5, False]
    await users.creator()
    shown = [item["userId"] for item in first.json()["items"]]
    page = first
    while "next" in page.links:
        assert len(shown) < len(made), "the pages go round in circles"
        page = await fan.follow(page.links["next"]["url"])
        shown += [item["userId"] for item in page.json()["items"]]
    assert shown == made[::-1]


async def test_an_offset_skips_as_many(users: Users) -> None:
    fan = await users.fan(0)
    made = [str((await users.creator()).user_id) for _ in range(3)]
    page = await fan.get("/creators", limit=2, offset=1)
    assert [item["userId"] for item in page.json()["items"]] == [made[1], made[0]]
    assert "Link" not in page.headers


async def test_a_forged_cursor_is_refused(users: Users) -> None:
    fan = await users.fan(0)
    for cursor in ("nonsense", "%00", "é"):
        fields = check(await fan.get("/creators", before=cursor), 400, "VALIDATION_FAILED")
        assert [error["field"] for error in fields["errors"]] == ["before"]


# Blocking


async def test_a_blocked_user_finds_the_creator_unavailable_until_unblocked(users: Users) -> None:
    fan, creator = await users.fan(), await users.online_creator()
    path = f"/creators/me/blocks/{fan.user_id}"
    for _ in range(2):
        blocked = await creator.put(path)
        assert blocked.json() == {"userId": str(fan.user_id), "blocked": True}
    check(await fan.post("/calls/init", {"creatorId": str(creator.user_id)}), 409, "CREATOR_UNAVAILABLE")
    for _ in range(2):
        unblocked = await creator.ask("DELETE", path)
        assert unblocked.json() == {"userId": str(fan.user_id), "blocked": False}
    assert (await fan.post("/calls/init", {"creatorId": str(creator.user_id)})).status_code == 201


async def test_to_a_blocked_user_the_creator_appears_offline_in_lists(users: Users) -> None:
    fan, other, creator = await users.fan(), await users.fan(), await users.online_creator()
    await creator.put(f"/creators/me/blocks/{fan.user_id}")
    for caller, presence in ((fan, "offline"), (other, "online")):
        listed = (await caller.get("/creators", presence=presence)).json()["items"]
        assert [(card["userId"], card["online"]) for card in listed] == [(str(creator.user_id), presence == "online")]
        without = {"online": "offline", "offline": "online"}[presence]
        assert (await caller.get("/creators", presence=without)).json()["items"] == []


async def test_a_creator_reads_whom_they_have_blocked(users: Users) -> None:
    creator, other = await users.creator(), await users.creator()
    fans = [await users.fan() for _ in range(3)]
    await fans[1].put("/me", {"displayName": "Finn"})
    for fan in fans:
        assert (await creator.put(f"/creators/me/blocks/{fan.user_id}")).status_code == 200
    assert (await other.put(f"/creators/me/blocks/{fans[0].user_id}")).status_code == 200
    page = (await creator.get("/creators/me/blocks", limit=2)).json()
    assert page["total"] == 3
    assert [(each["userId"], each["displayName"]) for each in page["items"]] == [
        (str(fans[2].user_id), ""),
        (str(fans[1].user_id), "Finn"),
    ]
    assert (await creator.ask("DELETE", f"/creators/me/blocks/{fans[2].user_id}")).status_code == 200
    rest = (await creator.get("/creators/me/blocks")).json()["items"]
    assert [each["userId"] for each in rest] == [str(fans[1].user_id), str(fans[0].user_id)]
    assert (await fans[0].get("/creators/me/blocks")).json()["items"] == []


async def test_only_creators_block_and_only_users_are_blocked(context: Context, users: Users) -> None:
    fan, creator = await users.fan(0), await users.creator()
    check(await fan.put(f"/creators/me/blocks/{creator.user_id}"), 409, "NOT_A_CREATOR")
    check(await creator.put(f"/creators/me/blocks/{SOMEBODY}"), 404, "NOT_FOUND")
    check(await creator.put("/creators/me/blocks/nobody"), 404, "NOT_FOUND")
    assert await context.postgres.fetch("SELECT 1 FROM creator_blocks") == []
