"""A live stream with viewers and with fans who send one tip after the other, at little CPU time."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import trio

from domain.ids import UserId
from server.access.tokens import issue_token
from server.broadcast.codec import Encoding
from server.ids import new_uuid
from server.loadtest.client.passive_members import Head, PassiveMember, PassiveMembers
from server.loadtest.measures.figures import LoadCounts
from server.loadtest.rest import RestClient

TIP_TOKENS = 1
TOKEN_SECONDS = 2 * 3600
RATE_TOKENS_PER_MIN = 60
CONNECTED_AT_ONCE = 16
WARM_UP_TIPS = 20  # of each fan: the first few are not representative
SETTLE_SECONDS = 20.0  # for events that are under way when the fans stop
LOOK_SECONDS = 0.01


class TipHead(Head, rename="camel"):
    """The start of a tip's event with its sender: a fan writes its name into the message."""

    message: str | None = None


class RoundTrip(msgspec.Struct, frozen=True, array_like=True):
    """When a tip was sent (unix seconds), and how long it took until its sender received the event."""

    sent_at: float
    ms: float


class Viewer(PassiveMember):
    """A member that receives and counts every tip."""

    __slots__ = ("tips",)

    def __init__(self, passive_members: PassiveMembers, token: str) -> None:
        super().__init__(passive_members, token)
        self.tips = 0

    def on_event(self, event: Head) -> None:
        super().on_event(event)
        if event.type == "tip:new" and event.seq is not None:
            self.tips += 1


class Fan(Viewer):
    """Sends a tip, waits until it receives its event, and sends the next."""

    __slots__ = ("_message", "_name", "_sent_at", "round_trips", "sent", "tipping", "waits")

    def __init__(self, passive_members: PassiveMembers, token: str, name: str) -> None:
        super().__init__(passive_members, token)
        self.sent = 0
        self.tipping = False
        self.waits = False  # for its own tip
        self.round_trips: list[RoundTrip] = []
        self._name = name
        self._message = ""
        self._sent_at = 0.0

    def begin(self) -> None:
        self.tipping = True
        self._tip()

    def on_event(self, event: Head) -> None:
        super().on_event(event)
        if self.waits and isinstance(event, TipHead) and event.type == "tip:new" and event.message == self._message:
            self.waits = False
            took = time.perf_counter() - self._sent_at
            self.round_trips.append(RoundTrip(time.time() - took, took * 1000))
            if self.tipping:
                self._tip()

    def _tip(self) -> None:
        self.sent += 1
        self.waits = True
        self._message = f"{self._name} {self.sent}"
        tip = {"channel": self.channel, "amountTokens": TIP_TOKENS, "message": self._message, "key": self._message}
        self._sent_at = time.perf_counter()
        self.send({"type": "tip:send", **tip})


class TipRoom:
    """All members of one live stream."""

    def __init__(self, creator: UserId, viewers: Sequence[Viewer], fans: Sequence[Fan], counts: LoadCounts) -> None:
        self.creator = creator
        self.fans = fans
        self._viewers = viewers
        self._counts = counts

    async def tip(self, seconds: float) -> list[RoundTrip]:
        """Let all fans tip for so long. Raises AssertionError unless each member received each tip once, in order."""
        for fan in self.fans:
            fan.begin()
        await _wait_until(self._all_warm)
        begins_at = time.time()
        await trio.sleep(seconds)
        ends_at = time.time()
        for fan in self.fans:
            fan.tipping = False
        await _wait_until(self._all_received)
        self._check()
        trips = [trip for fan in self.fans for trip in fan.round_trips]
        return [trip for trip in trips if begins_at <= trip.sent_at < ends_at]

    @property
    def deliveries(self) -> int:
        """Return the number of tips received by all members together."""
        return self.tips * (len(self._viewers) + len(self.fans))

    @property
    def tips(self) -> int:
        """Return the number of tips sent so far."""
        return sum(fan.sent for fan in self.fans)

    def _all_warm(self) -> bool:
        assert not self._counts.errors, dict(self._counts.errors)
        return all(len(fan.round_trips) >= WARM_UP_TIPS for fan in self.fans)

    def _all_received(self) -> bool:
        assert not self._counts.errors, dict(self._counts.errors)
        return all(member.tips >= self.tips for member in (*self._viewers, *self.fans))

    def _check(self) -> None:
        for member in (*self._viewers, *self.fans):
            assert member.tips == self.tips, f"{member.tips} of {self.tips} tips were received by one of the members"
            assert (member.position.lost, member.position.doubled) == (0, 0), member.position.first_fault
        assert not any(fan.waits for fan in self.fans)


@asynccontextmanager
async def open_tip_room(
    rest: RestClient, url: str, secret: str, fans: Sequence[UserId], viewers: int
) -> AsyncIterator[TipRoom]:
    """Let a new creator go live and all members join; at the end the stream ends."""

    def token_of(user_id: UserId) -> str:
        return issue_token(secret, user_id, ttl_seconds=TOKEN_SECONDS, now=time.time())

    creator, counts = UserId(new_uuid()), LoadCounts()
    token = token_of(creator)
    await rest.ask("PUT", "/creators/me", token, {"displayName": "Cleo", "rateTokensPerMin": RATE_TOKENS_PER_MIN})
    made = await rest.ask("POST", "/streams", token, {"title": "A bench", "type": "public"})
    stream_id, channel = made["stream"]["id"], made["stream"]["channel"]
    await rest.ask("POST", f"/streams/{stream_id}/start", token)
    async with trio.open_nursery() as nursery:
        passive_members = PassiveMembers(url, Encoding.JSON, counts, nursery, TipHead)
        nursery.start_soon(passive_members.run)
        listening = [Viewer(passive_members, token_of(UserId(new_uuid()))) for _ in range(viewers)]
        # The stream is part of the name, since a key of the same fan in an earlier stream would be the same.
        tipping = [Fan(passive_members, token_of(fan), f"{channel} {number}") for number, fan in enumerate(fans)]
        await _join_all([*listening, *tipping], channel)
        yield TipRoom(creator, listening, tipping, counts)
        nursery.cancel_scope.cancel()
    await rest.ask("POST", f"/streams/{stream_id}/end", token)


async def _join_all(members: Sequence[Viewer], channel: str) -> None:
    limit = trio.CapacityLimiter(CONNECTED_AT_ONCE)

    async def join(member: Viewer) -> None:
        async with limit:
            await member.connect()
            await member.join(channel)

    async with trio.open_nursery() as nursery:
        for member in members:
            nursery.start_soon(join, member)


async def _wait_until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(SETTLE_SECONDS):
        while not holds():  # noqa: ASYNC110  # reason: what members count wakes nobody
            await trio.sleep(LOOK_SECONDS)
