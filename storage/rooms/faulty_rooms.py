"""Ends live rooms that cannot be adopted, because the rules reject the values of their rows."""

from storage.postgres import Postgres
from storage.rooms.leases import Claim

# Store the record of an ended call or stream with the values that its rows hold.
_END = {
    "call": """
        SELECT save_call(c.id, $2, 'ended', c.accepted_at, c.started_at, clock_timestamp(), 'server_fault', '{}',
                         c.fan_paused_at, c.creator_paused_at, c.fan_paused_us, c.creator_paused_us,
                         coalesce(m.active_us, 0), coalesce(m.set_backs, 0), coalesce(m.set_back_block, 0), '{}')
          FROM calls c LEFT JOIN meters m ON m.room_id = c.id AND m.payer_id = c.fan_id WHERE c.id = $1
        """,
    "stream": """
        SELECT save_stream(s.id, $2, 'ended', clock_timestamp(), 'server_fault', s.muted, s.removed, '{}', '{}',
                           s.present_us)
          FROM streams s WHERE s.id = $1
        """,
}


async def end_with_fault(postgres: Postgres, claim: Claim) -> bool:
    """End a call or a stream with `server_fault`, without reading its rows; False if the room has a later epoch.

    Nothing more is charged. Takes the write lock and then the room's row. Raises StorageUnavailable.
    """
    rows = await postgres.fetch(_END[claim.kind], claim.room_id, claim.epoch)
    return bool(rows) and bool(rows[0][0])
