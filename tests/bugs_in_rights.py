"""The guards of rights, secrets and the machine's clock, and the tests that find them missing."""

from tests.bugs import Bug, Edit

RIGHTS_TESTS = "tests/server/test_rights.py"
STREAM_TESTS = "tests/domain/test_stream_rights.py"
STREAM = "domain/stream.py"

IN_RIGHTS = (
    Bug(
        "rights-refresh",
        "rooms check a session again once a refreshed token changed its rights",
        "whoever was an operator stays in a ticketed stream",
        (
            Edit(
                "server/conversation.py",
                "        if self._session.adopt(identity):",
                "        if self._session.adopt(identity) and False:",
            ),
        ),
        f"{RIGHTS_TESTS}::test_a_client_that_is_gone_at_once_is_checked_all_the_same",
        "it did not come",
        "the member does not leave",
    ),
    Bug(
        "rights-resume",
        "rooms check a session again that is resumed with other rights",
        "whoever was an operator stays in a ticketed stream",
        (Edit("server/conversation.py", "        if rights_changed:", "        if False:"),),
        f"{RIGHTS_TESTS}::test_a_plain_token_puts_who_was_an_operator_out_of_a_ticketed_stream[resume]",
        "it did not come",
        "no `access:revoked`",
    ),
    Bug(
        "rights-slow",
        "the look at what a payer has is bounded",
        "whoever was an operator watches for nothing while the database is slow",
        (Edit("server/room_commands.py", "with trio.move_on_at(deadline), contextlib", "with contextlib"),),
        f"{RIGHTS_TESTS}::test_nobody_watches_for_nothing_because_the_database_is_slow",
        "it did not come",
        "no `access:revoked`",
    ),
    Bug(
        "rights-ban",
        "a banned user refreshes no token",
        "the session of a banned user goes on with a newer token",
        (
            Edit(
                "server/conversation.py", "        if self._house.bans.contains(identity.user_id):", "        if False:"
            ),
        ),
        f"{RIGHTS_TESTS}::test_a_banned_user_refreshes_no_token",
        "still open",
        "the connection stays open",
    ),
    Bug(
        "rights-clock",
        "the clock of a payer who becomes an operator stops",
        "an operator pays for the blocks of a stream",
        (
            Edit(
                STREAM,
                "        if given.is_operator:\n            self.stays.unwatch(member.user_id, given.member_id, at)\n",
                "        if given.is_operator:\n",
            ),
        ),
        f"{STREAM_TESTS}::test_a_viewer_who_becomes_an_operator_pays_no_more_and_keeps_the_rest",
        "assert",
        "eleven blocks are charged instead of one",
    ),
    Bug(
        "rights-sound",
        "an operator's connection that is heard again starts no clock",
        "the user pays for what an operator sees for nothing",
        (
            Edit(
                STREAM,
                "stay = None if member_id in self.door.operators else self.stays.find(member.user_id)",
                "stay = self.stays.find(member.user_id)",
            ),
        ),
        f"{STREAM_TESTS}::test_an_operators_connection_that_is_heard_again_does_not_pay_for_another_of_the_same_user",
        "assert",
        "four blocks are charged instead of one",
    ),
)
