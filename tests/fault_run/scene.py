"""The scene of a fault run: a server with a database, a key server and honest clients."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from server.ids import new_uuid
from tests.fault_run.faulty_server import FaultyServer
from tests.fault_run.honest_clients import HonestClients
from tests.fault_run.kinds import GOOD_KEYS, FaultContext
from tests.storage.own_postgres import OwnPostgres
from tests.support.client_pool import Pair, Party
from tests.support.clients import SECRET, token_of
from tests.support.database_reader import DatabaseReader
from tests.support.processes import run_command
from tests.support.tokens import EC, Answer, serving, signed_by

GIFT = 100_000  # tokens, enough for the whole run
TOKEN_SECONDS = 86_400  # a clock that is set an hour ahead expires no token
PRESENCE_SECONDS = 6.0
SETTINGS = {
    "HALFMINUTE_JWT_SECRET": SECRET,
    "HALFMINUTE_AUTH_ALGORITHMS": '["HS256", "ES256"]',
    "HALFMINUTE_AUTH_JWKS_REFRESH_SECONDS": "30",
    "HALFMINUTE_AUTH_JWKS_FETCH_GAP_SECONDS": "1",
    "HALFMINUTE_WEBSOCKET_PRESENCE_SECONDS": str(PRESENCE_SECONDS),
    "HALFMINUTE_WEBSOCKET_PARTY_HEARTBEAT_SECONDS": "1",
    "HALFMINUTE_WEBSOCKET_HEARTBEAT_SECONDS": "1",
    "HALFMINUTE_STREAMS_TICKET_RELEASE_SECONDS": "5",  # during the faults
}


class Size(NamedTuple):
    """How large a run is. Of its calls, as many as `leaving` end in the middle of a fault."""

    calls: int
    leaving: int
    streams: int
    viewers: int
    block_seconds: int
    seconds: float  # 0: every fault once


class Scene(NamedTuple):
    """All clients are connected."""

    context: FaultContext
    pool: HonestClients
    leaving: list[Pair]
    operator: str  # the value of each user's token


@contextmanager
def scene(directory: Path, size: Size, chance: random.Random) -> Iterator[Scene]:
    """Yield the scene with all clients connected."""
    keys: dict[str, Answer] = {"/keys.json": GOOD_KEYS}
    (directory / "postgres").mkdir()
    postgres = OwnPostgres(directory / "postgres")
    postgres.start()
    try:
        with serving(keys) as issuer:
            settings = {
                **SETTINGS,
                "DATABASE_URL": postgres.dsn,
                "HALFMINUTE_AUTH_JWKS_URL": f"{issuer}/keys.json",
                "HALFMINUTE_CALLS_BLOCK_SECONDS": str(size.block_seconds),
            }
            assert run_command("migrate", cwd=directory, settings={"DATABASE_URL": postgres.dsn}).exit_code == 0
            with FaultyServer(directory, settings) as server:
                context = FaultContext(server, postgres, keys, chance)
                with _client_pool(context, size) as pool:
                    pool.begin()
                    operator = token_of(new_uuid(), role="operator", ttl_seconds=TOKEN_SECONDS)
                    yield Scene(context, pool, pool.pairs[: size.leaving], operator)
    finally:
        postgres.stop()


def _client_pool(context: FaultContext, size: Size) -> HonestClients:
    """Return honest clients; a block costs one token."""
    watching = size.streams * size.viewers
    rate = 60 // size.block_seconds
    added = DatabaseReader(context.postgres.dsn).add_pairs(size.calls + watching, GIFT, rate)
    pairs = [(_party(fan), _party(creator)) for fan, creator in added]
    calls, watchers = pairs[: size.calls], pairs[size.calls :]
    groups = [watchers[i : i + size.viewers] for i in range(0, watching, size.viewers)]
    streams = [(group[0][1], [fan for fan, _ in group]) for group in groups]
    return HonestClients(context.server, calls, streams, rate)


def _party(user_id: UUID) -> Party:
    """Return a user with a token that is verified by the keys of the key server."""
    return Party(user_id, signed_by(EC, "ES256", {"sub": str(user_id), "exp": int(time.time()) + TOKEN_SECONDS}))
