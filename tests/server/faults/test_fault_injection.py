"""Tasks, storage calls and steps of the rules raise, each once; the process and every other user live on.

The injection points are found by reading the code (tests/seams/places.py), so that a new one needs no entry here.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
import trio

from domain.ids import UserId
from domain.room import inputs
from server.broadcast import fanout
from server.config.settings import Settings
from server.context import Context
from server.ids import new_uuid
from server.maintenance import tidy_database
from server.rooms.room import LiveRoom
from storage.ledger.audit import audit
from tests.seams.injection import ERRORS, Injection
from tests.seams.places import rules_seams, storage_seams, task_seams
from tests.seams.victims import (
    PATIENCE_SECONDS,
    TRIES,
    Victim,
    go_shopping,
    go_through_a_call,
    go_through_a_stream,
    look_around,
    make_rooms,
)
from tests.server.rest.shop import SELLING, selling
from tests.support.clients import Phone, go_live, ring_and_join
from tests.support.faults import Errors, errors_logged
from tests.support.servers import BILLING_SECRET, add_creator, add_fan, online, running_server
from tests.support.stripe_stand_in import StripeStandIn, signature, stripe_stand_in

in_thread = trio.to_thread.run_sync
SHOW_SECONDS = 0.2  # how long a creator is present before the ticket money is theirs
RESTARTS = 1000  # every step of the rules raises in one room after the other, and no room is to be abandoned for that
LATE_SECONDS_MAX = 30.0  # between two blocks of one second of an honest user, on a busy machine
ROUNDS, ROUNDS_LONG = 3, 6  # how often the victims do everything
# The share of all injection points; those that were not reached are printed.
REACHED_MIN = {"task": 0.7, "storage": 0.6, "rules": 0.75}


class Honest:
    """Users in a call and a stream who do nothing but pay, and their rooms."""

    def __init__(self, fan: Phone, creator: Phone, viewer: Phone, streamer: Phone) -> None:
        self.fan, self.creator, self.viewer, self.streamer = fan, creator, viewer, streamer
        self._began = 0.0
        self.ids: list[UUID] = []

    def begin(self) -> None:
        ring = ring_and_join(self.fan, self.creator)
        stream = go_live(self.streamer, type="private", rateTokensPerMin=60)
        for phone in (self.streamer, self.viewer):
            phone.join(stream["channel"])
        for phone in (self.fan, self.viewer):
            phone.wait_for("block:charged", blockNo=1)
        victims = [UUID(str(phone.user_id)) for phone in (self.fan, self.creator, self.viewer, self.streamer)]
        self.ids = [UUID(ring["callId"]), UUID(stream["id"]), *victims]
        self._began = time.monotonic()

    def check(self) -> str:
        """Check that both go on without a hole, and return the counts of events that were due and received."""
        figures = []
        for name, phone in (("call", self.fan), ("stream", self.viewer)):
            known = len(phone.all_events("block:charged"))
            phone.wait_for("block:charged", blockNo=known + 1)
            blocks = [event["blockNo"] for event in phone.all_events("block:charged")]
            assert blocks == list(range(1, len(blocks) + 1)), f"a hole in the honest {name}"
            assert len(phone.all_events("room:joined")) == 1, f"the honest {name} was restarted"
            due = int(time.monotonic() - self._began) + 1
            figures.append(f"{name}: {due} due, {len(blocks)} heard")
            assert due - len(blocks) <= LATE_SECONDS_MAX, figures
        for phone in (self.creator, self.streamer):
            assert len(phone.all_events("room:joined")) == 1
        return ", ".join(figures)


class Scene:
    """A server with honest users and victims, and the exceptions that are raised there."""

    def __init__(
        self, context: Context, honest: Honest, errors: Errors, injection: Injection, stripe: StripeStandIn
    ) -> None:
        self.context, self.honest, self.errors, self.injection = context, honest, errors, injection
        self._stripe = stripe
        self._ways_to_leave = cycle((self._drain, LiveRoom.disown))
        self._ports = (context.http_port, context.websocket_port)
        self._invited: list[tuple[UserId, ...]] = []

    async def invite(self, rounds: int) -> None:
        """Make the users of so many rounds before anything raises."""
        for _ in range(rounds):
            fans = [await add_fan(self.context, 10_000) for _ in range(3)]
            self._invited.append((*fans, *[await add_creator(self.context, 60) for _ in range(3)]))

    async def torment(self) -> None:
        """Let the victims do everything once."""
        users = self._invited.pop()
        victims = [Victim(*self._ports, user_id) for user_id in users]
        screens = [Victim(*self._ports, user_id) for user_id in users[3:5]]
        operator = Victim(*self._ports, users[0], role="operator")
        stories = (
            partial(go_through_a_call, victims[0], victims[3], screens[0], self._ask_for_a_sweep),
            partial(go_through_a_stream, victims[1], victims[4], screens[1], operator),
            partial(self._look_around, victims[2], victims[5], operator),
        )
        try:
            async with trio.open_nursery() as nursery:
                for story in stories:
                    nursery.start_soon(in_thread, story)
                await tidy_database(self.context)
            await in_thread(make_rooms, victims[2], victims[5], victims[4])
            await self._leave_rooms(next(self._ways_to_leave))
        finally:
            for victim in (*victims, *screens, operator):
                await in_thread(victim.close)

    async def _leave_rooms(self, leave: Callable[[LiveRoom], None]) -> None:
        """Make rooms of victims detect a stall and leave, as if the server drained or another server owned them."""
        rooms = [room for room in self.context.registry if room.id not in self.honest.ids]
        for room in rooms:
            now = room.clock.now()
            room.inbox.deliver(inputs.Stalled(now, False))
            for member_id in room.fanout.members():
                room.inbox.deliver(inputs.ConnectionSilent(member_id))
                room.inbox.deliver(inputs.ConnectionResponsive(member_id))
            room.inbox.deliver(inputs.MessagesHidden(UserId(new_uuid())))
            leave(room)
            room.inbox.deliver(inputs.EndNow("admin"))  # a room that raises as it leaves, and so starts again, is ended
        with trio.fail_after(PATIENCE_SECONDS):
            for room in rooms:
                await room.settled.wait()

    def _drain(self, room: LiveRoom) -> None:
        room.inbox.deliver(inputs.Drain())

    def _look_around(self, fan: Victim, creator: Victim, operator: Victim) -> None:
        look_around(fan, creator, operator)
        go_shopping(fan, operator, self._send_paid)

    def _send_paid(self, purchase: dict[str, Any]) -> None:
        """Send the payment event as the provider does: until it is acknowledged, for a bounded number of attempts."""
        raw = self._stripe.event(purchase)
        signed = {b"Stripe-Signature": signature(raw, time.time()).encode()}
        self._post_until_taken("payments/webhook/stripe", content=raw, headers=signed)

    def _ask_for_a_sweep(self) -> None:
        self._post_until_taken("billing/meter", headers={"X-Billing-Secret": BILLING_SECRET})

    def _post_until_taken(self, path: str, **rest: Any) -> None:
        for _ in range(TRIES):
            url = f"http://127.0.0.1:{self._ports[0]}/api/{path}"
            answer = httpx.post(url, timeout=PATIENCE_SECONDS, verify=False, **rest)
            if answer.status_code < 500:
                return

    def counted(self) -> Counter[str]:
        """Return the number of contained faults by where they were contained."""
        found: Counter[str] = Counter()
        for line in self.context.metrics.exposition().decode().splitlines():
            if line.startswith("halfminute_faults_total{"):
                found[line.split('"')[1]] = int(float(line.split()[-1]))
        return found


@asynccontextmanager
async def scene(dsn: str, error: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(fanout, "AT_ONCE", 1)  # otherwise the fan-out of small rooms needs no task
    injection = Injection(ERRORS[error], monkeypatch)
    with errors_logged() as errors, stripe_stand_in() as stripe:
        async with running_server(dsn, _settings(stripe), SELLING) as context:
            fan, creator = await add_fan(context, 10_000), await add_creator(context, 60)
            viewer, streamer = await add_fan(context, 10_000), await add_creator(context, 60)
            async with (
                online(context, fan) as fans,
                online(context, creator) as creators,
                online(context, viewer) as viewers,
                online(context, streamer) as streamers,
            ):
                honest = Honest(fans, creators, viewers, streamers)
                await in_thread(honest.begin)
                fanouts = [audience for room in context.registry for audience in room.audiences]
                injection.spare(*honest.ids, objects=fanouts)
                trio.lowlevel.add_instrument(injection)
                try:
                    yield Scene(context, honest, errors, injection, stripe)
                finally:
                    injection.disarm()
                    trio.lowlevel.remove_instrument(injection)
            found = [finding async for finding in audit(context.postgres)]
            assert [finding for finding in found if finding.rows] == []


def _settings(stripe: StripeStandIn) -> Settings:
    usual = selling(stripe, block_seconds=1)
    return msgspec.structs.replace(
        usual,
        server=msgspec.structs.replace(usual.server, restarts=RESTARTS),
        streams=msgspec.structs.replace(usual.streams, ticket_release_seconds=SHOW_SECONDS),
    )


def check_faults_are_logged_and_counted(tormented: Scene) -> None:
    counted = tormented.counted()
    # Those below the rooms and the REST server have a counter of their own, and each kind is logged once.
    logged = [error for error in tormented.errors if error["event"] != "asyncio.unhandled"]
    assert sum(counted.values()) == len(logged), (counted, tormented.errors.events)
    assert len(logged) == len(tormented.errors) or tormented.context.postgres.unhandled.count > 0


async def test_every_injection_point_raises_once_and_costs_no_honest_user_anything(
    dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = await torment_all(dsn, "unexpected", monkeypatch, ROUNDS)
    with capsys.disabled():
        print(report)


@pytest.mark.long
@pytest.mark.parametrize("error", ERRORS)
async def test_every_injection_point_raises_every_kind_of_error(
    dsn: str, monkeypatch: pytest.MonkeyPatch, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = await torment_all(dsn, error, monkeypatch, ROUNDS_LONG)
    with capsys.disabled():
        print(report)


async def torment_all(dsn: str, error: str, monkeypatch: pytest.MonkeyPatch, rounds: int) -> str:
    """Arm all injection points at once; each raises when it is reached.

    Return what it cost, and the points that were not reached.
    """
    async with scene(dsn, error, monkeypatch) as tormented:
        await tormented.invite(2 * rounds + 1)
        # Storage comes last: where it fails, rooms receive fewer of the commands that follow.
        for seams in ([*rules_seams(), *task_seams()], storage_seams()):
            tormented.injection.arm(seams)
            for _ in range(rounds if seams[0].kind == "rules" else rounds // 2):
                await tormented.torment()
        injected, missed = tormented.injection.fired, tormented.injection.armed
        tormented.injection.disarm()
        figures = await in_thread(tormented.honest.check)
        await tormented.torment()
        check_faults_are_logged_and_counted(tormented)
        for kind, share in REACHED_MIN.items():
            raised, not_raised = (sum(seam.kind == kind for seam in seams) for seams in (injected, missed))
            assert raised >= share * (raised + not_raised), f"{kind}: {raised} raised, {not_raised} did not: {missed}"
        cost = dict(+tormented.counted())
    unreached = "; ".join(map(str, missed))
    return f"\n{error}: {len(injected)} places raised; honest {figures}; faults {cost}\n  not come by: {unreached}"
