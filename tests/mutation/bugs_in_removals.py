"""The guards around removed viewers' tickets and rooms that have moved, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

COMMITTER, TICKETS = "server/rooms/committer.py", "server/rest/routes/tickets.py"
COMMITTER_TESTS = "tests/server/rooms/test_committer.py"

IN_REMOVALS = (
    Bug(
        "refund-record",
        "a removed viewer's ticket is refunded once the removal is stored",
        "a viewer who receives the refund buys the next ticket before the removal is stored",
        (
            Edit(COMMITTER, "        saved = record is None or await self._storage.save(record)\n", ""),
            Edit(COMMITTER, "        for user_id in refunds if saved else ():\n", "        for user_id in refunds:\n"),
            Edit(
                COMMITTER,
                "        if record is not None:  # last:",
                "        saved = record is None or await self._storage.save(record)\n"
                "        if record is not None:  # last:",
            ),
        ),
        f"{COMMITTER_TESTS}::test_a_refund_follows_the_record_that_says_why",
        "), 0)] == [(",
        "the refund is committed first",
    ),
    Bug(
        "refund-fenced",
        "… and not at all where the removal is refused",
        "a viewer watches at the stream's next owner with a refunded ticket",
        (Edit(COMMITTER, "for user_id in refunds if saved else ():", "for user_id in refunds:"),),
        f"{COMMITTER_TESTS}::test_a_record_that_a_later_owner_refuses_takes_its_refunds_with_it",
        "== []",
        "the refund is made",
    ),
    Bug(
        "sale-again",
        "a ticket is sold only if its buyer may still join when the sale commits",
        "a viewer who is removed at that moment has paid for a stream that they cannot join",
        (Edit(TICKETS, "now is not None and (refusal := await _why_evicted(request, now)) is not None", "False"),),
        "tests/server/rest/test_ticket_races.py"
        "::test_a_buyer_who_is_removed_while_the_ticket_is_booked_gets_the_tokens_back",
        "assert 201 == 403",
        "the ticket is sold",
    ),
    Bug(
        "moved-try-again",
        "a room with a later owner answers with a retry time",
        "its members receive that the server shuts down, and no retry time",
        (Edit("domain/room/termination.py", "        if self._moved:\n            return MOVED\n", ""),),
        "tests/domain/test_call_end.py::test_a_call_that_moved_to_another_server_asks_for_another_try",
        "assert 'DRAINING' == 'ROOM_STARTING'",
        "the refusal is DRAINING",
    ),
)
