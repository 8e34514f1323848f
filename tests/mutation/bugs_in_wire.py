"""The guards between a client's bytes and everything else, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

WIRE, JSON, MSGPACK, FAULTS = (
    "server/broadcast/codec.py",
    "server/broadcast/read_json.py",
    "server/broadcast/read_msgpack.py",
    "server/broadcast/value_faults.py",
)
COMMANDS, REFUSALS = "domain/protocol/commands.py", "domain/refusals.py"
TESTS = "tests/server/gateway/test_wire.py"
STRICT_TESTS = "tests/server/rest/test_strict_json.py"
TEXT, TEXT_TESTS = "domain/text.py", "tests/domain/test_text.py"
CHAT = "domain/room/chat.py"
NEWCOMERS_TESTS = "tests/server/sessions/test_newcomers.py"
NEWCOMERS = f"{NEWCOMERS_TESTS}::test_newcomers_are_not_shown_what_silenced_users_wrote_even_after_a_restart"

IN_WIRE = (
    Bug(
        "channel-pattern",
        "a channel is bounded by length and pattern where it is decoded",
        "a NUL in it reaches PostgreSQL",
        (Edit(COMMANDS, r'max_length=MAX_CHANNEL, pattern=r"^[A-Za-z0-9_-]*(?!\n)$")', "max_length=MAX_CHANNEL)"),),
        f"{TESTS}::test_a_field_that_does_not_fit_is_named_and_never_echoed_at_length",
        "DID NOT RAISE",
        "the command is decoded",
    ),
    Bug(
        "doubled-json-key",
        "a duplicate JSON key is detected by the number of quotes",
        "the second of two amounts is paid",
        (Edit(WIRE, "2 * _strings_in(value, 1) == quotes", "_strings_in(value, 1) >= 0"),),
        f"{TESTS}::test_a_duplicate_key_is_found_at_any_depth",
        "is given twice",
        "the command is decoded",
    ),
    Bug(
        "doubled-msgpack-key",
        "a duplicate MessagePack key is detected by the length of the message",
        "the second of two amounts is paid",
        (Edit(WIRE, "len(_to_msgpack(value)) == len(message)", "bool(value)"),),
        f"{TESTS}::test_messagepack_in_unusual_encodings",
        "DID NOT RAISE",
        "the command is decoded",
    ),
    Bug(
        "integers",
        "integers are limited to 64 bits",
        "the integer cannot be sent to a member who uses MessagePack, and the room crashes",
        (Edit(WIRE, "if not INT64_MIN <= each <= INT64_MAX:", "if False:"),),
        f"{TESTS}::test_a_value_that_a_room_could_not_encode_is_refused_by_name",
        "DID NOT RAISE",
        "the command is decoded",
    ),
    Bug(
        "depth",
        "values are nested 32 levels deep at most",
        "encoding the value exceeds the stack",
        (Edit(WIRE, "if depth > MAX_DEPTH:", "if False:"),),
        f"{TESTS}::test_a_value_that_a_room_could_not_encode_is_refused_by_name",
        "DID NOT RAISE",
        "the command is decoded",
    ),
    Bug(
        "deep-rest",
        "a deeply nested text is rejected before the parser reads it",
        "the text counts as invalid JSON, and the connection is closed",
        (Edit(JSON, "        if outline.fault is not None:", "        if False:"),),
        f"{TESTS}::test_an_unknown_type_with_a_deep_rest_is_answered",
        "Undecodable",
        "the frame counts as undecodable",
    ),
    Bug(
        "extension",
        "MessagePack extension types and keys that are not strings are refused",
        "the value cannot be sent to a member who uses JSON",
        (Edit(WIRE, "elif each is not None and kind is not bool and kind is not bytes:", "elif False:"),),
        f"{TESTS}::test_ambiguous_messagepack_is_refused_by_name_at_any_depth",
        "DID NOT RAISE",
        "the command is decoded",
    ),
    Bug(
        "problem-size",
        "the list of validation errors fits into 8 KiB",
        "a body of 64 KiB is answered with a larger one",
        (Edit(REFUSALS, "if left < 0 and listed:", "if False:"),),
        f"{STRICT_TESTS}::test_a_body_with_thousands_of_faults_is_answered_with_twenty_at_most_in_8_kib",
        "8 * 1024",
        "the problem document is too large",
    ),
    Bug(
        "faults-listed",
        "at most 20 validation errors are listed",
        "the list is as long as the body has errors",
        (Edit(FAULTS, "MAX_FAULTS = 20 ", "MAX_FAULTS = 20_000 "),),
        f"{STRICT_TESTS}::test_a_body_with_thousands_of_faults_is_answered_with_twenty_at_most_in_8_kib",
        "<= 20",
        "more errors are listed",
    ),
    Bug(
        "bidi",
        "bidirectional embeddings and overrides are removed from users' texts",
        "a name is displayed in another order than it is stored",
        (Edit(TEXT, "    (0x202A, 0x202E),  # bidirectional embeddings and overrides\n", ""),),
        f"{TEXT_TESTS}::test_display_controls_are_removed",
        "gpj.exe",
        "the override is kept",
    ),
    Bug(
        "visible",
        "a text without a visible character counts as empty",
        "a user has an invisible name",
        (Edit(TEXT, 'return found if any(map(_is_visible, found)) else ""', "return found"),),
        f"{TEXT_TESTS}::test_invisible_text_becomes_empty",
        "AssertionError",
        "a blank pattern is kept as a name",
    ),
    Bug(
        "hidden-words",
        "the history omits messages of silenced users",
        "spam stays visible for members who join later",
        (Edit(CHAT, "_without_words(past) if past.from_.user_id == user_id else past", "past"),),
        "tests/domain/test_stream_chat.py::test_the_history_leaves_out_messages_of_silenced_users",
        "buy followers",
        "the message is in the history",
    ),
    Bug(
        "late-words",
        "a tip that is committed after its giver was silenced has no message",
        "the room and its overlays receive the message",
        (Edit(CHAT, '"message": None if silenced else tip.posting.memo', '"message": tip.posting.memo'),),
        "tests/domain/test_stream_chat.py::test_a_tip_that_is_booked_after_its_giver_was_silenced_is_published_without_its_message",
        "buy followers",
        "the message is published",
    ),
    Bug(
        "banned-words",
        "an operator's ban hides the user's messages in all rooms",
        "members who join later receive messages of banned users",
        (Edit("server/sessions/bans.py", "room.inbox.deliver(inputs.MessagesHidden(user_id))", "pass"),),
        f"{NEWCOMERS}[banned]",
        "buy followers",
        "the message is in the history",
    ),
    Bug(
        "stored-words",
        "a room that is rebuilt from rows hides the same users' messages",
        "after a restart members receive messages of removed users",
        (Edit("server/rooms/kinds/stream.py", "{*record.muted, *record.removed, *people.blocked}", "{*record.muted}"),),
        f"{NEWCOMERS}[removed]",
        "at example.com",
        "the message is in the history after the restart",
    ),
    Bug(
        "fuzzed-channel",
        "… so that no fuzzed frame reaches the database with a value that it cannot store",
        "a NUL in a channel is looked up",
        (Edit(COMMANDS, r'max_length=MAX_CHANNEL, pattern=r"^[A-Za-z0-9_-]*(?!\n)$")', "max_length=MAX_CHANNEL)"),),
        "tests/fuzz/test_fuzz.py::test_every_field_of_every_command_withstands_what_has_done_harm_before",
        '"type":"tip:send","channel":"a',
        "the log has the database error, and the fuzzer reports the frame",
    ),
)
