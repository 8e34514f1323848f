"""Answers that are sent while they are made: broken ones are not taken for whole, and what they hold is bounded."""

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager

import httpx
import msgspec
import pytest
import trio

from domain.ids import UserId
from server.access.export_slots import OF_ALL_USERS, OF_USER, ExportSlots, TooManyExports
from server.context import Context
from server.ids import new_uuid
from server.rest.routes import exports
from storage.accounting.lines import Form, Portion
from storage.accounting.wallet_entries import WalletReader
from storage.database_errors import StorageUnavailable
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.raw import exchange
from tests.support.clients import PATIENCE_SECONDS
from tests.support.faults import faults_at

EXPORT = "/api/wallet/export?format=ndjson"


@pytest.fixture
async def fan(users: Users, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """A fan with four entries, which are sent one by one."""
    monkeypatch.setattr(exports, "ROWS", 1)
    fan, creator = await users.fan(100), await users.creator()
    for _ in range(3):
        sent = await fan.post("/tips/send", {"toCreatorId": str(creator.user_id), "amountTokens": 1})
        assert sent.status_code == 200
    return fan


class Stopped:
    """Stops reading behind the second portion, until it is released or is to fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = trio.Event()
        self.released = trio.Event()
        self.error: Exception | None = None
        next_portion = WalletReader.next_portion

        async def read_slowly(reader: WalletReader, form: Form, rows: int) -> Portion:
            if reader._span.low == 2:
                self.reached.set()
                await self.released.wait()
                if self.error is not None:
                    raise self.error
            return await next_portion(reader, form, rows)

        monkeypatch.setattr(WalletReader, "next_portion", read_slowly)


@asynccontextmanager
async def asked(context: Context, fan: Caller, **headers: str) -> AsyncIterator[httpx.Response]:
    """Begin an export, and leave its connection at the end whether it was read or not."""
    signed = {"Authorization": f"Bearer {fan.token}", "Accept-Encoding": "identity", **headers}
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{context.http_port}", timeout=PATIENCE_SECONDS) as web,
        web.stream("GET", EXPORT, headers=signed) as answer,
    ):
        yield answer


async def wait_until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while not holds():
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("error", [StorageUnavailable("gone"), RuntimeError("a bug")])
async def test_an_answer_that_breaks_off_is_not_complete(
    context: Context, fan: Caller, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole = (await fan.get("/wallet/export", format="ndjson")).content
    stopped = Stopped(monkeypatch)
    stopped.error = error
    stopped.released.set()
    async with asked(context, fan) as answer:
        arrived = bytearray()
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            async for part in answer.aiter_raw():
                arrived += part
    assert whole.startswith(arrived) and len(arrived.splitlines()) == 2
    stopped.error = None
    last = msgspec.json.decode(arrived.splitlines()[-1])["n"]
    rest = await fan.get("/wallet/export", format="ndjson", after=last)
    assert arrived + rest.content == whole
    await wait_until(lambda: len(context.exports) == 0)
    assert (await fan.get("/wallet")).status_code == 200


async def test_only_a_bug_is_a_fault(context: Context, fan: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = Stopped(monkeypatch)
    stopped.released.set()
    for error, faults in ((StorageUnavailable("gone"), 0), (RuntimeError("a bug"), 1)):
        stopped.error = error
        async with asked(context, fan) as answer:
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()
        await wait_until(lambda: len(context.exports) == 0)
        assert faults_at(context, "request") == faults


async def test_the_first_portion_is_there_before_the_second_is_read(
    context: Context, fan: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Stopped(monkeypatch)
    async with asked(context, fan) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        await stopped.reached.wait()
        lines = answer.aiter_lines()
        assert [msgspec.json.decode(await anext(lines))["n"] for _ in range(2)] == [1, 2]
        stopped.released.set()
        assert [msgspec.json.decode(line)["n"] async for line in lines] == [3, 4]


async def test_a_client_that_leaves_ends_the_export(
    context: Context, fan: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Stopped(monkeypatch)
    async with asked(context, fan):
        await stopped.reached.wait()
        assert len(context.exports) == 1
    await wait_until(lambda: len(context.exports) == 0)


async def test_a_user_has_so_many_exports_at_once(
    context: Context, fan: Caller, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Stopped(monkeypatch)
    other = await users.fan(10)
    async with AsyncExitStack() as stack:
        for _ in range(OF_USER):
            await stack.enter_async_context(asked(context, fan))
        refused = await fan.get("/wallet/export", format="csv")
        assert (refused.status_code, refused.json()["error"]) == (503, "OVERLOADED")
        assert refused.headers["Retry-After"] == "5"
        assert (await other.get("/wallet/export", format="csv")).status_code == 200
        assert (await fan.get("/wallet/export")).status_code == 200, "a page is no long export"
        stopped.released.set()
    await wait_until(lambda: len(context.exports) == 0)
    assert (await fan.get("/wallet/export", format="csv")).status_code == 200


def test_all_users_together_have_so_many_and_operators_are_not_counted() -> None:
    slots = ExportSlots()
    users = [UserId(new_uuid()) for _ in range(OF_ALL_USERS + 1)]
    with ExitStack() as stack:
        for user in users[:-1]:
            stack.enter_context(slots.hold(user, is_operator=False))
        with pytest.raises(TooManyExports), slots.hold(users[-1], is_operator=False):
            pass
        with slots.hold(users[-1], is_operator=True):
            assert len(slots) == OF_ALL_USERS + 1
    assert len(slots) == 0
    with slots.hold(users[-1], is_operator=False):
        pass


async def test_the_connection_is_kept_after_it(context: Context, fan: Caller) -> None:
    request = f"GET {EXPORT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {fan.token}\r\n"
    raw = await exchange(context, f"{request}\r\n{request}Connection: close\r\n\r\n".encode())
    assert raw.count(b"HTTP/1.1 200") == 2
    assert raw.count(b"\r\n0\r\n\r\n") == 2


async def test_head_has_no_body_and_takes_no_slot(context: Context, fan: Caller) -> None:
    request = f"HEAD {EXPORT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {fan.token}\r\nConnection: close\r\n\r\n"
    raw = await exchange(context, request.encode())
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and body == b""
    assert len(context.exports) == 0


async def test_a_client_of_http_1_0_reads_to_the_end_of_the_connection(context: Context, fan: Caller) -> None:
    raw = await exchange(context, f"GET {EXPORT} HTTP/1.0\r\nAuthorization: Bearer {fan.token}\r\n\r\n".encode())
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert [msgspec.json.decode(line)["n"] for line in body.splitlines()] == [1, 2, 3, 4]


async def test_packed_parts_arrive_and_break_off_as_plain_ones_do(
    context: Context, fan: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asked(context, fan, **{"Accept-Encoding": "gzip"}) as answer:
        packed = b"".join([part async for part in answer.aiter_raw()])
    assert len(gzip.decompress(packed).splitlines()) == 4
    stopped = Stopped(monkeypatch)
    stopped.error = StorageUnavailable("gone")
    stopped.released.set()
    async with asked(context, fan, **{"Accept-Encoding": "gzip"}) as answer:
        with pytest.raises(httpx.RemoteProtocolError):
            await answer.aread()


async def test_a_bug_before_the_first_portion_is_one_fault_and_an_error(
    context: Context, fan: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> Portion:
        raise RuntimeError("a bug")

    monkeypatch.setattr(WalletReader, "next_portion", fail)
    answer = await fan.get("/wallet/export", format="csv")
    assert (answer.status_code, answer.json()["error"]) == (500, "INTERNAL")
    assert (faults_at(context, "request"), len(context.exports)) == (1, 0)
