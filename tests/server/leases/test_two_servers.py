"""Real server processes on one database: when one dies, stops or loses the database, each room still has one owner."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from tests.storage.own_postgres import OwnPostgres, own_postgres
from tests.support.clients import SECRET, Phone, go_live
from tests.support.database_reader import DatabaseReader
from tests.support.processes import ServerProcess, eventually

LEASE_SECONDS = 3
# From the end of a lease: a survivor looks once a second, and builds some hundred rooms a second on a busy machine.
TAKEOVER_SECONDS_MAX = LEASE_SECONDS + 15.0
SETTINGS = {
    "HALFMINUTE_JWT_SECRET": SECRET,
    "HALFMINUTE_SERVER_LEASE_SECONDS": str(LEASE_SECONDS),
    "HALFMINUTE_SERVER_CHECKPOINT_SECONDS": "1",
    # Nobody joins these streams, however long a busy machine takes.
    "HALFMINUTE_STREAMS_STREAM_DROP_LIMIT_SECONDS": "3600",
}
LINES = 24  # chat messages that are sent to a stopped server

ADD_STREAMS = """
    WITH s AS (SELECT gen_random_uuid() AS id, gen_random_uuid() AS owner FROM generate_series(1, $2)),
         u AS (INSERT INTO users (supabase_id) SELECT owner FROM s),
         r AS (INSERT INTO rooms (id, kind, channel, created_at, server_id)
               SELECT id, 'stream', replace(id::text, '-', ''), now() - interval '1 hour', $1 FROM s)
    INSERT INTO streams (id, creator_id, title, type, status, started_at, block_seconds, block_rounding, created_at)
    SELECT id, owner, 'Talk', 'public', 'live', now(), 30, 'up', now() FROM s
"""
# Record each lease that was renewed after it had run out.
WATCH_LEASES = (
    "CREATE TABLE lapses (server_id uuid, at timestamptz DEFAULT clock_timestamp())",
    "CREATE FUNCTION note_lapse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO halfminute.lapses (server_id) VALUES (NEW.id); RETURN NEW; END $$",
    "CREATE TRIGGER leases_lapse BEFORE UPDATE ON servers FOR EACH ROW"
    " WHEN (OLD.lease_expires_at < clock_timestamp()) EXECUTE FUNCTION note_lapse()",
)


class Server:
    """One of the servers, and its id in the database."""

    def __init__(self, process: ServerProcess, server_id: UUID) -> None:
        self.process = process
        self.id = server_id


class Cluster:
    """Servers on one PostgreSQL, and its rows about them."""

    def __init__(self, dsn: str) -> None:
        self.database = DatabaseReader(dsn)
        self.servers: list[Server] = []

    def add(self, process: ServerProcess) -> Server:
        known = {server.id for server in self.servers}
        rows = self.database.fetch("SELECT id FROM servers WHERE NOT released")
        (server_id,) = {row["id"] for row in rows} - known
        self.servers.append(Server(process, server_id))
        return self.servers[-1]

    def rooms(self) -> dict[UUID, tuple[UUID | None, int]]:
        """Return owner and epoch of each live room."""
        rows = self.database.fetch("SELECT id, server_id, epoch FROM rooms WHERE ended_at IS NULL")
        return {row["id"]: (row["server_id"], row["epoch"]) for row in rows}

    def lapsed(self) -> set[UUID]:
        return {row["server_id"] for row in self.database.fetch("SELECT server_id FROM lapses")}

    def wait_renewals(self, *servers: Server) -> None:
        """Wait until each of these has renewed its lease several times, for as long as a lease lasts."""
        upto = self.database.fetch("SELECT clock_timestamp() + make_interval(secs => $1)", float(2 * LEASE_SECONDS))[0][
            0
        ]
        renewed = "SELECT count(*) FROM servers WHERE id = ANY($1::uuid[]) AND lease_expires_at > $2"
        ids = [server.id for server in servers]
        eventually(lambda: self.database.fetch(renewed, ids, upto)[0][0] == len(ids), "further renewals")


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[OwnPostgres]:
    with own_postgres(tmp_path / "postgres") as running:
        yield running


@contextmanager
def cluster_of(dsn: str, directory: Path, count: int) -> Iterator[Cluster]:
    """Start servers, and wait until they have watched each other for a whole lease."""
    cluster = Cluster(dsn)
    processes = [
        ServerProcess(directory / f"data{i}", settings={**SETTINGS, "DATABASE_URL": dsn}) for i in range(count)
    ]
    try:
        for process in processes:
            process.start()
            cluster.add(process)
        for statement in WATCH_LEASES:
            cluster.database.fetch(statement)
        if count > 1:
            cluster.wait_renewals(*cluster.servers)
        yield cluster
    finally:
        for process in processes:
            if hasattr(process, "_process") and process.running:
                os.kill(process.pid, signal.SIGCONT)
                process.kill()


@pytest.mark.parametrize(
    ("servers", "rooms"),
    [
        (2, 60),
        pytest.param(2, 323, marks=pytest.mark.long),
        pytest.param(3, 323, marks=pytest.mark.long),
    ],
)
def test_each_room_of_a_killed_server_is_claimed_once(dsn: str, tmp_path: Path, servers: int, rooms: int) -> None:
    with cluster_of(dsn, tmp_path, servers) as cluster:
        killed, *survivors = cluster.servers
        for i, server in enumerate(cluster.servers):
            cluster.database.fetch(ADD_STREAMS, server.id, rooms // servers + (i < rooms % servers))
        eventually(lambda: {epoch for _, epoch in cluster.rooms().values()} == {2}, "every server's own rooms", 60.0)
        before = cluster.rooms()
        killed.process.kill()
        began = time.monotonic()
        eventually(
            lambda: killed.id not in {owner for owner, _ in cluster.rooms().values()},
            "the takeover of every room",
            TAKEOVER_SECONDS_MAX,
        )
        late = [line for server in survivors for line in server.process.logged("lease.not_renewed")]
        print(f"renewals of survivors that failed: {late}")
        print(f"{rooms} rooms, {servers} servers: taken over {time.monotonic() - began:.1f} s after the kill")
        cluster.wait_renewals(*survivors)
        after = cluster.rooms()
        expected = {room: epoch + (owner == killed.id) for room, (owner, epoch) in before.items()}
        assert {room: epoch for room, (_, epoch) in after.items()} == expected
        kept = {room: owner for room, (owner, _) in before.items() if owner != killed.id}
        assert {room: after[room][0] for room in kept} == kept, "no survivor loses a room to another"
        assert cluster.lapsed() == set()
        assert [line for server in survivors for line in server.process.logged("room.fenced")] == []
        # A round logs its adopted rooms once all of them run: its own once, those of the killed server once.
        eventually(lambda: _adopted(survivors) >= len(before), "the end of every adoption", TAKEOVER_SECONDS_MAX)
        assert _adopted(survivors) == len(before)


def test_a_server_that_was_stopped_past_its_lease_publishes_nothing_when_it_resumes(dsn: str, tmp_path: Path) -> None:
    with cluster_of(dsn, tmp_path, 2) as cluster:
        stopped, other = cluster.servers
        ((fan, creator),) = cluster.database.add_pairs(1, tokens=100)
        with _phone(stopped, creator) as cleo, _phone(stopped, fan) as finn:
            stream = go_live(cleo)
            for phone in (cleo, finn):
                assert phone.join(stream["channel"])["type"] == "room:joined"
            _chat(finn, stream["channel"], "before")
            for phone in (cleo, finn):
                phone.wait_for("chat:new", text="before")
            os.kill(stopped.process.pid, signal.SIGSTOP)
            counts = {phone: len(phone.events) for phone in (cleo, finn)}
            for i in range(LINES):
                _chat(finn, stream["channel"], f"line {i}")
            room = UUID(stream["id"])
            eventually(lambda: cluster.rooms()[room][0] == other.id, "a new owner", TAKEOVER_SECONDS_MAX)
            os.kill(stopped.process.pid, signal.SIGCONT)
            eventually(lambda: stopped.process.logged("room.fenced"), "the old owner's learning of it")
            assert finn.ask({"type": "ping"})["type"] == "pong", "all that was sent before is read by now"
            for phone, count in counts.items():
                # That the room is closed here is the only event that its members are sent.
                late = [event for event in phone.events[count:] if "seq" in event and event["type"] != "room:closed"]
                assert late == []
            finn.wait_for("room:closed")
            # ROOM_STARTING until the old owner's room is gone, and then the error that it is on another server.
            refused = [finn.join(stream["channel"])]
            while refused[-1]["error"] == "ROOM_STARTING":
                refused.append(finn.join(stream["channel"]))
            assert refused[-1]["error"] == "OVERLOADED"
            assert all(answer["retryAfterSeconds"] > 0 for answer in refused)
        with _phone(other, fan) as finn:
            joined = finn.join(stream["channel"])
            assert (joined["type"], joined["epoch"]) == ("room:joined", cluster.rooms()[room][1])
            assert [event["text"] for event in joined["history"] if event["type"] == "chat:new"] == []


def test_a_server_that_was_stopped_and_lost_nothing_goes_on(dsn: str, tmp_path: Path) -> None:
    with cluster_of(dsn, tmp_path, 1) as cluster:
        (server,) = cluster.servers
        ((fan, creator),) = cluster.database.add_pairs(1, tokens=100)
        with _phone(server, creator) as cleo, _phone(server, fan) as finn:
            stream = go_live(cleo)
            for phone in (cleo, finn):
                assert phone.join(stream["channel"])["type"] == "room:joined"
            os.kill(server.process.pid, signal.SIGSTOP)
            _chat(finn, stream["channel"], "meanwhile")
            lapsed = "SELECT 1 FROM servers WHERE lease_expires_at < clock_timestamp()"
            eventually(lambda: cluster.database.fetch(lapsed), "the end of its lease")
            os.kill(server.process.pid, signal.SIGCONT)
            cleo.wait_for("chat:new", text="meanwhile")
        assert cluster.rooms()[UUID(stream["id"])] == (server.id, 2)


def test_servers_keep_their_rooms_through_an_outage_that_is_longer_than_their_leases(
    postgres: OwnPostgres, tmp_path: Path
) -> None:
    with cluster_of(postgres.dsn, tmp_path, 2) as cluster:
        pairs = cluster.database.add_pairs(2, tokens=100)
        streams = []
        for server, (_, creator) in zip(cluster.servers, pairs, strict=True):
            with _phone(server, creator) as cleo:
                streams.append(go_live(cleo))
        before = cluster.rooms()
        first, _ = cluster.servers
        with _phone(first, pairs[0][1]) as cleo, _phone(first, pairs[0][0]) as finn:
            for phone in (cleo, finn):
                assert phone.join(streams[0]["channel"])["type"] == "room:joined"
            postgres.stop()
            back_at = time.monotonic() + 2 * LEASE_SECONDS
            sent = 0
            while time.monotonic() < back_at:
                sent += 1
                _chat(finn, streams[0]["channel"], f"line {sent}")
                cleo.wait_for("chat:new", text=f"line {sent}")
                _wait_a_moment()
            postgres.start()
            cluster.wait_renewals(*cluster.servers)
        assert cluster.rooms() == before
        assert cluster.lapsed() == {server.id for server in cluster.servers}, "it was longer than the leases"
        assert [server.process.logged("room.fenced") for server in cluster.servers] == [[], []]


def _adopted(servers: list[Server]) -> int:
    """Return how many rooms these have adopted, by their logs."""
    return sum(line["rooms"] for server in servers for line in server.process.logged("rooms.adopted"))


def _phone(server: Server, user_id: UUID) -> Phone:
    """Connect this user's phone to one of the servers once the `with` block begins."""
    return Phone(server.process.http_port, server.process.websocket_port, user_id)


def _chat(phone: Phone, channel: str, text: str) -> None:
    phone.send({"type": "chat:send", "channel": channel, "text": text})


def _wait_a_moment(seconds: float = 0.3) -> None:
    """Pause as a user does between two chat messages; a room takes ten a second."""
    time.sleep(seconds)
