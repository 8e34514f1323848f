"""The guards of connections, of websockets and of HTTP, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

IN_CONNECTIONS = (
    Bug(
        "ping-hides",
        "a session is judged by its first unanswered ping",
        "a user is refused because of a session that is silent",
        (
            Edit(
                "server/gateway/pings.py",
                "        if self.unanswered_since is None:\n            self._asked_at = now\n",
                "        self._asked_at = now\n",
            ),
        ),
        "tests/server/sessions/test_session_places.py::test_a_further_ping_does_not_hide_that_an_earlier_one_is_unanswered",
        "AssertionError",
        "the later ping counts",
    ),
    Bug(
        "pong-inside",
        "bytes that look like a Pong are one only between two frames",
        "a part of a message is lost",
        (
            Edit(
                "server/gateway/frame_reader.py",
                "between_frames = decoder.header is None and not decoder.buffer",
                "between_frames = decoder is not None",
            ),
        ),
        "tests/server/gateway/test_lone_pongs.py::test_bytes_that_look_like_a_pong_within_a_frame_belong_to_it",
        "TooSlowError",
        "the message never ends",
    ),
    Bug(
        "pong-flood",
        "lone Pongs count against the limit of control frames",
        "a client keeps the server busy with Pongs",
        (
            Edit(
                "server/gateway/frame_reader.py",
                "self.exceeded is None and self._control_frames.take_if_due(trio.current_time())",
                "True",
            ),
        ),
        "tests/server/gateway/test_lone_pongs.py::test_a_flood_of_lone_pongs_closes_the_connection",
        "TooSlowError",
        "the connection stays open",
    ),
    Bug(
        "unread-body",
        "a request is answered when its body has been read",
        "a client's next request over the connection fails",
        (Edit("server/rest/http/bodies.py", "        if not self._begun:\n", "        if False:\n"),),
        "tests/server/rest/test_connections.py::test_an_answer_waits_for_the_body_that_it_does_not_need",
        "AssertionError",
        "the answer ends the connection",
    ),
    Bug(
        "hang-up",
        "a request without a body ends when its client hangs up",
        "abandoned requests hold their connections to the database",
        (Edit("server/rest/http/http1.py", "                self._serving.cancel()\n", "                pass\n"),),
        "tests/server/rest/test_connections.py::test_a_read_whose_client_hangs_up_ends_at_once",
        "TooSlowError",
        "the statement runs until its lock times out",
    ),
    Bug(
        "withdrawn-key",
        "a token is verified again once the public keys were read anew",
        "a token of a withdrawn key is accepted until it expires",
        (Edit("server/access/tokens.py", "if keys is not self._verified_with:", "if False:"),),
        "tests/server/access/test_jwks.py::test_a_verified_token_is_refused_once_its_key_is_withdrawn",
        "DID NOT RAISE",
        "the token is accepted",
    ),
)
