"""Tickets sold before there was escrow: their money was the creator's at once, and refunds come from there."""

from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest
import trio

from domain.ids import ESCROW, LOSSES, TOKEN_SALES, RoomId, UserId
from server.context import Context
from server.ids import new_channel, new_uuid
from storage import migrate as migrating
from storage.ledger.audit import audit
from storage.migrate import migrate, migrations
from storage.postgres import Connection, PgUUID, open_postgres
from tests.support.databases import Databases
from tests.support.servers import online, running_server, with_section

TICKET, PURCHASE = 3, 4
PRICE = 100
SHOW_SECONDS = 0.5  # how long a creator is present before the ticket money is theirs
in_thread = trio.to_thread.run_sync
AGES = {"coming": 1, "forgotten": 8, "over": 3, "live": 2}  # days since each stream was announced


class Past:
    """Data of an older server: a fan with a ticket to each of a creator's streams, whose money is spent."""

    def __init__(self) -> None:
        self.fan, self.late_fan, self.creator, self.friend = sorted(
            (UserId(new_uuid()) for _ in range(4)), key=lambda user_id: user_id.bytes
        )
        self.streams = {name: RoomId(new_uuid()) for name in AGES}
        self.channels = {name: new_channel() for name in AGES}

    async def live_through(self, connection: Connection) -> None:
        for user_id in (self.fan, self.late_fan, self.creator, self.friend):
            await connection.execute("INSERT INTO users (supabase_id) VALUES ($1)", user_id)
        for user_id in (self.creator, self.friend):
            await connection.execute("INSERT INTO creators (user_id, rate_tokens_per_min) VALUES ($1, 60)", user_id)
        for fan in (self.fan, self.late_fan):
            await self._book(connection, PURCHASE, TOKEN_SALES, fan, 1000)
        for name, stream in self.streams.items():
            await self._announce(connection, name, stream)
            await self._book(connection, TICKET, self.fan, self.creator, PRICE, stream)
            if name == "over":
                over = "UPDATE streams SET status = 'ended', ended_at = now(), end_reason = 'ended' WHERE id = $1"
                await connection.execute(over, stream)
                await connection.execute("UPDATE rooms SET ended_at = now() WHERE id = $1", stream)

    async def _announce(self, connection: Connection, name: str, stream: RoomId) -> None:
        has_begun = name in ("live", "over")
        await connection.execute(
            "INSERT INTO rooms (id, kind, channel, opened) VALUES ($1, 'stream', $2, $3)",
            *(stream, self.channels[name], has_begun),
        )
        await connection.execute(
            "INSERT INTO streams (id, creator_id, title, type, ticket_price_tokens, block_seconds, block_rounding,"
            " status, created_at, started_at) VALUES ($1, $2, 'Talk', 'private', $3, 30, 'up', $4,"
            " now() - make_interval(days => $5), CASE WHEN $4 = 'live' THEN now() END)",
            *(stream, self.creator, PRICE, "live" if has_begun else "scheduled", AGES[name]),
        )

    @staticmethod
    async def _book(
        connection: Connection, kind: int, payer: UserId, payee: UserId, tokens: int, room: RoomId | None = None
    ) -> None:
        """Book with the batch statement of that time."""
        wallets = sorted((payer, payee), key=lambda user_id: user_id.bytes)
        row = await connection.fetchrow(
            "SELECT status FROM apply_postings($1::uuid[], ARRAY[$2::uuid], ARRAY[$3::smallint], ARRAY[$4::int],"
            " ARRAY[$5::int], ARRAY[$6::uuid], '{0}', '{0}', ARRAY[$7::bigint], ARRAY[$8::uuid], '{}', '{}', '{}',"
            " false)",
            *(wallets, PgUUID(new_uuid().bytes), kind, wallets.index(payer) + 1, wallets.index(payee) + 1),
            *(room, tokens, new_uuid()),
        )
        assert row is not None and row["status"] == [0]


@pytest.fixture
def old_dsn(databases: Databases) -> Iterator[str]:
    with databases.fresh(template="template0") as dsn:
        yield dsn


@pytest.fixture
async def past(old_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Past:
    """Build that data in the database, by the last schema without escrow."""
    past = Past()
    async with open_postgres(old_dsn, pool_size=1) as postgres:
        with monkeypatch.context() as older:
            older.setattr(migrating, "migrations", lambda: [each for each in migrations() if each.name < "0007"])
            await migrate(postgres)
        await postgres.transaction(past.live_through)
    return past


@pytest.fixture
async def context(past: Past, old_dsn: str) -> AsyncIterator[Context]:
    """A current server, which migrates the database as it starts."""
    async with running_server(old_dsn, with_section("streams", ticket_release_seconds=SHOW_SECONDS)) as running:
        yield running
        assert [finding.sentence async for finding in audit(running.postgres) if finding.rows] == []
        assert [await balance_of(running, wallet) for wallet in (ESCROW, LOSSES)] == [0, 0]


async def balance_of(context: Context, wallet: UUID) -> int:
    rows = await context.postgres.fetch("SELECT balance FROM wallets WHERE id = $1", wallet)
    return int(rows[0]["balance"])


async def settle_the_forgotten(past: Past, context: Context) -> None:
    """Wait for the refund of the stream that is too old to be started; the first round of maintenance makes it."""
    with trio.fail_after(20):
        while await balance_of(context, past.fan) < 1000 - 3 * PRICE:
            await context.tickets.next_round()


async def test_a_stream_that_was_never_started_refunds_its_tickets_from_the_creators_balance(
    past: Past, context: Context
) -> None:
    async with online(context, past.fan) as fan, online(context, past.creator) as creator:
        await settle_the_forgotten(past, context)
        assert await balance_of(context, past.creator) == 3 * PRICE, "the forgotten stream's ticket is given back"
        cancel = f"/streams/{past.streams['coming']}/end"
        await in_thread(lambda: creator.http.post(cancel).raise_for_status())
        await in_thread(lambda: fan.wait_for("wallet:changed", cause="refund", balance=1000 - 2 * PRICE))
    assert await balance_of(context, past.creator) == 2 * PRICE, "what was shown, and what is live, is the creator's"


async def test_a_refund_beyond_the_creators_balance_is_reported_and_makes_no_token(
    past: Past, context: Context
) -> None:
    async with online(context, past.creator) as creator:

        def story() -> None:
            tip = {"toCreatorId": str(past.friend), "amountTokens": creator.balance()}
            creator.http.post("/tips/send", json=tip).raise_for_status()
            creator.http.post(f"/streams/{past.streams['coming']}/end").raise_for_status()
            assert creator.balance() == 0

        await settle_the_forgotten(past, context)
        await in_thread(story)
        with trio.fail_after(20):
            while not await context.postgres.fetch("SELECT FROM reports"):
                await context.tickets.next_round()
    assert await balance_of(context, past.fan) == 1000 - 3 * PRICE
    rows = await context.postgres.fetch("SELECT user_id, room_id FROM reports")
    assert [tuple(row) for row in rows] == [(past.creator, past.streams["coming"])]


async def test_a_live_stream_keeps_older_ticket_money_and_holds_that_of_new_tickets(
    past: Past, context: Context
) -> None:
    live, channel = past.streams["live"], past.channels["live"]
    async with (
        online(context, past.fan) as fan,
        online(context, past.late_fan) as late_fan,
        online(context, past.creator) as creator,
    ):

        def buy_and_watch() -> None:
            earned = creator.balance()
            late_fan.http.post(f"/streams/{live}/tickets").raise_for_status()
            assert fan.http.post(f"/streams/{live}/tickets").json()["error"] == "ALREADY_PURCHASED"
            for viewer in (fan, late_fan):
                assert viewer.join(channel)["type"] == "room:joined"
            assert creator.balance() == earned, "the new ticket is in escrow"
            creator.http.post(f"/streams/{live}/end").raise_for_status()
            late_fan.wait_for("wallet:changed", cause="refund", balance=1000)
            assert creator.balance() == earned

        await settle_the_forgotten(past, context)
        await in_thread(buy_and_watch)


async def test_a_blocked_user_gets_a_ticket_refunded_from_the_creators_balance(past: Past, context: Context) -> None:
    async with online(context, past.fan) as fan, online(context, past.creator) as creator:
        await settle_the_forgotten(past, context)

        def block() -> None:
            creator.http.put(f"/creators/me/blocks/{past.fan}").raise_for_status()
            assert fan.join(past.channels["live"])["type"] == "error"

        await in_thread(block)
        with trio.fail_after(20):
            while await balance_of(context, past.fan) < 1000 - PRICE:
                await context.tickets.next_round()
    assert await balance_of(context, past.creator) == PRICE, "the ticket to what is over was used"


async def test_the_release_of_a_stream_moves_only_the_money_in_escrow(past: Past, context: Context) -> None:
    live, channel = past.streams["live"], past.channels["live"]
    async with online(context, past.late_fan) as late_fan, online(context, past.creator) as creator:
        await settle_the_forgotten(past, context)

        def show() -> None:
            earned = creator.balance()
            late_fan.http.post(f"/streams/{live}/tickets").raise_for_status()
            creator.join(channel)
            assert creator.wait_for("wallet:changed", cause="release")["tokens"] == PRICE
            assert creator.balance() == earned + PRICE

        await in_thread(show)
