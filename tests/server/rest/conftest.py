"""A web client in the test's own trio loop, users who send requests through it, and phones that are online."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import trio

from domain.ids import UserId
from server.context import Context
from server.ids import new_uuid
from tests.support.clients import PATIENCE_SECONDS, SECRET, Phone, token_of
from tests.support.openapi import check_described
from tests.support.servers import add_creator, add_fan, give, phone_of
from tests.support.tokens import signed


class Caller:
    """One user's HTTP client."""

    def __init__(self, web: httpx.AsyncClient, user_id: UserId, *, role: str | None = None) -> None:
        self.user_id = user_id
        self._web = web
        self.token = token_of(user_id, role=role)

    def claim(self, **claims: Any) -> None:
        """Replace the token by one of no role that also has these claims."""
        known = {"sub": str(self.user_id), "aud": "authenticated", "exp": int(time.time()) + 3600}
        self.token = signed({**known, **claims}, secret=SECRET)

    async def ask(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **rest: Any
    ) -> httpx.Response:
        signed = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        return await self._web.request(method, f"/api{path}", headers=signed, **rest)

    async def get(self, path: str, **query: Any) -> httpx.Response:
        return await self.ask("GET", path, params=query)

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        return await self.ask("POST", path, json=body, headers={} if key is None else {"Idempotency-Key": key})

    async def follow(self, url: str) -> httpx.Response:
        """Follow a link as it was given."""
        return await self.ask("GET", url.removeprefix("/api"))

    async def put(self, path: str, body: Any = None) -> httpx.Response:
        return await self.ask("PUT", path, json=body)


class Users:
    """Makes users of a server, and connects their phones."""

    def __init__(self, context: Context, web: httpx.AsyncClient, stack: AsyncExitStack) -> None:
        self._context = context
        self._web = web
        self._stack = stack

    def stranger(self) -> Caller:
        """Return a user with a token whom the server has never seen."""
        return Caller(self._web, UserId(new_uuid()))

    async def fan(self, tokens: int = 100) -> Caller:
        return Caller(self._web, await add_fan(self._context, tokens))

    async def creator(self, rate: int = 60, tokens: int = 0) -> Caller:
        user_id = await add_creator(self._context, rate)
        if tokens:
            await give(self._context, user_id, tokens)
        return Caller(self._web, user_id)

    async def operator(self) -> Caller:
        return Caller(self._web, UserId(new_uuid()), role="operator")

    async def phone(self, caller: Caller) -> Phone:
        """Connect the user's phone until the test ends."""
        phone = phone_of(self._context, caller.user_id)
        self._stack.push_async_callback(trio.to_thread.run_sync, phone.__exit__)
        await trio.to_thread.run_sync(phone.open)
        return phone

    async def online_creator(self, rate: int = 60) -> Caller:
        creator = await self.creator(rate)
        await self.phone(creator)
        return creator

    async def start_call(self, fan: Caller, creator: Caller, **wanted: Any) -> tuple[str, Phone, Phone]:
        """Return the id of a call that both have joined and whose first block is paid, and their phones."""
        fans, creators = await self.phone(fan), await self.phone(creator)
        rung = await fan.post("/calls/init", {"creatorId": str(creator.user_id), **wanted})
        assert rung.status_code == 201, rung.text
        call_id, channel = rung.json()["callId"], rung.json()["channel"]
        assert (await creator.post(f"/calls/{call_id}/accept")).status_code == 200
        for phone in (creators, fans):
            await trio.to_thread.run_sync(phone.join, channel)
        await trio.to_thread.run_sync(fans.wait_for, "block:charged")
        return call_id, fans, creators


def client_of(context: Context) -> httpx.AsyncClient:
    """Yield a client without a token, which checks that every response is as the OpenAPI document says."""
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{context.http_port}",
        timeout=PATIENCE_SECONDS,
        verify=False,
        event_hooks={"response": [check_described]},
    )


@asynccontextmanager
async def users_of(context: Context) -> AsyncIterator[Users]:
    """Yield users whose phones disconnect at the end."""
    async with AsyncExitStack() as stack:
        web = await stack.enter_async_context(client_of(context))
        yield Users(context, web, stack)


@pytest.fixture
async def web(context: Context) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(context) as client:
        yield client


@pytest.fixture
async def users(context: Context) -> AsyncIterator[Users]:
    async with users_of(context) as made:
        yield made


@pytest.fixture
async def browser(context: Context) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token, of paths that the OpenAPI document does not describe."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{context.http_port}", verify=False) as client:
        yield client
