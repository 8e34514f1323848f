"""Guards against users who act together, and the colluders who find them missing."""

from tests.mutation.bugs import Bug, Edit

STEPS, PARTS = "storage/migrations/0013_batch_steps.sql", "storage/migrations/0007_parts.sql"
ON_THE_MODEL = "tests/colluders/test_colluders.py::test_colluders_create_no_token_and_every_bill_is_true"
ON_A_SERVER = (
    "tests/colluders/test_colluders_on_a_server.py"
    "::test_every_wallet_of_colluders_on_a_server_has_the_balance_its_owner_was_sent[10]"
)

IN_COLLUDERS = (
    Bug(
        "colluders-call-payee",
        "in a call the meter stops as of the payee's last sign of presence",
        "a fan pays for the seconds until the creator's silence is noticed",
        (
            Edit(
                "domain/call/membership.py",
                "self._state.meter.payee_was_away(party.last_received_at, at)",
                "self._state.meter.clock.stop(at)",
            ),
        ),
        ON_THE_MODEL,
        "AssertionError",
        "the bill has more time than the creator was present",
    ),
    Bug(
        "colluders-stall",
        "after a long stall nobody counts as present until their connection answers",
        "a fan pays for time without a connection",
        (Edit("domain/call/membership.py", "self._parties.note_all_silent(stalled.until)", "return"),),
        ON_THE_MODEL,
        "AssertionError",
        "the bill has more time than the creator was present",
    ),
    Bug(
        "colluders-ticket-presence",
        "an absent owner earns no tickets",
        "tickets are released though the show did not take place",
        (Edit("domain/stream/host_presence.py", "self._clock.stop_as_of(self.last_received_at, at)", "pass"),),
        ON_THE_MODEL,
        "AssertionError",
        "the release precedes the required presence",
    ),
    Bug(
        "colluders-payee-end",
        "a barely used block is refunded when the stream's owner ends it",
        "an owner ends the stream right after each charge and keeps all of it",
        (
            Edit(
                "domain/stream/stream.py",
                "at_least = self.rules.payee_end_seconds if by_owner and self.members.of(meter.payer) else 0",
                "at_least = 0",
            ),
        ),
        ON_THE_MODEL,
        "AssertionError",
        "the barely used block stays paid",
    ),
    Bug(
        "colluders-downtime",
        "after a restart a call's meter stands until both parties are back",
        "a fan pays while neither party is present",
        (Edit("domain/call/state.py", "self.parties.adopt(record, at)", "self.meter.clock.start(at)"),),
        ON_THE_MODEL,
        "AssertionError",
        "a block is charged for time without presence",
    ),
    Bug(
        "colluders-promotional",
        "the promotional part of a payment stays promotional",
        "a gift that is tipped to a second account becomes cashable",
        (
            Edit(
                STEPS,
                "in_promotional := out_promotional;  in_earned := amount - out_promotional;",
                "in_promotional := 0;  in_earned := amount;",
            ),
        ),
        ON_A_SERVER,
        "promotional tokens became cashable",
        "more is cashable than was sold",
    ),
    Bug(
        "colluders-debt",
        "an advance from `losses` is a debt of the payee",
        "a tip that was spent and then refunded exists twice, and nobody owes it",
        (Edit(PARTS, "WHERE j.debit_wallet = losses;", "WHERE false;"),),
        ON_A_SERVER,
        "debts are what was advanced",
        "more was advanced than is owed",
    ),
)
