"""The guards of rights, secrets and the machine's clock, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

RIGHTS_TESTS = "tests/server/sessions/test_rights.py"
STREAM_TESTS = "tests/domain/test_stream_rights.py"
RANKING_TESTS = "tests/server/rest/test_leaderboard.py"
IDS_TESTS = "tests/server/rest/test_ids_of_others.py"
SECRET_TESTS = "tests/server/config/test_local_secrets.py"
KEY_TESTS = "tests/server/access/test_jwks.py"
METRICS_TESTS = "tests/server/rest/test_metrics.py"
CLOCK_TESTS = "tests/server/faults/test_clocks.py"
STREAM_MEMBERSHIP = "domain/stream/membership.py"

IN_RIGHTS = (
    Bug(
        "rights-refresh",
        "rooms check a session's rights again after a token refresh",
        "a former operator stays in a ticketed stream",
        (
            Edit(
                "server/gateway/protocol.py",
                "        if self._session.set_identity(identity):",
                "        if self._session.set_identity(identity) and False:",
            ),
        ),
        f"{RIGHTS_TESTS}::test_a_client_that_disconnects_at_once_is_checked_all_the_same",
        "it did not come",
        "the member does not leave",
    ),
    Bug(
        "rights-resume",
        "rooms check the rights of a session that resumes with a different role",
        "a former operator stays in a ticketed stream",
        (Edit("server/gateway/protocol.py", "        if rights_changed:", "        if False:"),),
        f"{RIGHTS_TESTS}::test_a_plain_token_evicts_a_former_operator_from_a_ticketed_stream[resume]",
        "it did not come",
        "no `access:revoked`",
    ),
    Bug(
        "rights-slow",
        "the query for a payer's funds has a time limit",
        "a former operator watches for nothing while the database is slow",
        (Edit("server/sessions/room_commands.py", "with trio.move_on_at(deadline), contextlib", "with contextlib"),),
        f"{RIGHTS_TESTS}::test_no_viewer_watches_for_nothing_because_the_database_is_slow",
        "it did not come",
        "no `access:revoked`",
    ),
    Bug(
        "rights-ban",
        "a banned user cannot refresh a token",
        "the session of a banned user continues with a newer token",
        (
            Edit(
                "server/gateway/protocol.py",
                "        if self._context.bans.contains(identity.user_id):",
                "        if False:",
            ),
        ),
        f"{RIGHTS_TESTS}::test_a_banned_user_refreshes_no_token",
        "still open",
        "the connection stays open",
    ),
    Bug(
        "rights-clock",
        "the meter of a payer who becomes an operator stops",
        "an operator pays for the blocks of a stream",
        (
            Edit(
                STREAM_MEMBERSHIP,
                "        if given.is_operator:\n"
                "            self._viewing_sessions.leave(member.user_id, given.member_id, at)\n",
                "        if given.is_operator:\n",
            ),
        ),
        f"{STREAM_TESTS}::test_a_viewer_who_becomes_an_operator_pays_no_more_and_keeps_the_rest",
        "assert",
        "eleven blocks are charged instead of one",
    ),
    Bug(
        "rights-sound",
        "an operator's returning connection starts no meter",
        "the user pays for what an operator may watch for nothing",
        (
            Edit(
                STREAM_MEMBERSHIP,
                "viewing = None if is_operator else self._viewing_sessions.find(member.user_id)",
                "viewing = self._viewing_sessions.find(member.user_id)",
            ),
        ),
        f"{STREAM_TESTS}::test_an_operators_responsive_connection_does_not_pay_for_another_of_the_user",
        "assert",
        "four blocks are charged instead of one",
    ),
    Bug(
        "ranking-private",
        "the public leaderboard counts public streams only",
        "a stranger learns who tips in a private call",
        (Edit("server/rest/routes/tips.py", "since, until, public_only=True))", "since, until))"),),
        f"{RANKING_TESTS}::test_a_stranger_does_not_learn_which_users_tip_in_a_call_or_when",
        "== []",
        "the fan and the amount are listed",
    ),
    Bug(
        "ranking-days",
        "a stranger's period is widened to whole days",
        "a binary search over periods reveals when a tip was given",
        (
            Edit(
                "server/rest/routes/tips.py",
                "        since, until = whole_days(query.since, query.until)",
                "        since, until = query.since, query.until",
            ),
        ),
        f"{RANKING_TESTS}::test_a_period_is_of_whole_days_for_a_stranger_and_exact_for_the_creator",
        "assert",
        "a period of one second is answered exactly",
    ),
    Bug(
        "ranking-access",
        "the leaderboard of a private stream requires access",
        "a stranger sees who gave most in a ticketed stream",
        (
            Edit(
                "server/rest/routes/tips.py",
                "    return None if access.has_access else Refusal(",
                "    return None if True else Refusal(",
            ),
        ),
        f"{RANKING_TESTS}::test_public_streams_count_for_everybody_and_private_ones_for_those_with_access",
        "200",
        "a stranger is answered 200",
    ),
    Bug(
        "card-blocked",
        "a creator appears offline to users whom they have blocked",
        "a blocked user sees when the creator is online and in a call",
        (Edit("server/rest/routes/creators.py", " if creator.user_id in hidden else card", " if False else card"),),
        f"{RANKING_TESTS}::test_a_user_whom_a_creator_blocks_does_not_see_whether_the_creator_is_online",
        "assert",
        "`online` and `busy` are true",
    ),
    Bug(
        "tip-context",
        "a tip in a call in which the sender has no part is refused like one in an unknown call",
        "404 instead of 400 reveals that the call exists",
        (Edit("server/rest/routes/tips.py", " or not all(room.admits(request.user_id) for room in rooms):", ":"),),
        f"{IDS_TESTS}::test_a_tips_context_does_not_reveal_whether_there_is_such_a_call",
        "No such room",
        "the answer is 404",
    ),
    Bug(
        "call-inbox",
        "commands of users who are not members are refused before the inbox",
        "a full inbox reveals that the call exists, and its parties cannot end it",
        (Edit("server/sessions/call_commands.py", "        elif user_id not in room.parties:", "        elif False:"),),
        f"{IDS_TESTS}::test_strangers_commands_do_not_wait_in_a_call",
        "assert [",
        "the commands are in the inbox",
    ),
    Bug(
        "secret-mode",
        "a local secret that other users can read or write is refused",
        "any user of the machine can sign tokens for everybody, operators included",
        (Edit("server/config/secret_files.py", "    if found.st_mode & _OTHERS:", "    if False:"),),
        f"{SECRET_TESTS}::test_the_start_is_refused_with_one_line",
        "TimeoutExpired",
        "the token is printed, and the server starts",
    ),
    Bug(
        "secret-directory",
        "a local secret in a directory that other users can write is refused",
        "another user can replace the file of the secret",
        (Edit("server/config/secret_files.py", "        if found.st_mode & _OTHERS_WRITE:", "        if False:"),),
        f"{SECRET_TESTS}::test_a_secret_that_others_could_have_planted_is_refused[anybody_writes_the_directory-]",
        "DID NOT RAISE",
        "the secret is used",
    ),
    Bug(
        "secret-link",
        "a local secret cannot be a symbolic link",
        "a link to a file with known content is followed",
        (
            Edit(
                "server/config/secret_files.py",
                "os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK",
                "os.O_RDONLY | os.O_NONBLOCK",
            ),
        ),
        f"{SECRET_TESTS}::test_a_secret_that_others_could_have_planted_is_refused[symlink-]",
        "DID NOT RAISE",
        "the secret is used",
    ),
    Bug(
        "jwks-plain",
        "keys from another machine are fetched over TLS only",
        "an attacker on the network path can sign tokens for everybody",
        (
            Edit(
                "server/config/auth.py",
                '    if parts.scheme == "http" and not _is_loopback(parts.hostname):',
                "    if False:",
            ),
        ),
        "tests/server/access/test_jwks_sources.py::test_keys_are_fetched_over_tls_unless_from_this_machine[http://issuer.example/jwks.json]",
        "DID NOT RAISE",
        "the URL is accepted",
    ),
    Bug(
        "jwks-file",
        "a key file that any user can write is refused",
        "any user of the machine can sign tokens for everybody",
        (
            Edit(
                "server/access/jwks.py",
                "        if os.fstat(opened.fileno()).st_mode & stat.S_IWOTH:",
                "        if False:",
            ),
        ),
        "tests/server/access/test_jwks_sources.py::test_a_file_that_anybody_may_write_is_refused",
        "DID NOT RAISE",
        "the keys are used",
    ),
    Bug(
        "metrics-open",
        "metrics are for local networks or a token",
        "anybody can read how many calls, tokens and faults there are",
        (
            Edit(
                "server/rest/routes/health.py",
                "    if not (_has_metrics_token(request) or _is_near(request)):",
                "    if False:",
            ),
        ),
        f"{METRICS_TESTS}::test_from_elsewhere_the_metrics_are_read_only_with_the_token",
        "JSONDecodeError",
        "the metrics are answered",
    ),
    Bug(
        "metrics-proxy",
        "clients behind an untrusted proxy do not count as local",
        "behind a proxy on the same machine the metrics are public",
        (
            Edit(
                "server/rest/routes/health.py",
                "    if not is_within(request.peer, proxies.trusted) and any(",
                "    if False and any(",
            ),
        ),
        f"{METRICS_TESTS}::test_clients_behind_an_untrusted_proxy_do_not_count_as_this_machine[X-Real-IP]",
        "JSONDecodeError",
        "the metrics are answered",
    ),
    Bug(
        "demo-database",
        "the demo's users are created in a configured database only after a second option",
        "a production database has an operator with a known id and users with tokens",
        (
            Edit(
                "server/cli/main.py", "    if demo and not yes_really and read_secrets", "    if False and read_secrets"
            ),
        ),
        "tests/server/cli/test_demo.py::test_demo_users_are_added_to_a_configured_database_only_if_requested_twice",
        "TimeoutExpired",
        "the server starts",
    ),
    Bug(
        "clock-server",
        "a batch compares the clocks of the database and the server",
        "a clock that is once 36 h ahead dates the ledger, and limits and days are wrong until time catches up",
        (Edit("storage/migrations/0010_clock_check.sql", "    IF abs(apart) > 5 THEN", "    IF false THEN"),),
        f"{CLOCK_TESTS}::test_while_the_clocks_disagree_nothing_is_booked_or_dated[129600]",
        "TooSlowError",
        "the posting is committed",
    ),
    Bug(
        "clock-booking",
        "a database whose clock is behind its latest posting commits nothing",
        "postings are dated into the future for as long as the clock was ahead",
        (
            Edit(
                "storage/migrations/0013_batch_steps.sql",
                "IF now_at > clock_timestamp() + max_clock_error THEN",
                "IF false THEN",
            ),
        ),
        f"{CLOCK_TESTS}::test_a_database_behind_its_latest_posting_commits_nothing[6]",
        "TooSlowError",
        "the posting is committed",
    ),
    Bug(
        "clock-passing",
        "clocks that disagree count as a transient error",
        "a payment at that moment is refused for good",
        (Edit("storage/sqlstates.py", " or sqlstate in _TEMPORARY", ""),),
        f"{CLOCK_TESTS}::test_while_the_clocks_disagree_nothing_is_booked_or_dated[6]",
        "TooSlowError",
        "it is refused at once",
    ),
    Bug(
        "clock-sums",
        "other statements that date the ledger compare the clocks as well",
        "the daily figures move the date of the latest posting by 36 h",
        (
            Edit(
                "storage/ledger/cutoff.py",
                " WHERE one AND check_clock($1)",
                " WHERE one AND $1::timestamptz IS NOT NULL",
            ),
        ),
        f"{CLOCK_TESTS}::test_every_other_statement_that_dates_the_ledger_is_refused[sums]",
        "DID NOT RAISE",
        "the figures are computed",
    ),
)
