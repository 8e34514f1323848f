"""The migration computes the parts of balances by a replay of the journal, and every proof of the audit holds."""

import random
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from domain.ids import PAYOUTS, PROMOTIONS, TOKEN_SALES, PostingKey, UserId, refund_key, refund_rest_key
from server.ids import new_uuid
from storage import migrate as migrating
from storage.ledger.audit import audit
from storage.market.business_figures import sum_up
from storage.migrate import migrate, migrations
from storage.postgres import Connection, PgUUID, open_postgres
from tests.storage.ledger_pair import open_ledger_pair, tip
from tests.support.databases import Databases

BLOCK, TIP, TICKET, PURCHASE, CREDIT, REFUND, PAYOUT = range(1, 8)
POSTINGS = 400


@pytest.fixture
def empty_dsn(databases: Databases) -> Iterator[str]:
    with databases.fresh(template="template0") as dsn:
        yield dsn


class History:
    """Books postings as an older server did, in batches whose order differs from that of their numbers."""

    def __init__(self, connection: Connection, seed: int) -> None:
        self._connection = connection
        self._chance = random.Random(seed)
        self.users = sorted((UserId(new_uuid()) for _ in range(5)), key=lambda user_id: user_id.bytes)
        self.streams: list[UUID] = []
        self._paid: list[tuple[UUID, UserId]] = []  # key and payee of refundable postings

    async def add_users(self) -> None:
        for user_id in self.users:
            await self._connection.execute("INSERT INTO users (supabase_id) VALUES ($1)", user_id)
            await self._connection.execute(
                "INSERT INTO creators (user_id, rate_tokens_per_min) VALUES ($1, 60)", user_id
            )

    async def go_on(self) -> None:
        """One batch of a few postings, a refund, or a payout."""
        draw = self._chance.random()
        if draw < 0.12 and self._paid:
            await self._refund()
        elif draw < 0.14:
            await self._pay_out()
        else:
            await self._post([self._posting() for _ in range(self._chance.randint(1, 4))])

    def _posting(self) -> tuple[int, UserId, UserId, int]:
        payer, payee = self._chance.sample(self.users, 2)
        tokens = self._chance.randint(1, 40)
        draw = self._chance.random()
        if draw < 0.3:
            return PURCHASE, TOKEN_SALES, payee, tokens
        if draw < 0.33:
            return CREDIT, PROMOTIONS, payee, tokens
        return TIP, payer, payee, tokens

    async def _post(self, postings: list[tuple[int, UserId, UserId, int]]) -> None:
        keys = [new_uuid() for _ in postings]
        statuses = await self._apply(keys, postings)
        self._paid += [
            (key, payee)
            for key, status, (kind, _, payee, _) in zip(keys, statuses, postings, strict=True)
            if status == 0 and kind == TIP
        ]

    async def _apply(self, keys: list[UUID], postings: list[tuple[int, UserId, UserId, int]]) -> Any:
        wallets = sorted({user for _, *pair, _ in postings for user in pair}, key=lambda user_id: user_id.bytes)
        place = {user: i for i, user in enumerate(wallets, 1)}
        none = [0] * len(postings)
        row = await self._connection.fetchrow(
            "SELECT status FROM apply_postings($1::uuid[], $2::uuid[], $3::smallint[], $4::int[], $5::int[],"
            " $6::uuid[], $7::int[], $7::int[], $8::bigint[], $2::uuid[], '{}', '{}', '{}', false)",
            *(wallets, keys, [kind for kind, *_ in postings]),
            *([place[payer] for _, payer, _, _ in postings], [place[payee] for _, _, payee, _ in postings]),
            *([None] * len(postings), none, [tokens for *_, tokens in postings]),
        )
        assert row is not None
        return row["status"]

    async def _refund(self) -> None:
        key, _ = self._paid.pop(self._chance.randrange(len(self._paid)))
        paid = PostingKey(key.bytes)
        await self._connection.execute(
            "SELECT FROM refund_postings($1::uuid[], $2::uuid[], $3::uuid[], 'sorry')",
            *([key], [PgUUID(refund_key(paid))], [PgUUID(refund_rest_key(paid))]),
        )

    async def _pay_out(self) -> None:
        """Request a payout of as much as the older rule allowed; sometimes it is rejected and returned."""
        creator = self._chance.choice(self.users)
        cashable = await self._connection.fetchval("SELECT cashable_tokens($1)", creator)
        if cashable < 1:
            return
        tokens, key, payout_id = self._chance.randint(1, cashable), new_uuid(), new_uuid()
        await self._apply([key], [(PAYOUT, creator, PAYOUTS, tokens)])
        await self._connection.execute(
            "INSERT INTO payouts (id, creator_id, posting_key, tokens, cents, currency)"
            " VALUES ($1, $2, $3, $4, $4 * 5, 'USD')",
            *(payout_id, creator, key, tokens),
        )
        if self._chance.random() < 0.4:
            await self._give_back(creator, key, payout_id, tokens)

    async def _give_back(self, creator: UserId, key: UUID, payout_id: UUID, tokens: int) -> None:
        wallets = sorted((PAYOUTS, creator), key=lambda user_id: user_id.bytes)
        await self._connection.execute(
            "SELECT FROM apply_postings($1::uuid[], ARRAY[$2::uuid], ARRAY[6::smallint], ARRAY[$3::int],"
            " ARRAY[$4::int], ARRAY[NULL::uuid], '{0}', '{0}', ARRAY[$5::bigint], ARRAY[$6::uuid], ARRAY[$7::uuid],"
            " '{}', '{}', false)",
            *(wallets, PgUUID(refund_key(PostingKey(key.bytes))), wallets.index(PAYOUTS) + 1),
            *(wallets.index(creator) + 1, tokens, payout_id, key),
        )
        await self._connection.execute(
            "UPDATE payouts SET settled_as = 'rejected', settled_at = now(), given_back = true WHERE id = $1", payout_id
        )


@pytest.mark.parametrize("seed", range(3))
async def test_every_wallet_gets_its_parts_from_its_journal(
    empty_dsn: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [each for each in migrations() if each.name < "0007"]

    async def live(connection: Connection) -> None:
        history = History(connection, seed)
        await history.add_users()
        for _ in range(POSTINGS):
            await history.go_on()
        await connection.execute("SELECT sum_up_postings(clock_timestamp())")  # an operator looks at the figures
        await connection.execute(
            "INSERT INTO bans (id, user_id, reason, banned_by) VALUES (gen_random_uuid(), $1, 'rude', $2)",
            *history.users[:2],
        )

    async with open_postgres(empty_dsn, pool_size=1) as postgres:
        with monkeypatch.context() as older:
            older.setattr(migrating, "migrations", lambda: before)
            await migrate(postgres)
        await postgres.transaction(live)
        assert (await migrate(postgres))[0] == "0007_parts"
        sums = await postgres.fetch("SELECT sum(promotional) AS promotional, sum(earned) AS earned FROM wallets")
        assert sums[0]["promotional"] > 0, "the history had promotional tokens"
        assert sums[0]["earned"] > 0, "the history had earned tokens"
        await sum_up(postgres)
        given_back = await postgres.fetch(
            "SELECT o.kind, count(DISTINCT o.key), sum(r.tokens)::bigint FROM journal r JOIN journal o"
            " ON o.key = r.content WHERE r.kind = 6 GROUP BY 1 ORDER BY 1"
        )
        in_figures = await postgres.fetch(
            "SELECT kind, sum(refunds)::bigint, sum(refunded_tokens)::bigint FROM quarter_postings WHERE refunds > 0"
            " GROUP BY 1 ORDER BY 1"
        )
        assert list(map(tuple, in_figures)) == list(map(tuple, given_back)) != []
        kept = await postgres.fetch("SELECT action, count(*) AS n FROM operator_actions GROUP BY 1")
        assert {row["action"] for row in kept} == {"credit", "ban", "reject_payout"}
    async with open_ledger_pair(empty_dsn) as ledgers:
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []
        rows = await ledgers.postgres.fetch("SELECT id FROM wallets WHERE user_id IS NOT NULL AND balance > 1 LIMIT 1")
        other = await ledgers.add_user()
        assert [receipt.outcome.name for receipt in await ledgers.actor.post([tip(rows[0]["id"], other, 1)])] == [
            "COMMITTED"
        ]
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []
