"""Every resource that a client can hold: its bound, what counts it, and the test that reaches the bound."""

import re
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from server.config.settings import Settings

ROOT = Path(__file__).parents[2]


class Resource(NamedTuple):
    """`bound` is a setting, as section.key, or a constant, as module:NAME."""

    name: str
    bound: str
    counted_by: str
    test: str


LIMITS = "tests/server/gateway/test_connection_limits.py::"
HOSTILE = "tests/server/rest/test_hostile_connections.py::"
UNAUTHENTICATED = "tests/server/gateway/test_unauthenticated.py::"
USER = "tests/server/rest/test_user_bounds.py::"
REST_LIMITS = "tests/server/rest/test_limits.py::"
BUDGETS = "tests/server/access/test_user_budgets.py::"
VIEWERS = "tests/domain/test_stream_viewers.py::"
TALK = "tests/domain/test_stream_chat.py::"
RESOURCES = (
    Resource(
        "sockets of one address, HTTP",
        "limits.address_percent",
        "server/gateway/connection_limits.py",
        LIMITS + "test_silent_sockets_of_one_address_close_neither_port_to_others",
    ),
    Resource(
        "sockets of one address without a session, websocket",
        "limits.address_percent",
        "server/gateway/connection_limits.py",
        LIMITS + "test_silent_sockets_of_one_address_close_neither_port_to_others",
    ),
    Resource(
        "sockets of everybody, HTTP",
        "http.connections",
        "server/gateway/connection_limits.py",
        LIMITS + "test_the_limit_of_all_connections_holds_for_everybody",
    ),
    Resource(
        "sockets of everybody, websocket",
        "websocket.connections",
        "server/gateway/connection_limits.py",
        LIMITS + "test_the_limit_of_all_connections_holds_for_everybody",
    ),
    Resource(
        "open files",
        "websocket.connections",
        "server/observability/open_files.py",
        LIMITS + "test_connections_are_held_against_the_limit_of_open_files",
    ),
    Resource(
        "seconds until a request's headers are here",
        "http.head_seconds",
        "server/rest/http/connections.py",
        HOSTILE + "test_a_head_that_does_not_arrive_is_not_waited_for",
    ),
    Resource(
        "seconds until a request's body is here",
        "http.answer_seconds",
        "server/rest/app.py",
        "tests/server/rest/test_connections.py::test_a_body_that_does_not_arrive_is_not_waited_for",
    ),
    Resource(
        "seconds in which an answer is read",
        "http.send_seconds",
        "server/rest/http/connections.py",
        HOSTILE + "test_an_answer_that_is_never_read_ends_its_connection",
    ),
    Resource(
        "headers of a request",
        "server/rest/http/http1.py:HEADERS_MAX",
        "server/rest/http/http1.py",
        HOSTILE + "test_headers_are_bounded_in_number_and_bytes",
    ),
    Resource(
        "parts of a body",
        "server/rest/http/http1.py:BODY_PARTS_MAX",
        "server/rest/http/http1.py",
        HOSTILE + "test_a_body_in_tiny_chunks_is_refused",
    ),
    Resource(
        "bytes of a websocket without a session",
        "server/gateway/connection.py:OPEN_BYTES",
        "server/gateway/connection.py",
        UNAUTHENTICATED + "test_nothing_is_read_after_a_first_message_while_the_user_is_looked_up",
    ),
    Resource(
        "seconds until session:open",
        "websocket.open_seconds",
        "server/gateway/connection.py",
        "tests/server/gateway/test_close_codes.py::test_each_way_to_be_disconnected_has_its_close_code",
    ),
    Resource(
        "what moves tokens, of one user",
        "limits.money_burst",
        "server/access/rate_limits.py",
        UNAUTHENTICATED + "test_the_money_limit_is_one_for_rest_and_all_websockets",
    ),
    Resource(
        "addresses and users whose requests are counted",
        "server/access/rate_limits.py:REMEMBERED",
        "server/access/rate_limits.py",
        "tests/server/access/test_limits.py::test_a_hundred_thousand_addresses_do_not_grow_the_buckets_past_their_bound",
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
        "bytes of a send queue",
        "websocket.outbox_bytes",
        "server/broadcast/send_queue.py",
        "tests/server/gateway/test_send_queue.py::test_a_slow_reader_is_closed_with_its_code_after_the_frame_that_was_begun",
    ),
    Resource(
        "commands that wait in a room",
        "rooms.inbox",
        "server/rooms/inbox/inbox.py",
        "tests/server/rooms/test_inbox.py::test_a_flood_of_commands_is_refused_but_keeps_no_call_from_ending",
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
        "storage/people/users.py",
        USER + "test_blocked_users_are_bounded",
    ),
    Resource(
        "requests of one address, before it is known who asks",
        "limits.address_burst",
        "server/access/rate_limits.py",
        REST_LIMITS + "test_requests_to_all_routes_count_for_the_address_before_anything_is_looked_up",
    ),
    Resource(
        "requests of one address that are worked on at once",
        "server/rest/http/concurrency.py:AT_ONCE",
        "server/rest/http/concurrency.py",
        "tests/server/rest/test_concurrency.py::test_requests_beyond_the_first_few_of_an_address_wait_in_order",
    ),
    Resource(
        "probes of one address",
        "limits.probes_burst",
        "server/access/rate_limits.py",
        REST_LIMITS + "test_probes_have_a_limit_of_their_own_that_leaves_others_alone",
    ),
    Resource(
        "webhooks of one address whose proof is wrong",
        "limits.proofs_burst",
        "server/rest/dispatch.py",
        REST_LIMITS + "test_the_providers_events_are_never_limited_and_wrong_signatures_are",
    ),
    Resource(
        "handshakes of one address",
        "limits.handshakes_burst",
        "server/gateway/connection.py",
        REST_LIMITS + "test_too_many_websockets_of_one_address_are_refused",
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
        "pauses that one party of a call ends",
        "calls.resumes_burst",
        "domain/call/access.py",
        BUDGETS + "test_a_loop_of_pauses_is_announced_to_the_other_party_only_so_often",
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
    Resource(
        "bytes of a body",
        "http.max_body_bytes",
        "server/rest/http/bodies.py",
        "tests/server/rest/test_strict_bodies.py::test_an_invalid_body_is_refused_by_name",
    ),
    Resource(
        "bytes of a provider's event",
        "payments.max_event_bytes",
        "server/rest/http/bodies.py",
        "tests/server/rest/test_payment_webhook.py::"
        "test_beyond_its_own_bound_an_event_is_too_large_and_other_paths_keep_theirs",
    ),
    Resource(
        "large events that are held at once",
        "server/rest/http/bodies.py:LARGE_AT_ONCE",
        "server/rest/http/bodies.py",
        "tests/server/rest/test_payment_webhook.py::"
        "test_the_number_of_large_events_in_memory_is_bounded_and_payments_do_not_wait_for_them",
    ),
    Resource(
        "bytes of a frame",
        "websocket.max_frame_bytes",
        "server/gateway/connection.py",
        "tests/server/gateway/test_close_codes.py::test_each_way_to_be_disconnected_has_its_close_code",
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
        "tests/domain/test_stream_access.py::test_a_full_stream_takes_nobody_more",
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
        TALK + "test_a_room_takes_so_much_chat_and_no_more_and_some_again_after_a_while",
    ),
    Resource(
        "lines of chat of one user in a room",
        "rooms.user_chat_burst",
        "domain/room/chat.py",
        TALK + "test_one_users_flood_leaves_the_others_room_to_write",
    ),
    Resource(
        "tips and lines of chat that a new member receives",
        "rooms.recent_events",
        "domain/room/chat.py",
        TALK + "test_the_history_is_limited",
    ),
    Resource(
        "overlays in one room",
        "rooms.overlays",
        "domain/room/overlays.py",
        TALK + "test_overlays_are_for_the_creators_own_rooms_and_only_so_many",
    ),
    Resource(
        "tips of one room that wait for the database",
        "rooms.tips_under_way",
        "domain/room/chat.py",
        TALK + "test_the_number_of_tips_under_way_is_limited",
    ),
    Resource(
        "events of one room that are kept for members who come back",
        "rooms.history_events",
        "server/broadcast/history.py",
        "tests/server/sessions/test_resume.py::test_events_that_are_too_old_are_lost_and_never_sent_in_part",
    ),
)

# Settings of the same sections that bound nothing that a client holds: averages beside a burst, times, addresses.
NO_BOUNDS = {
    "limits.exempt",
    "rooms.presence_limit",  # beyond it members are only counted
    "rooms.history_seconds",
    "calls.block_seconds",
    "calls.block_rounding",
}


def bounding_settings() -> set[str]:
    """Those that say how many, of the sections that are about what clients may do."""
    return {
        f"{section}.{key}"
        for section in ("limits", "rooms", "streams", "calls", "overlays")
        for key in msgspec.structs.asdict(getattr(Settings(), section))
        if not key.endswith(("_per_second", "_seconds", "_days"))
    } - NO_BOUNDS


def test_every_setting_that_bounds_clients_has_its_resource_in_the_table() -> None:
    assert bounding_settings() - {resource.bound for resource in RESOURCES} == set()


def test_the_table_of_resources_can_be_printed() -> None:
    print("\n| resource | bound | counted by | reached by |\n|---|---|---|---|")
    for resource in RESOURCES:
        print(
            f"| {resource.name} | {resource.bound} = {value_of(resource)} | {resource.counted_by} | {resource.test} |"
        )
    assert all(value_of(resource) is not None for resource in RESOURCES)


def value_of(resource: Resource) -> object:
    """Return the default value of the resource's bound; None if there is none."""
    place, colon, name = resource.bound.partition(":")
    if colon:
        found = re.search(rf"^{name} = ([^#\n]*)", (ROOT / place).read_text(), re.MULTILINE)
        return found and found[1].strip()
    section, _, key = resource.bound.partition(".")
    return msgspec.structs.asdict(getattr(Settings(), section)).get(key)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_every_resource_has_a_bound_a_counter_and_a_test(resource: Resource) -> None:
    place, colon, name = resource.bound.partition(":")
    if colon:
        assert re.search(rf"^{name} = ", (ROOT / place).read_text(), re.MULTILINE)
    else:
        section, _, key = resource.bound.partition(".")
        assert key in msgspec.structs.asdict(getattr(Settings(), section))
        assert re.search(rf"^{key} = ", (ROOT / "config.toml").read_text(), re.MULTILINE)
    assert (ROOT / resource.counted_by).is_file()
    file, _, test = resource.test.partition("::")
    assert f"def {test}(" in (ROOT / file).read_text()
