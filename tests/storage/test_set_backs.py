"""The stored state of meters that were set back."""

from domain.billing.meter import SetBack
from domain.stream.record import StreamRecord
from server.ids import new_uuid
from storage.rooms.leases import Checkpoint, Leases
from storage.rooms.streams import open_viewing_session, save_stream
from tests.storage.ledger_pair import open_ledger_pair


async def test_a_clock_of_a_stream_that_was_set_back_is_stored_and_no_older_time_undoes_it(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan = await ledgers.add_user(10)
        stream = await ledgers.add_stream(fan)
        leases = Leases(ledgers.postgres, new_uuid(), 15)

        async def stored() -> tuple[int, SetBack]:
            session = await open_viewing_session(ledgers.postgres, stream, fan)
            return session.active, session.set_back

        await leases.checkpoint([Checkpoint(stream, 1, fan, 40_000_000)])
        assert await stored() == (40_000_000, SetBack())
        back = SetBack(1, 2)
        record = StreamRecord(viewing_sessions=((fan, 28_000_000),), set_backs=(back,))
        assert await save_stream(ledgers.postgres, stream, 1, record)
        assert await stored() == (28_000_000, back)
        await leases.checkpoint([Checkpoint(stream, 1, fan, 40_000_000)])
        assert await stored() == (28_000_000, back), "a checkpoint that was long under way"
        await leases.checkpoint([Checkpoint(stream, 1, fan, 29_000_000, back)])
        assert await save_stream(ledgers.postgres, stream, 1, record)
        assert await stored() == (29_000_000, back), "no time runs back by itself"
