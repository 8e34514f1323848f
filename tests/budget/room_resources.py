"""The resources that the members of one room hold."""

from tests.budget.resource import Resource

BUDGETS = "tests/server/access/test_user_budgets.py::"
VIEWERS = "tests/domain/test_stream_viewers.py::"
CHAT = "tests/domain/test_stream_chat.py::"

OF_ROOMS = (
    Resource(
        "commands that wait in a room",
        "rooms.inbox",
        "server/rooms/inbox/inbox.py",
        "tests/server/rooms/test_inbox.py::test_a_flood_of_commands_is_refused_but_keeps_no_call_from_ending",
    ),
    Resource(
        "pauses that one party of a call ends",
        "calls.resumes_burst",
        "domain/call/access.py",
        BUDGETS + "test_a_loop_of_pauses_is_announced_to_the_other_party_only_so_often",
    ),
    Resource(
        "connections of one party in a call",
        "calls.connections_per_party",
        "domain/room/members.py",
        "tests/domain/test_call_end.py::test_a_partys_silent_connection_gives_its_place_to_a_new_one",
    ),
    Resource(
        "connections in one stream",
        "streams.members",
        "domain/room/members.py",
        "tests/domain/test_stream_access.py::test_a_full_stream_admits_nobody_more",
    ),
    Resource(
        "connections of one viewer in a stream",
        "streams.connections_per_viewer",
        "domain/stream/stream.py",
        "tests/domain/test_stream_access.py::test_one_payer_watches_from_two_connections_at_most_and_others_from_four",
    ),
    Resource(
        "connections of one payer in a metered stream",
        "streams.connections_per_payer",
        "domain/stream/stream.py",
        "tests/domain/test_stream_access.py::test_one_payer_watches_from_two_connections_at_most_and_others_from_four",
    ),
    Resource(
        "users whom an owner silences in one stream",
        "streams.silenced",
        "domain/stream/stream.py",
        "tests/domain/test_stream_access.py::test_an_owner_silences_a_bounded_number_of_users",
    ),
    Resource(
        "viewer:* events to the owner of a stream",
        "streams.viewer_events_burst",
        "domain/stream/viewer_events.py",
        VIEWERS + "test_a_flood_of_comings_and_goings_costs_the_owner_so_many_events_a_second_and_no_more",
    ),
    Resource(
        "bytes of signals that one user puts into another's queue",
        "rooms.signal_bytes_burst",
        "domain/room/signalling.py",
        "tests/server/rooms/test_viewers.py::test_a_viewers_four_sockets_do_not_push_the_creator_over_the_send_queue",
    ),
    Resource(
        "signals that one user sends to another",
        "rooms.signals_burst",
        "domain/room/signalling.py",
        VIEWERS + "test_small_signals_are_counted_too",
    ),
    Resource(
        "signals that a creator sends and receives",
        "rooms.creator_signal_share",
        "domain/room/signalling.py",
        VIEWERS + "test_an_owner_negotiates_with_many_at_once_and_floods_none",
    ),
    Resource(
        "lines of chat in a room",
        "rooms.chat_burst",
        "domain/room/chat.py",
        CHAT + "test_a_room_takes_so_much_chat_and_no_more_and_some_again_after_a_while",
    ),
    Resource(
        "lines of chat of one user in a room",
        "rooms.user_chat_burst",
        "domain/room/chat.py",
        CHAT + "test_one_users_flood_leaves_the_others_room_to_write",
    ),
    Resource(
        "tips and lines of chat that a new member receives",
        "rooms.recent_events",
        "domain/room/chat.py",
        CHAT + "test_the_history_is_limited",
    ),
    Resource(
        "overlays in one room",
        "rooms.overlays",
        "domain/room/overlays.py",
        CHAT + "test_overlays_are_for_the_creators_own_rooms_and_only_so_many",
    ),
    Resource(
        "tips of one room that wait for the database",
        "rooms.tips_under_way",
        "domain/room/chat.py",
        CHAT + "test_the_number_of_tips_under_way_is_limited",
    ),
    Resource(
        "events of one room that are kept for members who come back",
        "rooms.history_events",
        "server/broadcast/history.py",
        "tests/server/sessions/test_resume.py::test_events_that_are_too_old_are_lost_and_never_sent_in_part",
    ),
)
