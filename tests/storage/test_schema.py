"""Constraints and triggers of calls, which hold for every client of the database."""

from datetime import UTC, datetime
from typing import Any

import pytest

from domain.ids import UserId
from server.ids import new_channel, new_uuid
from storage.database_errors import StatementRefused
from tests.storage.ledger_pair import LedgerPair, open_ledger_pair

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CALL = {
    "status": "active", "rate_tokens_per_min": 60, "block_seconds": 30, "block_rounding": "up", "created_at": NOW,
    "rings_until": NOW,
}  # fmt: skip


async def _insert(ledgers: LedgerPair, fan: UserId, creator: UserId, changes: dict[str, Any]) -> None:
    call = new_uuid()
    await ledgers.postgres.execute("INSERT INTO rooms (id, kind, channel) VALUES ($1, 'call', $2)", call, new_channel())
    row = {"id": call, "fan_id": fan, "creator_id": creator} | CALL | changes
    places = ", ".join(f"${i}" for i in range(1, len(row) + 1))
    await ledgers.postgres.execute(f"INSERT INTO calls ({', '.join(row)}) VALUES ({places})", *row.values())


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, None),
        ({"status": "paused"}, None),
        ({"status": "over"}, "calls_status_check"),
        ({"rate_tokens_per_min": 0}, "calls_rate_tokens_per_min_check"),
        ({"rate_tokens_per_min": -1}, "calls_rate_tokens_per_min_check"),
        ({"max_tokens": 0}, "calls_max_tokens_check"),
        ({"status": "ended"}, "ended_calls_say_why"),
        ({"end_reason": "boredom"}, "calls_end_reason_check"),
        ({"fan_id": new_uuid()}, "calls_fan_id_fkey"),
    ],
)
async def test_a_call_that_is_not_sound_is_not_there(dsn: str, changes: dict[str, Any], name: str | None) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(), await ledgers.add_user()
        assert await _refusal(ledgers, fan, creator, changes) == name


async def _refusal(ledgers: LedgerPair, fan: UserId, creator: UserId, changes: dict[str, Any]) -> str | None:
    """Return what refuses such a call: the name of a constraint, or a SQLSTATE."""
    try:
        await _insert(ledgers, fan, creator, changes)
    except StatementRefused as refused:
        return refused.constraint or refused.sqlstate
    return None


async def test_nobody_is_in_two_calls(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator, other = [await ledgers.add_user() for _ in range(3)]
        await _insert(ledgers, fan, creator, {})
        for parties in ((fan, other), (other, creator), (creator, other)):
            assert await _refusal(ledgers, *parties, {}) == "users_in_calls_pkey"


async def test_a_row_that_changes_says_when(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        user = await ledgers.add_user()
        seen = "SELECT created_at, updated_at FROM users WHERE supabase_id = $1"
        (before,) = await ledgers.postgres.fetch(seen, user)
        await ledgers.postgres.execute("UPDATE users SET display_name = 'Finn' WHERE supabase_id = $1", user)
        (after,) = await ledgers.postgres.fetch(seen, user)
        assert after["updated_at"] > before["updated_at"]
        assert after["created_at"] == before["created_at"]
