"""The guards of the books that stand in the database, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

SQL, STREAMS_SQL = "storage/migrations/0001_house.sql", "storage/migrations/0002_streams.sql"
BATCH = "storage/migrations/0007_parts.sql"  # the batch statement as it is now, and the refunds
LEASES = "storage/migrations/0004_leases.sql"
CALLS_SQL = "storage/migrations/0009_calls.sql"
ACTOR_TESTS = "tests/storage/test_actor.py"
TWO_SERVERS = "tests/storage/test_bank.py::test_two_servers_on_one_database_never_lock_each_other_out[1000]"
READERS = "tests/storage/test_bank.py::test_readers_always_see_the_same_sum_and_nobody_in_debt"
IN_ORDER = f"{ACTOR_TESTS}::test_blocks_commit_in_order_and_under_the_latest_epoch_alone"
AS_IT_IS = "tests/storage/test_as_it_is.py"
STREAMS = "tests/storage/test_streams_schema.py"
NO_PLACE = "test_a_posting_that_has_no_place_is_refused_for_that_whether_it_can_be_paid_or_not"

# As the batch statement goes on, and nobody else who takes the fence.
BEGIN = " INTO now_at;\n    IF now_at > clock_timestamp() + interval '5 seconds' THEN  -- it,"
TAKE_FENCE = f"UPDATE fence SET booked_at = greatest(booked_at, clock_timestamp()) WHERE one RETURNING booked_at{BEGIN}"
NO_FUNDS = "IF w_is_user[d] AND (v < 0 OR k = payout AND earned[d] < amount) THEN"
CLAIM_ONE = """lapsed := lock_lapsed_servers(claimant, watched);
    RETURN QUERY
    UPDATE rooms r SET epoch = r.epoch + 1, server_id = claimant
     WHERE r.id = claimed"""
TICKETS, LIMITS, REFUNDS = (f"tests/storage/test_{noun}.py" for noun in ("tickets", "limits", "refunds"))

IN_SQL = (
    Bug(
        "key",
        "a posting key is in the journal at most once",
        "the same posting is committed each time it is sent",
        (
            Edit(SQL, "key           uuid PRIMARY KEY,", "key           uuid NOT NULL,"),
            Edit(SQL, "PRIMARY KEY REFERENCES journal (key) ON DELETE RESTRICT", "PRIMARY KEY"),
            Edit(STREAMS_SQL, "UNIQUE REFERENCES journal (key) ON DELETE RESTRICT", "UNIQUE"),
            Edit(
                BATCH,
                "advance_key uuid PRIMARY KEY REFERENCES journal (key) ON DELETE RESTRICT",
                "advance_key uuid PRIMARY KEY",
            ),
            Edit(
                BATCH, "release_key uuid UNIQUE REFERENCES journal (key) ON DELETE RESTRICT", "release_key uuid UNIQUE"
            ),
            Edit(
                BATCH, "posting_key uuid UNIQUE REFERENCES journal (key) ON DELETE RESTRICT", "posting_key uuid UNIQUE"
            ),
            Edit(CALLS_SQL, "PRIMARY KEY REFERENCES journal (key) ON DELETE RESTRICT", "PRIMARY KEY"),
            Edit(SQL, "CREATE UNIQUE INDEX journal_debit", "CREATE INDEX ON journal (key); CREATE UNIQUE INDEX d"),
        ),
        f"{ACTOR_TESTS}::test_a_repeat_moves_nothing_and_says_what_the_first_did",
        "Outcome.COMMITTED",
        "the repeat is COMMITTED, not ALREADY",
    ),
    Bug(
        "content",
        "a used key is answered ALREADY only for the same content",
        "a different posting under a used key is reported as paid",
        (Edit(BATCH, "IF same[i] THEN", "IF true THEN"),),
        f"{ACTOR_TESTS}::test_a_repeat_moves_nothing_and_says_what_the_first_did",
        "Outcome.CONFLICT",
        "the other posting is ALREADY, not CONFLICT",
    ),
    Bug(
        "fence",
        "a batch locks the write lock first",
        "two servers change the same wallets at the same time",
        (
            Edit(
                BATCH,
                TAKE_FENCE,
                f"SELECT clock_timestamp(){BEGIN}",
            ),
        ),
        TWO_SERVERS,
        "storage.away",
        "a server finds that another has changed the rows it read, and retries",
    ),
    Bug(
        "version",
        "… and a wallet is written only at the version that was read",
        "without both guards, one server overwrites what the other committed",
        (
            Edit(
                BATCH,
                TAKE_FENCE,
                f"SELECT clock_timestamp(){BEGIN}",
            ),
            Edit(BATCH, "WHERE s.ctid = w_tid[p] AND s.n = w_n[p]", "WHERE s.id = w[p]"),
        ),
        TWO_SERVERS,
        "== 0",
        "a concurrent reader sees balances that do not sum to zero",
    ),
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
        (Edit(BATCH, "AND o.id = room[p] AND o.epoch = epoch[p]", "AND o.id = room[p]"),),
        "tests/storage/test_fence.py::test_a_storm_of_takeovers_leaves_a_series_without_gap_or_double",
        "owners were overtaken while they posted",
        "no block of an earlier owner is ever FENCED",
    ),
    Bug(
        "epoch-with-care",
        "… also in a batch on the careful path",
        "the same",
        (Edit(BATCH, "live[i] <> epoch[i] AND (", "live[i] = -1 AND ("),),
        IN_ORDER,
        "Outcome.FENCED",
        "the stale block is COMMITTED, not FENCED",
    ),
    Bug(
        "ended",
        "nothing commits in a room that has ended",
        "a call is charged after its end",
        (Edit(BATCH, "o.epoch = epoch[p] AND o.ended_at IS NULL", "o.epoch = epoch[p]"),),
        IN_ORDER,
        "Outcome.CLOSED",
        "the late block is COMMITTED, not CLOSED",
    ),
    Bug(
        "ended-with-care",
        "… also in a batch on the careful path",
        "the same",
        (Edit(BATCH, "WHEN s.ended_at IS NULL THEN s.epoch ELSE -1 END", "ELSE s.epoch END"),),
        IN_ORDER,
        "Outcome.CLOSED",
        "the late block is COMMITTED, not CLOSED",
    ),
    Bug(
        "room-of-a-tip",
        "a posting that is not a block is checked against its room's epoch too",
        "a tip commits in a room that has a later owner, or no owner",
        (Edit(BATCH, "touched := touched - x;", "NULL;"),),
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
                BATCH,
                "AND (epoch[i] > 0 OR block_no[i] > 0 OR live[i] = -1) THEN",
                "AND (epoch[i] > 0 OR live[i] = -1) THEN",
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
        "ticket",
        "a user buys a stream's ticket once",
        "each idempotency key buys the same ticket again",
        (Edit(BATCH, "IF k = ticket AND owned[first_ticket[i]] THEN", "IF false THEN"),),
        f"{TICKETS}::test_a_ticket_holder_pays_for_no_second_one_whether_they_could_or_not[30]",
        "Outcome.COMMITTED",
        "the second purchase is COMMITTED, not OWNED",
    ),
    Bug(
        "ticket-renewed",
        "a refunded ticket can be bought again",
        "a user whose ticket was refunded can never return",
        (Edit(BATCH, "s.user_id = w[debit[u.p]] AND s.refunded_at IS NULL)", "s.user_id = w[debit[u.p]])"),),
        f"{TICKETS}::test_a_ticket_that_was_given_back_may_be_bought_again_and_is_another_one",
        "Outcome.OWNED",
        "the second ticket is OWNED, not COMMITTED",
    ),
    Bug(
        "look-at-ticket",
        "a batch with a ticket takes the careful path",
        "a ticket is paid and not stored",
        (Edit(BATCH, "careful OR indebted OR ticket = ANY (kind) OR", "careful OR indebted OR"),),
        f"{TICKETS}::test_a_ticket_is_bought_beside_whoever_owns_the_room_and_is_the_payers_own",
        "assert [] ==",
        "there is no ticket row",
    ),
    Bug(
        "limit",
        "a user spends at most their daily limit",
        "a spend limit has no effect",
        (Edit(BATCH, "spent[d] + amount > w_limit[d] THEN", "false THEN"),),
        f"{LIMITS}::test_many_at_once_spend_no_more_than_the_limit",
        "Outcome.COMMITTED",
        "all are COMMITTED",
    ),
    Bug(
        "limit-seen",
        "… and a batch with a payer who has a limit takes the careful path",
        "a spend limit has no effect in a batch that has no other reason for the careful path",
        (Edit(BATCH, "IF limited AND NOT careful THEN", "IF false THEN"),),
        f"{LIMITS}::test_many_at_once_spend_no_more_than_the_limit",
        "Outcome.COMMITTED",
        "all are COMMITTED",
    ),
    Bug(
        "limit-counted",
        "spent tokens count against the limit",
        "each single payment may be as large as the limit",
        (Edit(BATCH, "spent[d] := spent[d] + amount;", "NULL;"),),
        f"{LIMITS}::test_many_at_once_spend_no_more_than_the_limit",
        "Outcome.COMMITTED",
        "all are COMMITTED",
    ),
    Bug(
        "limit-loosened",
        "a higher or removed limit takes effect after a day",
        "a user can lift the limit at the moment in which they want to spend more",
        (Edit(BATCH, "IF wanted > in_force OR wanted IS NULL THEN", "IF wanted IS NULL THEN"),),
        f"{LIMITS}::test_less_counts_at_once_and_more_after_a_day",
        "assert None is not None",
        "the higher limit applies at once",
    ),
    Bug(
        "refund-once",
        "a refund is made once, whether the payee or `losses` paid it",
        "the payee pays a refund that `losses` have paid before",
        (Edit(BATCH, "r.key IN (refund_key[p.i], rest_key[p.i])", "r.key = refund_key[p.i]"),),
        f"{REFUNDS}::test_a_repeated_refund_takes_nothing_from_a_payee_with_new_tokens",
        "Outcome.COMMITTED",
        "the second refund is COMMITTED, not ALREADY",
    ),
    Bug(
        "refund-split",
        "a refund takes at most the balance of the payee",
        "a refund that exceeds the payee's balance is not made at all",
        (Edit(BATCH, "of_promotional := least(had_promotional, t_promotional);", "of_promotional := t_promotional;"),),
        f"{REFUNDS}::test_the_payee_gives_back_what_is_there_and_the_losses_the_rest[25-25]",
        "assert [] ==",
        "no refund is made",
    ),
    Bug(
        "refund-ticket",
        "a refund deletes the ticket",
        "a refunded viewer continues to watch, and cannot buy again",
        (Edit(BATCH, "WHERE s.posting_key = ANY (content) AND s.refunded_at IS NULL;", "WHERE false;"),),
        f"{REFUNDS}::test_a_ticket_that_was_given_back_is_bought_again_and_given_back_again",
        "== {}",
        "the ticket is still there",
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
        (Edit(BATCH, "AND s.last_block = block_no[p] - 1;", ";"),),
        f"{AS_IT_IS}::{NO_PLACE}[gap-1]",
        "Outcome.GAP",
        "block 2 is COMMITTED without block 1",
    ),
    Bug(
        "gap-with-care",
        "… also in a batch on the careful path",
        "the same",
        (Edit(BATCH, "IF x > 0 AND last_block[x] <> block_no[i] - 1 THEN", "IF false THEN"),),
        IN_ORDER,
        "Outcome.GAP",
        "block 2 is COMMITTED before block 1",
    ),
    Bug(
        "funds",
        "a payment beyond the balance is refused",
        "a payment beyond the balance fails at the table's check constraint instead",
        (Edit(BATCH, NO_FUNDS, "IF false THEN"),),
        READERS,
        "Outcome.INVALID",
        "the receipts are INVALID instead of INSUFFICIENT",
    ),
    Bug(
        "debt",
        "… and the table has a check constraint",
        "without both guards, balances become negative",
        (
            Edit(BATCH, NO_FUNDS, "IF false THEN"),
            Edit(SQL, "CHECK (user_id IS NULL OR balance >= 0)", "CHECK (true)"),
            Edit(BATCH, "CONSTRAINT parts_of_a_balance CHECK (", "CONSTRAINT parts_of_a_balance CHECK (true OR "),
        ),
        READERS,
        '["least"] >= 0',
        "a concurrent reader sees a negative balance",
    ),
    Bug(
        "look",
        "a posting is refused only after its key was looked up in the journal",
        "a repeat is refused because its first attempt has spent the tokens",
        (Edit(BATCH, "FROM journal j WHERE j.key = key[p])", "FROM journal j WHERE false)"),),
        f"{ACTOR_TESTS}::test_a_repeat_is_found_though_the_payer_is_now_short_of_funds",
        "Outcome.INSUFFICIENT",
        "the repeat is INSUFFICIENT, not ALREADY",
    ),
    Bug(
        "look-around",
        "… and in the same batch",
        "a repeat in the same batch as its first attempt is refused",
        (Edit(BATCH, "OR cardinality(array_positions(key, key[p])) > 1", ""),),
        f"{AS_IT_IS}::test_a_repeat_in_the_same_batch_is_known_whether_it_could_be_paid_again_or_not",
        "Outcome.INSUFFICIENT",
        "the repeat is INSUFFICIENT, not ALREADY",
    ),
    Bug(
        "look-at-room",
        "… and after its room's epoch was checked",
        "a server that has lost a room receives INSUFFICIENT, and not FENCED",
        (Edit(BATCH, "OR room[p] IS NOT NULL AND (", "OR false AND ("),),
        f"{AS_IT_IS}::{NO_PLACE}[later-owner-500]",
        "Outcome.INSUFFICIENT",
        "the block is INSUFFICIENT, not FENCED",
    ),
    Bug(
        "look-at-meter",
        "… and after its block number was checked",
        "a block with a wrong number is reported as not affordable",
        (Edit(BATCH, "OR block_no[p] > 0 AND (", "OR false AND ("),),
        f"{AS_IT_IS}::{NO_PLACE}[gap-500]",
        "Outcome.INSUFFICIENT",
        "the block is INSUFFICIENT, not a GAP",
    ),
    Bug(
        "append-only",
        "the journal is append-only",
        "past postings can be changed",
        (Edit(SQL, "BEFORE UPDATE OR DELETE OR TRUNCATE ON journal", "BEFORE TRUNCATE ON journal"),),
        f"{ACTOR_TESTS}::test_no_other_statement_writes_the_ledger",
        "DID NOT RAISE",
        "UPDATE and DELETE are carried out",
    ),
    Bug(
        "only-booking",
        "only the batch statement writes balances and the journal",
        "any statement can create tokens",
        (
            Edit(
                SQL,
                "IF current_setting('halfminute.booking', true) IS DISTINCT FROM 'on' THEN",
                "IF false THEN",
            ),
        ),
        f"{ACTOR_TESTS}::test_no_other_statement_writes_the_ledger",
        "DID NOT RAISE",
        "a statement raises a balance",
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
        "::test_several_fans_who_call_one_creator_at_once_are_one_call_and_busy_lines",
        "201, 201",
        "several fans receive `call:ringing`",
    ),
)
