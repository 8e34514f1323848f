"""The resources that connections and requests hold, before and after their user is known."""

from tests.budget.resource import Resource

LIMITS = "tests/server/gateway/test_connection_limits.py::"
HOSTILE = "tests/server/rest/test_hostile_connections.py::"
UNAUTHENTICATED = "tests/server/gateway/test_unauthenticated.py::"
REST_LIMITS = "tests/server/rest/test_limits.py::"

OF_CONNECTIONS = (
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
        "addresses and users whose requests are counted",
        "server/access/rate_limits.py:REMEMBERED",
        "server/access/rate_limits.py",
        "tests/server/access/test_limits.py::test_a_hundred_thousand_addresses_do_not_grow_the_buckets_past_their_bound",
    ),
    Resource(
        "bytes of a send queue",
        "websocket.outbox_bytes",
        "server/broadcast/send_queue.py",
        "tests/server/gateway/test_send_queue.py::test_a_slow_reader_is_closed_with_its_code_after_the_frame_that_was_begun",
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
        "server/gateway/handshake.py",
        REST_LIMITS + "test_too_many_websockets_of_one_address_are_refused",
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
        "server/gateway/frame_reader.py",
        "tests/server/gateway/test_close_codes.py::test_each_way_to_be_disconnected_has_its_close_code",
    ),
)
