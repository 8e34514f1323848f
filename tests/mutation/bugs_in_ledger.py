"""The guards of the journal and of balances in the database, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

SQL = "storage/migrations/0001_initial.sql"
STREAMS_SQL = "storage/migrations/0002_streams.sql"
STEPS = "storage/migrations/0013_batch_steps.sql"  # the batch statement
PARTS = "storage/migrations/0007_parts.sql"  # refunds and releases
CALLS_SQL = "storage/migrations/0009_calls.sql"
ACTOR_TESTS = "tests/storage/test_actor.py"
TWO_SERVERS = "tests/storage/test_bank.py::test_two_servers_on_one_database_never_lock_each_other_out[1000]"
READERS = "tests/storage/test_bank.py::test_readers_always_see_the_same_sum_and_nobody_in_debt"
AS_IT_IS = "tests/storage/test_as_it_is.py"
NO_PLACE = "test_a_posting_that_has_no_place_is_refused_for_that_whether_it_can_be_paid_or_not"

# The lines after the lock in the batch statement; they tell it from the other statements that take the write lock.
BEGIN = " INTO now_at;\n        IF now_at > clock_timestamp() + max_clock_error THEN"
TAKE_LOCK = f"UPDATE fence SET booked_at = greatest(booked_at, clock_timestamp()) WHERE one RETURNING booked_at{BEGIN}"
NO_FUNDS = "IF w_is_user[payer] AND (payer_after < 0 OR posting_kind = payout AND earned[payer] < amount) THEN"

IN_LEDGER = (
    Bug(
        "key",
        "a posting key is in the journal at most once",
        "the same posting is committed each time it is sent",
        (
            Edit(SQL, "key           uuid PRIMARY KEY,", "key           uuid NOT NULL,"),
            Edit(SQL, "PRIMARY KEY REFERENCES journal (key) ON DELETE RESTRICT", "PRIMARY KEY"),
            Edit(STREAMS_SQL, "UNIQUE REFERENCES journal (key) ON DELETE RESTRICT", "UNIQUE"),
            Edit(
                PARTS,
                "advance_key uuid PRIMARY KEY REFERENCES journal (key) ON DELETE RESTRICT",
                "advance_key uuid PRIMARY KEY",
            ),
            Edit(
                PARTS, "release_key uuid UNIQUE REFERENCES journal (key) ON DELETE RESTRICT", "release_key uuid UNIQUE"
            ),
            Edit(
                PARTS, "posting_key uuid UNIQUE REFERENCES journal (key) ON DELETE RESTRICT", "posting_key uuid UNIQUE"
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
        (Edit(STEPS, "IF same_content[i] THEN", "IF true THEN"),),
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
                STEPS,
                TAKE_LOCK,
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
                STEPS,
                TAKE_LOCK,
                f"SELECT clock_timestamp(){BEGIN}",
            ),
            Edit(STEPS, "WHERE s.ctid = w_tid[p] AND s.n = w_n[p]", "WHERE s.id = w[p]"),
        ),
        TWO_SERVERS,
        "== 0",
        "a concurrent reader sees balances that do not sum to zero",
    ),
    Bug(
        "funds",
        "a payment beyond the balance is refused",
        "a payment beyond the balance fails at the table's check constraint instead",
        (Edit(STEPS, NO_FUNDS, "IF false THEN"),),
        READERS,
        "Outcome.INVALID",
        "the receipts are INVALID instead of INSUFFICIENT",
    ),
    Bug(
        "debt",
        "… and the table has a check constraint",
        "without both guards, balances become negative",
        (
            Edit(STEPS, NO_FUNDS, "IF false THEN"),
            Edit(SQL, "CHECK (user_id IS NULL OR balance >= 0)", "CHECK (true)"),
            Edit(PARTS, "CONSTRAINT parts_of_a_balance CHECK (", "CONSTRAINT parts_of_a_balance CHECK (true OR "),
        ),
        READERS,
        '["least"] >= 0',
        "a concurrent reader sees a negative balance",
    ),
    Bug(
        "look",
        "a posting is refused only after its key was looked up in the journal",
        "a repeat is refused because its first attempt has spent the tokens",
        (Edit(STEPS, "FROM journal j WHERE j.key = key[p])", "FROM journal j WHERE false)"),),
        f"{ACTOR_TESTS}::test_a_repeat_is_found_though_the_payer_is_now_short_of_funds",
        "Outcome.INSUFFICIENT",
        "the repeat is INSUFFICIENT, not ALREADY",
    ),
    Bug(
        "look-around",
        "… and in the same batch",
        "a repeat in the same batch as its first attempt is refused",
        (Edit(STEPS, "OR cardinality(array_positions(key, key[p])) > 1", ""),),
        f"{AS_IT_IS}::test_a_repeat_in_the_same_batch_is_known_whether_it_could_be_paid_again_or_not",
        "Outcome.INSUFFICIENT",
        "the repeat is INSUFFICIENT, not ALREADY",
    ),
    Bug(
        "look-at-room",
        "… and after its room's epoch was checked",
        "a server that has lost a room receives INSUFFICIENT, and not FENCED",
        (Edit(STEPS, "OR room[p] IS NOT NULL AND (", "OR false AND ("),),
        f"{AS_IT_IS}::{NO_PLACE}[later-owner-500]",
        "Outcome.INSUFFICIENT",
        "the block is INSUFFICIENT, not FENCED",
    ),
    Bug(
        "look-at-meter",
        "… and after its block number was checked",
        "a block with a wrong number is reported as not affordable",
        (Edit(STEPS, "OR block_no[p] > 0 AND (", "OR false AND ("),),
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
)
