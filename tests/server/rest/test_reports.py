"""Reports of users about one another, for the operators."""

from typing import Any

from tests.server.rest.conftest import Users
from tests.server.rest.problems import SOMEBODY, check


async def test_a_report_reaches_the_operators(users: Users) -> None:
    fan, other, operator = await users.fan(), await users.fan(), await users.operator()
    about = {"userId": str(other.user_id), "reason": " rude\u0007 "}
    made = await fan.post("/reports", about)
    assert made.status_code == 201
    report = made.json()
    assert report == {
        "reportId": report["reportId"],
        "reporterId": str(fan.user_id),
        "userId": str(other.user_id),
        "roomId": None,
        "reason": "rude",
        "createdAt": report["createdAt"],
    }
    assert (await operator.get("/admin/reports")).json()["items"] == [report]
    check(await fan.get("/admin/reports"), 403, "FORBIDDEN")


async def test_reports_are_paged_newest_first_and_found_by_the_user_they_are_about(users: Users) -> None:
    fan, operator = await users.fan(), await users.operator()
    others = [await users.fan() for _ in range(3)]
    made = [
        (await fan.post("/reports", {"userId": str(other.user_id), "reason": reason})).json()
        for other, reason in (*((other, "rude") for other in others), (others[0], "rude again"))
    ]
    page = await operator.get("/admin/reports", limit=3)
    rest = await operator.follow(page.links["next"]["url"])
    assert page.json()["items"] + rest.json()["items"] == made[::-1]
    of_one = (await operator.get("/admin/reports", userId=others[0].user_id)).json()
    assert (of_one["items"], of_one["total"]) == ([made[3], made[0]], 2)
    check(await operator.get("/admin/reports", userId="x"), 400, "VALIDATION_FAILED")


async def test_a_report_from_a_room_names_one_that_its_reporter_was_in(users: Users) -> None:
    fan, creator, other = await users.fan(), await users.online_creator(), await users.fan()
    call_id = (await fan.post("/calls/init", {"creatorId": str(creator.user_id)})).json()["callId"]
    about: dict[str, Any] = {"userId": str(creator.user_id), "reason": "rude", "roomId": call_id}
    assert (await fan.post("/reports", about)).json()["roomId"] == call_id
    check(await other.post("/reports", about), 404, "NOT_FOUND")
    check(await fan.post("/reports", {**about, "roomId": str(SOMEBODY)}), 404, "NOT_FOUND")


async def test_an_invalid_report_is_refused_by_name(users: Users) -> None:
    fan, other, operator = await users.fan(), await users.fan(), await users.operator()
    about = {"userId": str(other.user_id), "reason": "rude"}
    for field, values in {
        "userId": ("nobody", 5, None, str(fan.user_id)),
        "reason": ("", "\n\t", "a\u0000b", "x" * 1001, 5),
        "roomId": ("nowhere", 5),
    }.items():
        for value in values:
            fields = check(await fan.post("/reports", {**about, field: value}), 400, "VALIDATION_FAILED")
            assert [error["field"] for error in fields["errors"]] == [field]
    check(await fan.post("/reports", {**about, "userId": str(SOMEBODY)}), 404, "NOT_FOUND")
    assert (await operator.get("/admin/reports")).json()["items"] == []
