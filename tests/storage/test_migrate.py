"""A house with people in it is brought up to date as it stands: nothing in its books moves."""

from collections.abc import Iterator
from uuid import UUID

import pytest

from domain.ids import TOKEN_SALES, RoomId, UserId, block_key
from server.ids import new_uuid
from storage import migrate as migrating
from storage.audit import audit
from storage.migrate import migrate, migrations
from storage.postgres import Connection, PgUUID, open_postgres
from tests.databases import Databases
from tests.storage.books import block, open_books, tip

FAN, CREATOR, ROOM = UserId(UUID(int=0xA << 120)), UserId(UUID(int=0xB << 120)), RoomId(UUID(int=0xC << 120))
FIRST = block(ROOM, FAN, CREATOR, 1)


async def _live_in_the_first_house(connection: Connection) -> None:
    """Two people, a room, and postings as the first batch statement booked them."""
    await connection.execute("INSERT INTO users (supabase_id) VALUES ($1), ($2)", FAN, CREATOR)
    await connection.execute("INSERT INTO rooms (id, kind, channel) VALUES ($1, 'call', repeat('c', 22))", ROOM)
    await connection.execute("INSERT INTO meters (room_id, payer_id) VALUES ($1, $2)", ROOM, FAN)
    await connection.execute(
        "SELECT status FROM apply_postings(ARRAY[$1, $2, $3]::uuid[], $4::uuid[], '{4,1}', '{1,2}', '{2,3}',"
        " ARRAY[NULL, $5]::uuid[], '{0,1}', '{0,1}', '{100,15}', '{}', '{}', '{}', '{}', false)",
        *(TOKEN_SALES, FAN, CREATOR, [new_uuid(), PgUUID(block_key(ROOM, FAN, 1))], ROOM),
    )


@pytest.fixture
def empty_dsn(databases: Databases) -> Iterator[str]:
    with databases.fresh(template="template0") as dsn:
        yield dsn


async def test_a_house_that_is_lived_in_is_brought_up_to_date(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_postgres(empty_dsn, pool_size=1) as postgres:
        with monkeypatch.context() as before:
            before.setattr(migrating, "migrations", lambda: [next(migrations())])
            assert await migrate(postgres) == ["0001_house"]
        await postgres.transaction(_live_in_the_first_house)
        assert await migrate(postgres) == [each.name for each in migrations()][1:]
        assert await migrate(postgres) == []
    async with open_books(empty_dsn) as books:
        assert [finding.sentence async for finding in audit(books.postgres) if finding.rows] == []
        postings = [FIRST, block(ROOM, FAN, CREATOR, 2), tip(FAN, CREATOR, 5)]
        receipts = await books.actor.post(postings)
        assert [receipt.outcome.name for receipt in receipts] == ["ALREADY", "COMMITTED", "COMMITTED"]
        assert receipts[-1].debit_after == 65
        assert [finding.sentence async for finding in audit(books.postgres) if finding.rows] == []
