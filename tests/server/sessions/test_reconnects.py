"""A thousand phones lose the network at the same moment, and reconnect at the same moment."""

import time
from pathlib import Path
from typing import Any

import trio

from domain.ids import UserId
from server.access.tokens import issue_token
from server.broadcast.codec import Encoding
from server.ids import new_uuid
from server.loadtest.client.client import Client
from tests.support.processes import ServerProcess
from tests.support.processor import processor_seconds

PHONES = 1000
OPENED_AT_ONCE = 50  # for the first connect, which is not what is measured
MISSED = 10
BACK_SECONDS_MAX = 20.0  # of the processor, for all of them and the server
# The processor's time is limited and not the clock's, which depends on what else the machine does.
PATIENCE = 10
PATIENT = {"HALFMINUTE_WEBSOCKET_OPEN_SECONDS": "60", "HALFMINUTE_WEBSOCKET_HANDSHAKE_SECONDS": "60"}
ENCODINGS = (Encoding.JSON, Encoding.MSGPACK)


async def test_a_thousand_phones_that_reconnect_at_once_all_receive_what_they_missed(data_dir: Path) -> None:
    with ServerProcess(data_dir, settings=PATIENT) as server:
        creator = token_for(server)
        channel = await trio.to_thread.run_sync(go_live, server, creator)
        url = f"ws://127.0.0.1:{server.websocket_port}/ws"
        async with trio.open_nursery() as nursery:
            owner = Client(nursery, url, creator, patience=PATIENCE)
            await owner.open()
            await owner.join(channel)
            phones = [
                Client(nursery, url, token_for(server), encoding=ENCODINGS[i % 2], patience=PATIENCE)
                for i in range(PHONES)
            ]
            await each(phones, lambda phone: come_in(phone, channel), OPENED_AT_ONCE)
            await each(phones, lambda phone: phone.lose_network(), PHONES)
            for number in range(MISSED):
                assert (await owner.ask("chat:send", channel=channel, text=f"{number}"))["type"] == "ok"
            began = time.process_time() + processor_seconds(server.pid)
            await each(phones, lambda phone: come_back(phone, channel), PHONES)
            assert time.process_time() + processor_seconds(server.pid) - began < BACK_SECONDS_MAX
            await owner.ask("chat:send", channel=channel, text="welcome back")
            await each(phones, lambda phone: phone.wait_for("chat:new", text="welcome back"), PHONES)
            assert [phone.positions.faults for phone in phones if phone.positions.faults] == []
            nursery.cancel_scope.cancel()


def token_for(server: ServerProcess) -> str:
    return issue_token(server.jwt_secret(), UserId(new_uuid()), role=None, ttl_seconds=3600, now=time.time())


def go_live(server: ServerProcess, creator: str) -> str:
    """Start a public stream; return its channel."""
    server.put("/api/creators/me", creator, {"rateTokensPerMin": 60})
    stream = server.post("/api/streams", creator, {"title": "Live", "type": "public"}).json()["stream"]
    return str(server.post(f"/api/streams/{stream['id']}/start", creator, None).json()["stream"]["channel"])


async def come_in(phone: Client, channel: str) -> None:
    await phone.open()
    assert (await phone.join(channel))["type"] == "room:joined"


async def come_back(phone: Client, channel: str) -> None:
    ready = await phone.resume()
    assert ready["resumed"] and ready["lost"] == []
    assert [missed["channel"] for missed in ready["missed"]] == [channel] and ready["missed"][0]["count"] >= MISSED
    await phone.wait_for("chat:new", text=f"{MISSED - 1}")


async def each(phones: list[Client], work: Any, at_once: int) -> None:
    """Run a function for every phone, so many at a time."""
    limit = trio.CapacityLimiter(at_once)

    async def one(phone: Client) -> None:
        async with limit:
            await work(phone)

    async with trio.open_nursery() as nursery:
        for phone in phones:
            nursery.start_soon(one, phone)
