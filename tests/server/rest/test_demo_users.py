"""The demo's users, with a token each, and only where no other machine can reach them."""

from xml.etree import ElementTree

import httpx
import pytest

from server.context import Context
from server.demo.portraits import portrait_path
from server.demo.users import CREATORS, DEMO_USERS
from tests.server.rest.conftest import Users
from tests.server.rest.problems import SOMEBODY, check

DEMO = "/api/demo/users"


@pytest.fixture
def opened(context: Context) -> Context:
    context.payments.open_demo(f"http://127.0.0.1:{context.http_port}")
    return context


async def test_each_user_of_the_demo_has_a_token_that_works(opened: Context, web: httpx.AsyncClient) -> None:
    listed = (await web.get(DEMO)).json()["items"]
    assert [user["userId"] for user in listed] == [str(user.user_id) for user in DEMO_USERS]
    for user in listed:
        me = await web.get("/api/me", headers={"Authorization": f"Bearer {user['token']}"})
        assert me.json()["user"]["userId"] == user["userId"]
        assert me.json()["user"]["isOperator"] is (user["role"] == "operator")


async def test_each_has_a_portrait_of_their_own(
    opened: Context, web: httpx.AsyncClient, browser: httpx.AsyncClient
) -> None:
    drawn = set()
    for user in (await web.get(DEMO)).json()["items"]:
        shown = await browser.get(user["pictureUrl"])
        assert (shown.status_code, shown.headers["Content-Type"]) == (200, "image/svg+xml")
        assert ElementTree.fromstring(shown.text).get("aria-label") == user["displayName"]
        drawn.add(shown.text)
    assert len(drawn) == len(DEMO_USERS)
    check(await browser.get(f"/demo/portraits/{SOMEBODY}.svg"), 404, "NOT_FOUND")


async def test_a_server_without_demo_has_neither(
    context: Context, web: httpx.AsyncClient, browser: httpx.AsyncClient
) -> None:
    check(await web.get(DEMO), 404, "NOT_FOUND")
    check(await browser.get(portrait_path(CREATORS[0])), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8080", 200), ("[::1]:8080", 200), ("127.0.0.1", 200), ("evil.example.com", 404), ("10.0.0.1", 404)],
)
async def test_a_website_whose_name_points_here_reads_no_token(
    opened: Context, web: httpx.AsyncClient, host: str, status: int
) -> None:
    assert (await web.get(DEMO, headers={"Host": host})).status_code == status


async def test_a_creator_cannot_take_the_path_of_a_portrait_for_a_picture(opened: Context, users: Users) -> None:
    creator = await users.creator()
    check(await creator.put("/creators/me", {"pictureUrl": portrait_path(CREATORS[0])}), 400, "VALIDATION_FAILED")
