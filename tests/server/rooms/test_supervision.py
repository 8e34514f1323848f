"""An exception that a client or a row causes ends that room, that connection or that round, and nothing else."""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import pytest
import trio

from server.broadcast import fanout
from server.broadcast.replies import JoinReply
from server.broadcast.send_queue import SendQueue
from server.changes.wallet_events import WalletEvents
from server.context import Context
from server.money import tips
from server.observability import stall_detector
from server.observability.faults import Faults
from server.observability.metrics import Metrics
from server.rooms.committer import Committer
from server.sessions.directory import Sessions
from server.sessions.session import Session
from storage.database_errors import StorageUnavailable
from storage.rooms.tips import find_tipped
from tests.support.clients import Phone, go_live, ring_and_join, send_tip
from tests.support.faults import PlantedFault, errors_logged, faults_at
from tests.support.servers import add_creator, add_fan, online


def once(real: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """Raises at the first call, and calls the original from then on."""
    calls: list[None] = []

    def faulty(*args: Any, **named: Any) -> Any:
        calls.append(None)
        if len(calls) == 1:
            raise error
        return real(*args, **named)

    return faulty


def in_thread(work: Callable[[], Any]) -> Any:
    return trio.to_thread.run_sync(work)


@pytest.mark.parametrize(
    ("error", "answered", "counted"),
    [(PlantedFault(), "INTERNAL", 1), (StorageUnavailable("away"), "STORAGE_UNAVAILABLE", 0)],
)
async def test_a_tip_whose_key_cannot_be_looked_up_is_answered_and_nothing_else_happens(
    context: Context, monkeypatch: pytest.MonkeyPatch, error: Exception, answered: str, counted: int
) -> None:
    monkeypatch.setattr(tips, "find_tipped", once(find_tipped, error))
    fan = await add_fan(context, 100)
    async with online(context, fan) as fans:
        with errors_logged() as errors:
            answer = await in_thread(partial(send_tip, fans, "B" * 21, 5))
            assert answer["error"] == answered
            restart = await in_thread(partial(send_tip, fans, "B" * 21, 5))
            assert restart["error"] == "NOT_FOUND"
    assert faults_at(context, "recall") == counted == len(errors)


async def test_the_actor_outlives_an_observer_that_raises(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WalletEvents, "_wallet_moved", once(WalletEvents._wallet_moved, PlantedFault()))
    with errors_logged() as errors:
        assert await add_fan(context, 100), "whoever posted has their receipt"
    assert faults_at(context, "observer") == 1 == len(errors)
    assert await add_fan(context, 100)


async def test_receipts_that_a_room_cannot_process_restart_that_room_and_the_actor_goes_on(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Committer, "_receive", once(Committer._receive, PlantedFault()))
    fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        with errors_logged() as errors:
            ring = await in_thread(partial(ring_and_join, fans, creators))
            await in_thread(lambda: fans.wait_for("room:joined", epoch=2))
            await in_thread(lambda: fans.wait_for("block:charged", blockNo=3))
            await in_thread(partial(creators.ask_ok, {"type": "call:end", "callId": ring["callId"]}))
    assert errors.events == ["receipts.fault", "room.crashed"]
    assert (faults_at(context, "receipts"), faults_at(context, "room")) == (1, 1)


async def test_a_broadcast_that_fails_halfway_restarts_its_room(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its members would be missing events, some of them for ever."""
    monkeypatch.setattr(fanout, "AT_ONCE", 1)
    creator, *viewers = [await add_creator(context, 60), *[await add_fan(context, 10) for _ in range(3)]]
    async with (
        online(context, creator) as cleo,
        online(context, viewers[0]) as one,
        online(context, viewers[1]) as two,
        online(context, viewers[2]) as three,
    ):

        def join() -> str:
            channel: str = go_live(cleo)["channel"]
            for phone in (cleo, one, two, three):
                phone.join(channel)
            return channel

        channel = await in_thread(join)
        monkeypatch.setattr(fanout.Fanout, "_run_queued_steps", once(fanout.Fanout._run_queued_steps, PlantedFault()))
        with errors_logged() as errors:

            def chat() -> None:
                one.send({"type": "chat:send", "channel": channel, "text": "half of you hear this"})
                for phone in (cleo, one, two, three):
                    phone.wait_for("room:joined", epoch=3)
                one.ask_ok({"type": "chat:send", "channel": channel, "text": "all of you hear this"})
                for phone in (cleo, one, two, three):
                    phone.wait_for("chat:new", text="all of you hear this")

            await in_thread(chat)
    assert errors.events == ["fanout.fault", "room.crashed"]
    assert (faults_at(context, "fanout"), faults_at(context, "room")) == (1, 1)


async def test_a_pulse_that_raises_ends_only_its_connection(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    fan, other = await add_fan(context, 10), await add_fan(context, 10)
    real = Sessions.check

    def faulty(self: Sessions, session: Session, now: float) -> None:
        if session.user_id == fan:
            raise PlantedFault
        real(self, session, now)

    monkeypatch.setattr(stall_detector, "STALL_SECONDS", inf)  # after a stall, sessions are checked in another place
    async with online(context, fan) as fans, online(context, other) as others:
        with errors_logged() as errors:
            monkeypatch.setattr(Sessions, "check", faulty)
            await in_thread(fans.wait_closed)
            assert (await in_thread(partial(others.ask, {"type": "ping"})))["type"] == "pong"
    assert errors.events == ["heartbeat.fault"], "once, and not at each round"
    assert faults_at(context, "heartbeat") == 1


async def test_a_part_of_maintenance_that_raises_keeps_no_other_from_being_done(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted, real = trio.Event(), context.orphans.adopt

    async def broken() -> None:
        raise PlantedFault

    async def adopt() -> None:
        await real()
        if faults_at(context, "maintenance"):
            adopted.set()

    monkeypatch.setattr(context.bans, "apply_changes", broken)
    monkeypatch.setattr(context.orphans, "adopt", adopt)
    with trio.fail_after(20):
        await adopted.wait()


async def test_a_part_of_maintenance_that_finds_the_database_away_is_no_fault(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[float] = []
    restart = trio.Event()

    async def away() -> None:
        rounds.append(trio.current_time())
        if len(rounds) == 2:
            restart.set()
        raise StorageUnavailable("away")

    monkeypatch.setattr(context.bans, "apply_changes", away)
    with errors_logged() as errors, trio.fail_after(20):
        await restart.wait()
    assert faults_at(context, "maintenance") == 0 == len(errors)


async def test_a_connection_that_raises_ends_alone(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    fan, other = await add_fan(context, 10), await add_fan(context, 10)
    real = SendQueue.receive_some
    async with online(context, fan) as fans, online(context, other) as others:
        [session] = context.sessions.of(fan)
        assert session.connection is not None
        broken = session.connection.send_queue

        async def faulty(self: SendQueue, max_bytes: int | None = None) -> bytes:
            if self is broken:
                raise PlantedFault
            return await real(self, max_bytes)

        with errors_logged() as errors:
            monkeypatch.setattr(SendQueue, "receive_some", faulty)
            await in_thread(partial(fans.send, {"type": "ping"}))
            await in_thread(fans.wait_closed)
            await errors.wait(1)
            assert (await in_thread(partial(others.ask, {"type": "ping"})))["type"] == "pong"
    assert errors.events == ["connection.fault"]
    assert faults_at(context, "connection") == 1


async def test_a_viewer_whose_welcome_cannot_be_sent_is_no_member(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise they would be billed for a room without knowing that they are in it."""
    fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:

        def join() -> tuple[Phone, str]:
            channel = go_live(creators, type="private", rateTokensPerMin=60)["channel"]
            creators.join(channel)
            return fans, channel

        _, channel = await in_thread(join)
        monkeypatch.setattr(JoinReply, "_message", once(JoinReply._message, PlantedFault()), raising=False)
        answer = await in_thread(partial(fans.join, channel))
        assert answer["error"] == "INTERNAL"
        await in_thread(lambda: creators.wait_for("member:left"))
        assert (await in_thread(partial(fans.join, channel)))["type"] == "room:joined"
    assert faults_at(context, "reply") == 1 and faults_at(context, "room") == 0


async def test_an_unrequested_cancellation_is_a_fault_and_cancels_nothing_else() -> None:
    faults, others_done = Faults(Metrics()), trio.Event()

    async def cancelled_by_nobody() -> None:
        raise trio.Cancelled._create(source="unknown")

    async def other() -> None:
        await trio.sleep(0.01)
        others_done.set()

    with errors_logged() as errors:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            nursery.start_soon(faults.run, "background_task", cancelled_by_nobody)
    assert others_done.is_set() and errors.events == ["background_task.fault"]


async def test_a_requested_cancellation_proceeds_as_usual() -> None:
    faults = Faults(Metrics())
    with errors_logged() as errors, trio.move_on_after(0) as scope:
        await faults.run("background_task", trio.sleep_forever)
    assert scope.cancelled_caught and errors == []


async def test_a_service_that_raises_is_restarted(autojump_clock: trio.testing.MockClock) -> None:
    faults, runs = Faults(Metrics()), trio.open_memory_channel[int](10)

    async def service(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        runs[0].send_nowait(1)
        if runs[0].statistics().current_buffer_used < 3:
            raise PlantedFault
        task_status.started()
        await trio.sleep_forever()

    with errors_logged() as errors:
        async with trio.open_nursery() as nursery:
            await nursery.start(faults.keep_started, "keys", service)
            await trio.sleep(100)
            nursery.cancel_scope.cancel()
    assert runs[0].statistics().current_buffer_used == 3 and len(errors) == 2
