"""The resources that one user holds: sessions, rows and budgets."""

from tests.budget.resource import Resource

UNAUTHENTICATED = "tests/server/gateway/test_unauthenticated.py::"
USER = "tests/server/rest/test_user_bounds.py::"
BUDGETS = "tests/server/access/test_user_budgets.py::"

OF_USERS = (
    Resource(
        "what moves tokens, of one user",
        "limits.money_burst",
        "server/access/rate_limits.py",
        UNAUTHENTICATED + "test_the_money_limit_is_one_for_rest_and_all_websockets",
    ),
    Resource(
        "sessions of one user",
        "websocket.sessions_per_user",
        "server/sessions/directory.py",
        "tests/server/sessions/test_session_places.py::test_a_user_is_refused_only_if_all_their_sessions_are_in_use",
    ),
    Resource(
        "rooms of one session",
        "websocket.rooms_per_session",
        "server/sessions/room_commands.py",
        "tests/server/sessions/test_rooms_per_session.py::test_one_room_more_than_is_allowed_is_refused_until_another_is_left",
    ),
    Resource(
        "streams of one creator that wait",
        "limits.streams_scheduled",
        "storage/rooms/streams.py",
        USER + "test_scheduled_streams_are_bounded_also_at_the_same_moment",
    ),
    Resource(
        "streams of one creator in a day",
        "limits.streams_per_day",
        "storage/quotas.py",
        USER + "test_streams_of_a_day_are_bounded_though_they_have_ended",
    ),
    Resource(
        "reports of one user in a day",
        "limits.reports_per_day",
        "storage/quotas.py",
        USER + "test_reports_of_a_day_are_bounded",
    ),
    Resource(
        "purchases and their keys of one user that wait to be paid",
        "limits.purchases_pending",
        "storage/market/purchases.py",
        USER + "test_unpaid_purchases_are_bounded",
    ),
    Resource(
        "live overlay tokens of one creator",
        "overlays.tokens_per_creator",
        "storage/people/overlay_tokens.py",
        "tests/server/rest/test_overlay_tokens.py::test_a_creator_has_ten_live_ones_at_most_however_many_are_asked_for_at_once",
    ),
    Resource(
        "revoked overlay tokens of one creator",
        "limits.overlay_tokens_revoked",
        "storage/people/overlay_tokens.py",
        USER + "test_only_the_latest_revoked_overlay_tokens_are_kept",
    ),
    Resource(
        "users whom one creator has blocked",
        "limits.blocked_users",
        "storage/people/creator_blocks.py",
        USER + "test_blocked_users_are_bounded",
    ),
    Resource(
        "requests of one user, commands about calls, members and tokens among them",
        "limits.user_burst",
        "server/access/user_budgets.py",
        BUDGETS + "test_commands_that_query_the_database_count_as_requests_of_their_user",
    ),
    Resource(
        "joins of one user",
        "limits.joins_burst",
        "server/access/user_budgets.py",
        "tests/server/rooms/test_viewers.py::test_a_loop_of_joins_and_leaves_is_bounded_for_all_rooms_and_devices_of_a_user",
    ),
    Resource(
        "sessions that one user opens or resumes",
        "limits.opens_burst",
        "server/access/user_budgets.py",
        BUDGETS + "test_a_loop_that_opens_sessions_is_bounded_for_all_devices_of_a_user",
    ),
    Resource(
        "messages of one session",
        "websocket.messages_burst",
        "server/gateway/protocol.py",
        "tests/server/gateway/test_pace.py::test_too_many_messages_are_refused_and_then_end_the_connection",
    ),
    Resource(
        "seconds that a session is kept without a connection",
        "websocket.session_seconds",
        "server/sessions/directory.py",
        "tests/server/sessions/test_resume.py::test_a_session_can_be_resumed_for_so_long_and_not_longer",
    ),
)
