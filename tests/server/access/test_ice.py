"""The ICE servers that clients are given."""

import base64
import hashlib
import hmac
from uuid import UUID

import msgspec
import trio

from domain.ids import UserId
from server.access.ice import IceServers
from server.clock import Clock
from server.config.settings import MediaSettings
from server.context import Context
from tests.support.clients import go_live
from tests.support.servers import SECRETS, add_creator, online, running_server, settings

USER = UserId(UUID(int=7))
TURN = MediaSettings(stun_servers=("stun:a:1",), turn_servers=("turn:b:2", "turns:b:3"), turn_seconds=600)


async def test_a_turn_password_is_the_users_own_and_expires() -> None:
    clock = Clock()
    stun, turn = IceServers(TURN, "a secret", clock).of(USER)
    assert stun == {"urls": ["stun:a:1"]} and turn["urls"] == ["turn:b:2", "turns:b:3"]
    expires_at, _, whose = turn["username"].partition(":")
    assert whose == str(USER) and abs(int(expires_at) - clock.now() / 1_000_000 - 600) < 2
    digest = hmac.new(b"a secret", turn["username"].encode(), hashlib.sha1).digest()
    assert base64.b64decode(turn["credential"]) == digest


async def test_without_a_secret_no_turn_server_is_listed() -> None:
    assert IceServers(TURN, None, Clock()).of(USER) == [{"urls": ["stun:a:1"]}]
    assert IceServers(MediaSettings(stun_servers=()), "a secret", Clock()).of(USER) == []


async def test_a_join_answers_with_the_ice_servers(dsn: str) -> None:
    wanted = msgspec.structs.replace(settings(), media=TURN)
    async with running_server(dsn, wanted, msgspec.structs.replace(SECRETS, turn_secret="a secret")) as context:
        joined = await _join(context)
    assert [sorted(server) for server in joined["iceServers"]] == [["urls"], ["credential", "urls", "username"]]


async def _join(context: Context) -> dict[str, list[dict[str, str]]]:
    creator = await add_creator(context, 60)
    async with online(context, creator) as phone:
        return await trio.to_thread.run_sync(lambda: phone.join(go_live(phone)["channel"]))
