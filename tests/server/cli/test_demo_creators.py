"""The greeting of `serve --demo`, and its automatic creators, as a client finds them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.cli.demo_creators import LINES
from server.demo.users import ANSWERING, DEMO_USERS, FANS, STREAMING
from tests.support.clients import Phone
from tests.support.processes import ServerProcess, eventually


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("demo") / "data", "--demo") as running:
        yield running
        running.terminate()
        assert running.wait_exit() == 0
        assert not running.logged("demo.fault")


@pytest.fixture
def fan(server: ServerProcess) -> Iterator[Phone]:
    token = next(user["token"] for user in _users(server) if user["userId"] == str(FANS[0].user_id))
    phone = Phone(server.http_port, server.websocket_port, FANS[0].user_id)
    phone.token = token
    phone.http.headers["Authorization"] = f"Bearer {token}"
    with phone:
        yield phone


def _users(server: ServerProcess) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = server.get("/api/demo/users").json()["items"]
    return items


def _card(fan: Phone) -> dict[str, Any]:
    found: dict[str, Any] = fan.http.get(f"/creators/{ANSWERING.user_id}").json()
    return found


def _streams(fan: Phone, status: str) -> list[dict[str, Any]]:
    query = {"status": status, "creatorId": str(STREAMING.user_id)}
    items: list[dict[str, Any]] = fan.http.get("/streams", params=query).json()["items"]
    return items


def test_the_greeting_names_the_demo_users_and_tokens_that_work(server: ServerProcess) -> None:
    eventually(lambda: "demo-call" in server.out.all()[-1], "the last line of the greeting")
    output = server.out.all()
    for user in (user for user in DEMO_USERS if not user.automatic):
        token = output[output.index(f"{user.title}: {user.user_id}") + 1].strip()
        me = server.get("/api/me", token=token).json()["user"]
        assert (me["userId"], me["displayName"]) == (str(user.user_id), user.name)
    assert output[-1].strip() == f"halfminute demo-call --data {server.data_dir} --http 127.0.0.1:{server.http_port}"


def test_one_creator_answers_a_call_and_each_line_of_chat(fan: Phone) -> None:
    eventually(lambda: _card(fan)["online"], "the automatic creator")
    rung = fan.http.post("/calls/init", json={"creatorId": str(ANSWERING.user_id)})
    assert rung.status_code == 201, rung.text
    channel = rung.json()["channel"]
    fan.wait_for("call:accepted")
    assert fan.join(channel)["type"] == "room:joined"
    assert fan.wait_for("block:charged")["blockNo"] == 1
    fan.ask_ok({"type": "chat:send", "channel": channel, "text": "hello"})
    said = fan.wait_for("chat:new", text=LINES[0])
    assert said["from"] == {"userId": str(ANSWERING.user_id), "displayName": ANSWERING.name}
    fan.ask_ok({"type": "tip:send", "channel": channel, "amountTokens": 7, "key": "a tip"})
    fan.wait_for("chat:new", text=f"Thank you for 7 tokens, {FANS[0].name}!")
    fan.ask_ok({"type": "call:end", "callId": rung.json()["callId"]})
    assert fan.wait_for("call:ended")["reason"] == "hangup"


def test_another_is_always_live_and_has_announced_a_show(server: ServerProcess, fan: Phone) -> None:
    eventually(lambda: _streams(fan, "live") and _streams(fan, "scheduled"), "the automatic creator's streams")
    (live,), (announced,) = _streams(fan, "live"), _streams(fan, "scheduled")
    assert announced["ticketPriceTokens"] == 150
    joined = fan.join(live["channel"])
    if str(STREAMING.user_id) not in {member["userId"] for member in joined["members"]}:
        fan.wait_for("member:joined", userId=str(STREAMING.user_id))
    owner = next(user["token"] for user in _users(server) if user["userId"] == str(STREAMING.user_id))
    ended = fan.http.post(f"/streams/{live['id']}/end", headers={"Authorization": f"Bearer {owner}"})
    assert ended.status_code == 200, ended.text
    eventually(lambda: [each for each in _streams(fan, "live") if each["id"] != live["id"]], "another stream")
    assert len(_streams(fan, "scheduled")) == 1


def test_after_a_restart_both_are_there_again_and_nothing_is_doubled(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", "--demo")
    with server:
        token = next(user["token"] for user in _users(server) if user["userId"] == str(FANS[1].user_id))

        def streams(status: str) -> list[str]:
            path = f"/api/streams?status={status}&creatorId={STREAMING.user_id}"
            return [each["id"] for each in server.get(path, token=token).json()["items"]]

        def there() -> bool:
            return bool(streams("live") and streams("scheduled"))

        eventually(there, "both streams")
        before = streams("live"), streams("scheduled")
        server.terminate()
        assert server.wait_exit() == 0
        server.start()
        path = f"/api/creators/{STREAMING.user_id}"
        eventually(lambda: server.get(path, token=token).json()["online"], "the streaming creator")
        eventually(lambda: server.get(f"/api/creators/{ANSWERING.user_id}", token=token).json()["online"], "the other")
        assert (streams("live"), streams("scheduled")) == before
