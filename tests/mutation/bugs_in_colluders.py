"""Guards against users who act together, and the colluders who find them missing."""

from tests.mutation.bugs import Bug, Edit

BATCH = "storage/migrations/0007_parts.sql"
ON_THE_MODEL = "tests/colluders/test_colluders.py::test_whatever_colluders_do_no_token_appears_and_every_bill_is_true"
ON_A_SERVER = (
    "tests/colluders/test_colluders_on_a_server.py"
    "::test_whatever_colluders_do_on_a_server_every_wallet_is_what_its_owner_was_told[10]"
)

IN_COLLUDERS = (
    Bug(
        "colluders-call-payee",
        "in a call the clock stops as of when the payee was last heard",
        "a fan pays for the seconds in which the creator's silence was not noticed",
        (
            Edit(
                "domain/call/membership.py",
                "self._state.meter.payee_was_away(party.last_received_at, at)",
                "self._state.meter.clock.stop(at)",
            ),
        ),
        ON_THE_MODEL,
        "AssertionError",
        "the bill names more time than was given",
    ),
    Bug(
        "colluders-stall",
        "nobody is present after a long stall until they are heard again",
        "a fan pays for time in which nobody could be heard",
        (Edit("domain/call/membership.py", "self._parties.note_all_silent(stalled.until)", "return"),),
        ON_THE_MODEL,
        "AssertionError",
        "the bill names more time than was given",
    ),
    Bug(
        "colluders-ticket-presence",
        "an absent owner earns no tickets",
        "tickets are released though the show was not given",
        (Edit("domain/stream/host_presence.py", "self._clock.stop_as_of(self.last_received_at, at)", "pass"),),
        ON_THE_MODEL,
        "AssertionError",
        "the release comes before the owner was there for so long",
    ),
    Bug(
        "colluders-payee-end",
        "a block that was hardly used is given back as a stream's owner ends it",
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
        "the block that its payer hardly had stays paid",
    ),
    Bug(
        "colluders-downtime",
        "after a restart a call's clock stands until both are back",
        "a fan pays while nobody is there",
        (Edit("domain/call/state.py", "self.parties.adopt(record, at)", "self.meter.clock.start(at)"),),
        ON_THE_MODEL,
        "AssertionError",
        "a block is charged for time that nobody gave",
    ),
    Bug(
        "colluders-promotional",
        "the promotional part of a payment stays promotional",
        "a gift that is tipped to a second account becomes cash",
        (Edit(BATCH, "pi := po;  ei := amount - po;", "pi := 0;  ei := amount;"),),
        ON_A_SERVER,
        "promotional tokens became cashable",
        "more can become cash than was sold",
    ),
    Bug(
        "colluders-debt",
        "what `losses` advance is a debt of the payee",
        "a tip that was passed on and then refunded is there twice, and nobody owes it",
        (Edit(BATCH, "WHERE j.debit_wallet = losses;", "WHERE false;"),),
        ON_A_SERVER,
        "debts are what was advanced",
        "more was advanced than is owed",
    ),
)
