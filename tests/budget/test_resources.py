"""Every resource that a client can hold: its bound, what counts it, and the test that reaches the bound."""

import re
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from server.config import Settings

ROOT = Path(__file__).parents[2]


class Resource(NamedTuple):
    """`bound` is a setting, as section.key, or a constant, as module:NAME."""

    name: str
    bound: str
    counted_by: str
    test: str


LIMITS = "tests/server/test_connection_limits.py::"
HOSTILE = "tests/server/rest/test_hostile_connections.py::"
UNAUTHENTICATED = "tests/server/test_unauthenticated.py::"
USER = "tests/server/rest/test_user_bounds.py::"
RESOURCES = (
    Resource(
        "sockets of one address, HTTP",
        "limits.address_percent",
        "server/connection_limits.py",
        LIMITS + "test_silent_sockets_of_one_address_close_neither_port_to_others",
    ),
    Resource(
        "sockets of one address without a session, websocket",
        "limits.address_percent",
        "server/connection_limits.py",
        LIMITS + "test_silent_sockets_of_one_address_close_neither_port_to_others",
    ),
    Resource(
        "sockets of everybody, HTTP",
        "http.connections",
        "server/connection_limits.py",
        LIMITS + "test_the_limit_of_all_connections_holds_for_everybody",
    ),
    Resource(
        "sockets of everybody, websocket",
        "websocket.connections",
        "server/connection_limits.py",
        LIMITS + "test_the_limit_of_all_connections_holds_for_everybody",
    ),
    Resource(
        "open files",
        "websocket.connections",
        "server/open_files.py",
        LIMITS + "test_connections_are_held_against_the_limit_of_open_files",
    ),
    Resource(
        "seconds until a request's headers are here",
        "http.head_seconds",
        "server/rest/connections.py",
        HOSTILE + "test_a_head_that_does_not_come_is_not_waited_for",
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
        "server/rest/connections.py",
        HOSTILE + "test_an_answer_that_is_never_read_ends_its_connection",
    ),
    Resource(
        "headers of a request",
        "server/rest/http1.py:HEADERS_MAX",
        "server/rest/http1.py",
        HOSTILE + "test_headers_are_bounded_in_number_and_bytes",
    ),
    Resource(
        "parts of a body",
        "server/rest/http1.py:BODY_PARTS_MAX",
        "server/rest/http1.py",
        HOSTILE + "test_a_body_in_tiny_chunks_is_refused",
    ),
    Resource(
        "bytes of a websocket without a session",
        "server/websocket.py:OPEN_BYTES",
        "server/websocket.py",
        UNAUTHENTICATED + "test_nothing_is_read_behind_a_first_message_while_the_user_is_looked_up",
    ),
    Resource(
        "seconds until session:open",
        "websocket.open_seconds",
        "server/websocket.py",
        "tests/server/test_close_codes.py::test_each_way_out_has_its_code",
    ),
    Resource(
        "what moves tokens, of one user",
        "limits.money_burst",
        "server/limits.py",
        UNAUTHENTICATED + "test_the_money_limit_is_one_for_rest_and_all_websockets",
    ),
    Resource(
        "addresses and users whose requests are counted",
        "server/limits.py:REMEMBERED",
        "server/limits.py",
        "tests/server/test_limits.py::test_a_hundred_thousand_addresses_do_not_grow_the_buckets_past_their_bound",
    ),
    Resource(
        "sessions of one user",
        "websocket.sessions_per_user",
        "server/sessions.py",
        "tests/server/test_session_places.py::test_only_who_uses_all_their_sessions_is_refused",
    ),
    Resource(
        "rooms of one session",
        "websocket.rooms_per_session",
        "server/room_commands.py",
        "tests/server/test_rooms_per_session.py::test_one_room_more_than_is_allowed_is_refused_until_another_is_left",
    ),
    Resource(
        "bytes of a send queue",
        "websocket.outbox_bytes",
        "server/outbox.py",
        "tests/server/test_outbox.py::test_who_does_not_read_is_told_so_after_the_frame_that_was_begun",
    ),
    Resource(
        "commands that wait in a room",
        "rooms.inbox",
        "server/inbox.py",
        "tests/server/test_inbox.py::test_a_flood_of_commands_is_refused_but_keeps_no_call_from_ending",
    ),
    Resource(
        "streams of one creator that wait",
        "limits.streams_scheduled",
        "storage/streams.py",
        USER + "test_streams_that_wait_are_bounded_also_at_the_same_moment",
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
        "storage/purchases.py",
        USER + "test_purchases_that_wait_to_be_paid_are_bounded",
    ),
    Resource(
        "live overlay tokens of one creator",
        "overlays.tokens_per_creator",
        "storage/overlay_tokens.py",
        "tests/server/rest/test_overlay_tokens.py::test_a_creator_has_ten_live_ones_at_most_however_many_are_asked_for_at_once",
    ),
    Resource(
        "revoked overlay tokens of one creator",
        "limits.overlay_tokens_revoked",
        "storage/overlay_tokens.py",
        USER + "test_of_revoked_overlay_tokens_the_latest_are_kept",
    ),
    Resource(
        "users whom one creator has blocked",
        "limits.blocked_users",
        "storage/users.py",
        USER + "test_blocked_users_are_bounded",
    ),
)


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
