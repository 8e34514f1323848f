"""The guards of rooms in the database: their owner, their series of blocks and their clocks."""

from tests.mutation.bugs import Bug, Edit

SQL = "storage/migrations/0001_initial.sql"
LEASES = "storage/migrations/0004_leases.sql"
STEPS = "storage/migrations/0013_batch_steps.sql"  # the batch statement
CALLS_SQL = "storage/migrations/0009_calls.sql"
IN_ORDER = "tests/storage/test_actor.py::test_blocks_commit_in_order_and_under_the_latest_epoch_alone"
AS_IT_IS = "tests/storage/test_as_it_is.py"
STREAMS = "tests/storage/test_streams_schema.py"
NO_PLACE = "test_a_posting_that_has_no_place_is_refused_for_that_whether_it_can_be_paid_or_not"
CLAIM_ONE = """lapsed := lock_lapsed_servers(claimant, watched);
    RETURN QUERY
    UPDATE rooms r SET epoch = r.epoch + 1, server_id = claimant
     WHERE r.id = claimed"""

IN_EPOCHS = (
    Bug(
        "claim",
        "a claim of a room locks the write lock first",
        "a room is claimed while its last block is being committed",
        (
            Edit(
                LEASES,
                f"PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;\n    {CLAIM_ONE}",
                CLAIM_ONE,
            ),
        ),
        "tests/storage/test_under_way.py::test_a_room_is_not_taken_over_before_the_block_under_way_is_booked",
        "[0] == [1]",
        "the new owner reads an outdated last block",
    ),
    Bug(
        "epoch",
        "a posting commits only under the room's latest epoch",
        "a server that has lost a room continues to charge in it",
        (Edit(STEPS, "AND o.id = room[p] AND o.epoch = epoch[p]", "AND o.id = room[p]"),),
        "tests/storage/test_fence.py::test_a_storm_of_takeovers_leaves_a_series_without_gap_or_double",
        "owners were overtaken while they posted",
        "no block of an earlier owner is ever FENCED",
    ),
    Bug(
        "epoch-with-care",
        "… also in a batch on the careful path",
        "the same",
        (Edit(STEPS, "room_epoch[i] <> epoch[i] AND (", "room_epoch[i] = ended AND ("),),
        IN_ORDER,
        "Outcome.FENCED",
        "the stale block is COMMITTED, not FENCED",
    ),
    Bug(
        "ended",
        "nothing commits in a room that has ended",
        "a call is charged after its end",
        (Edit(STEPS, "o.epoch = epoch[p] AND o.ended_at IS NULL", "o.epoch = epoch[p]"),),
        IN_ORDER,
        "Outcome.CLOSED",
        "the late block is COMMITTED, not CLOSED",
    ),
    Bug(
        "ended-with-care",
        "… also in a batch on the careful path",
        "the same",
        (Edit(STEPS, "WHEN s.ended_at IS NULL THEN s.epoch ELSE ended END", "ELSE s.epoch END"),),
        IN_ORDER,
        "Outcome.CLOSED",
        "the late block is COMMITTED, not CLOSED",
    ),
    Bug(
        "room-of-a-tip",
        "a posting that is not a block is checked against its room's epoch too",
        "a tip commits in a room that has a later owner, or no owner",
        (Edit(STEPS, " OR misplaced > 0", ""),),
        f"{AS_IT_IS}::{NO_PLACE}[tip-later-owner-1]",
        "Outcome.FENCED",
        "the tip is COMMITTED, not FENCED",
    ),
    Bug(
        "block-without-owner",
        "a block without an epoch is refused",
        "a server that does not know the epoch charges in the room",
        (
            Edit(
                STEPS,
                "AND (epoch[i] > 0 OR block_no[i] > 0 OR room_epoch[i] = ended) THEN",
                "AND (epoch[i] > 0 OR room_epoch[i] = ended) THEN",
            ),
        ),
        f"{AS_IT_IS}::{NO_PLACE}[block-without-owner-1]",
        "Outcome.FENCED",
        "the block is COMMITTED, not FENCED",
    ),
    Bug(
        "not-opened",
        "a room that is not open yet is never claimed",
        "the next server to start claims the room of a scheduled stream",
        (
            Edit(LEASES, "r.id = claimed AND r.ended_at IS NULL AND r.opened", "r.id = claimed"),
            Edit(LEASES, "WHERE o.ended_at IS NULL AND o.opened AND", "WHERE o.ended_at IS NULL AND"),
        ),
        f"{STREAMS}::test_a_room_that_is_not_opened_is_nobodys",
        "is None",
        "a scheduled stream's room has an owner",
    ),
    Bug(
        "stream-epoch",
        "a stream's state is stored only under its room's latest epoch",
        "a server that has lost a stream ends it although another server owns it",
        (
            Edit(
                CALLS_SQL,
                "id = stream AND epoch = owner_epoch AND ended_at IS NULL",
                "id = stream AND ended_at IS NULL",
            ),
        ),
        f"{STREAMS}::test_a_streams_state_is_stored_by_its_owner_alone_and_not_after_its_end",
        "assert not True",
        "the stale state is stored",
    ),
    Bug(
        "checkpoint",
        "clocks are stored only under the room's latest epoch",
        "a server that has lost a room overwrites the active time that its new owner stores",
        (Edit(CALLS_SQL, "s.id = r[i] AND s.epoch = owner_epoch[i]", "s.id = r[i]"),),
        "tests/storage/test_fence.py::test_a_checkpoint_under_a_stale_epoch_is_not_written",
        "9000000 == 7000000",
        "the stale active time is stored",
    ),
    Bug(
        "gap",
        "block n commits only right after block n - 1",
        "the series of blocks has gaps",
        (Edit(STEPS, "AND s.last_block = block_no[p] - 1;", ";"),),
        f"{AS_IT_IS}::{NO_PLACE}[gap-1]",
        "Outcome.GAP",
        "block 2 is COMMITTED without block 1",
    ),
    Bug(
        "gap-with-care",
        "… also in a batch on the careful path",
        "the same",
        (Edit(STEPS, "IF i_meter > 0 AND last_block[i_meter] <> block_no[i] - 1 THEN", "IF false THEN"),),
        IN_ORDER,
        "Outcome.GAP",
        "block 2 is COMMITTED before block 1",
    ),
    Bug(
        "clock",
        "a call's record stores the active time",
        "each restart discards the used part of a block",
        (
            Edit(
                CALLS_SQL,
                "PERFORM store_meters(ARRAY[c.id], ARRAY[c.fan_id], ARRAY[active], ARRAY[times], ARRAY[block])"
                " FROM calls c WHERE c.id = call;",
                "",
            ),
        ),
        "tests/server/cli/test_stop.py::test_a_stop_costs_nobody_a_second_of_the_block_it_falls_into",
        "< 0.3",
        "the call continues from the start of the block",
    ),
    Bug(
        "one-call",
        "a user is in at most one call",
        "one creator is in several calls, and each of them is charged",
        (Edit(SQL, "user_id uuid PRIMARY KEY REFERENCES users", "user_id uuid NOT NULL REFERENCES users"),),
        "tests/server/rest/test_same_moment.py"
        "::test_of_several_fans_who_call_one_creator_at_once_one_gets_a_call_and_the_others_a_refusal",
        "201, 201",
        "several fans receive `call:ringing`",
    ),
)
