"""The automatic creators of the demo: one answers calls and chat, one is always live.

They are clients like any other, of the server that they run in.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle
from typing import Any

import trio

from server.config.listen_address import parse_address
from server.context import Context
from server.demo.users import ANSWERING, STREAMING, DemoUser, demo_token
from server.loadtest.client.client import AnswerTimeout, Client, Disconnected, Event
from server.loadtest.client.reconnect import NOT_CONNECTED
from server.loadtest.measures.plan import LoadRefused
from server.loadtest.rest import RequestRefused, RestClient

RECONNECT_SECONDS = 2.0
ACCEPT_SECONDS = 2.0  # of ringing: long enough to see and to cancel
REPLY_SECONDS = 1.5  # before a line of chat, which also bounds how often one is sent
UNREAD_MAX = 100  # events; of more, the newest are dropped, since nobody waits for an answer to each
TICKET_TOKENS = 150

LINES = (
    "Good to hear you! What would you like to talk about?",
    "Tell me more.",
    "I have never thought about it like that.",
    "Each half minute is one block; watch the ring fill up.",
    "You may pause at any time: no block is charged while we pause.",
)

Respond = Callable[[Client, Event], Awaitable[None]]


@asynccontextmanager
async def automatic_creators(context: Context) -> AsyncIterator[None]:
    """Act for the automatic creators during the block, if the demo is open.

    A creator whose connection is lost returns after RECONNECT_SECONDS. With public keys nobody here can sign tokens,
    and the creators do not connect.
    """
    secret = context.secrets.jwt_secret
    async with trio.open_nursery() as nursery:
        if context.payments.demo is not None and secret is not None:
            http_url, websocket_url = _urls(context)
            for user, begin, respond in (
                (ANSWERING, _wait_for_calls, partial(_answer_calls_and_chat, ANSWERING)),
                (STREAMING, partial(_go_live, http_url, secret), partial(_chat_on_stream, STREAMING)),
            ):
                connect = partial(_run_session, websocket_url, user, secret, begin, respond)
                nursery.start_soon(context.faults.keep_running, "demo", connect)
        yield
        nursery.cancel_scope.cancel()


def _urls(context: Context) -> tuple[str, str]:
    """Return the addresses of both ports, as this process reaches them."""
    http, websocket = (
        parse_address(each.listen).host_in_url for each in (context.settings.http, context.settings.websocket)
    )
    return f"http://{http}:{context.http_port}", f"ws://{websocket}:{context.websocket_port}/ws"


async def _run_session(
    url: str, user: DemoUser, secret: str, begin: Callable[[Client], Awaitable[None]], respond: Respond
) -> None:
    """Run one session from its opening to its end, and wait a moment before the next."""
    send, receive = trio.open_memory_channel[Event](UNREAD_MAX)

    def take(event: Event) -> None:
        if send.statistics().current_buffer_used < UNREAD_MAX:
            send.send_nowait(event)

    async def respond_to_all(client: Client) -> None:
        async for event in receive:
            await respond(client, event)

    try:
        async with trio.open_nursery() as nursery:
            client = Client(nursery, url, demo_token(user, secret, time.time()), on_event=take, kept=1)
            await client.open()
            await begin(client)
            nursery.start_soon(respond_to_all, client)
            await client.wait_closed()
            nursery.cancel_scope.cancel()
    except* (*NOT_CONNECTED, Disconnected, AnswerTimeout, LoadRefused, RequestRefused):
        pass  # the server drains or is busy: the next session begins anew
    await trio.sleep(RECONNECT_SECONDS)


async def _wait_for_calls(client: Client) -> None:
    """A creator who is online and accepts calls needs to do nothing more."""


async def _answer_calls_and_chat(user: DemoUser, client: Client, event: Event) -> None:
    if event["type"] == "call:ringing":
        await trio.sleep(ACCEPT_SECONDS)
        await client.ask("call:accept", callId=event["callId"])
        await client.join(event["channel"])
    else:
        await _chat(user, client, event)


async def _go_live(http_url: str, secret: str, client: Client) -> None:
    """Join the creator's live stream, or start one, and announce a show with tickets if none is announced."""
    rest, token = RestClient(http_url), demo_token(STREAMING, secret, time.time())
    try:
        live = await _find_stream(rest, token, "live")
        if live is None:
            live = await _announce(rest, token, title="All day with Mara", type="public")
            await rest.ask("POST", f"/streams/{live['id']}/start", token)
        if await _find_stream(rest, token, "scheduled") is None:
            await _announce(rest, token, title="Mara's evening show", type="private", ticketPriceTokens=TICKET_TOKENS)
    finally:
        rest.close()
    await client.join(live["channel"])


async def _find_stream(rest: RestClient, token: str, status: str) -> Event | None:
    found = await rest.ask("GET", f"/streams?status={status}&creatorId={STREAMING.user_id}&limit=1", token)
    return next(iter(found["items"]), None)


async def _announce(rest: RestClient, token: str, **show: Any) -> Event:
    announced: Event = (await rest.ask("POST", "/streams", token, show))["stream"]
    return announced


async def _chat_on_stream(user: DemoUser, client: Client, event: Event) -> None:
    if event["type"] in ("stream:ended", "room:closed"):
        await client.close()  # the next session starts another stream
    else:
        await _chat(user, client, event)


async def _chat(user: DemoUser, client: Client, event: Event) -> None:
    """Reply to a line of somebody else, and thank for a tip."""
    if event["type"] not in ("chat:new", "tip:new") or event["from"]["userId"] == str(user.user_id):
        return
    await trio.sleep(REPLY_SECONDS)
    if event["type"] == "tip:new":
        text = f"Thank you for {event['amountTokens']} tokens, {event['from']['displayName'] or 'friend'}!"
    else:
        text = next(_lines)
    await client.ask("chat:send", channel=event["channel"], text=text)


_lines = cycle(LINES)
