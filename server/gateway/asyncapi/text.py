"""What the AsyncAPI document says in words: the rules of the conversation, its limits, and how it ends."""

from typing import Any

from server.broadcast.codec import Encoding

INTRODUCTION = """\
The websocket of a server for paid calls and streams: in a call everybody sees each block that is charged, in a \
metered stream each viewer has a clock of their own and hears of their own blocks alone.

The document speaks as the server: `receive` is what clients send, `send` is what they get.

One JSON object or MessagePack map is one frame, and `type` says which message it is. Fields that are not known are \
ignored, on both sides. Times are RFC 3339 in UTC with milliseconds, token amounts are whole integers, ids are UUIDs.

**Sequenced** events go to all members of a room and carry `channel`, `seq` and `at`; `seq` counts 1, 2, 3 … without \
holes, for each channel and epoch. **Private** events go to the sessions of one user, have no `seq` and are in no \
history. Events about money are sent after the commit, never before.\
"""

SERVER = "Where the websocket listens, as `GET /api/config` tells in `websocketUrl`."
HOST = "The host that this document came from."

CHANNEL = """\
The first message is `session:open`, unless the handshake carried `Authorization`; a token in the address is refused. \
The answer is `session:ready`.

`room:join` brings a session into the room of a call or of a live stream, and its answer says what was said and given \
there lately. Tips, chat and signals are for members: a signal passes between the room's creator and one other \
connection, costs both of them of a budget (`RATE_LIMITED`, with `retryAfterSeconds`), and is `NOT_PRESENT` to or from \
a member that is not heard of, or whose clock stands in a metered stream. Past `presenceLimit` members of a stream are \
not named any more, but counted. With `as: "overlay"` a creator's own picture joins instead: it hears `tip:new` and \
the end of the room alone, with numbers of its own, and after `sinceTipId` what it missed, as `history`. Whoever may \
not stay hears `access:revoked` and is put out.

The owner of a metered stream hears of each viewer's connection, however many there are: `viewer:joined`, \
`viewer:paused` while that viewer's clock stands for want of the viewer, `viewer:resumed` and `viewer:left`; and \
`block:charged` names the payer. After `session:ready` everybody is told anew, and a client forgets what it knew. \
Media belongs to viewers who are not paused. Only so many of these events are sent each second; of changes that \
follow each other faster the last one is told. A user joins rooms, and opens or resumes sessions, only so often: more \
joins are `RATE_LIMITED`, more sessions closed with 4429.

A session outlives its connection. `session:open` with `resume` goes on with it: what was missed in the channels of \
`missed` follows as ordinary frames, in order and before any newer one. Of a channel in `lost` one is a member no \
longer, and joins again. A room that was restarted sends `room:joined` with its new epoch first.

Without a subprotocol in the handshake, messages are JSON. A command that cannot be obeyed, or is not known, is \
answered by `error`; a frame that cannot be decoded ends the connection. `x-close-codes` says after which ends a \
client should come back; it should also come back when a connection is lost without a close code. An address that \
opens too many connections is answered 429, with `Retry-After`, instead of a handshake. \
The port also answers `GET /healthz` with 200, and any other request that asks for no websocket with 426.\
"""

AUTHORIZATION = "`Bearer` and a token, instead of a first message."

BEARER: dict[str, Any] = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "In the handshake; or the same token in `session:open`, where headers cannot be set.",
}

FIRST_MESSAGE = "A larger first message, which is `session:open`, is refused with 1009."
REF = "Chosen by the client; the answer to a command carries the command's own."

FRAMES = {Encoding.JSON: "text", Encoding.MSGPACK: "binary"}

TAGS = {
    "command": "From a client to the server.",
    "answer": "To the connection that gave a command, with the command's `ref`.",
    "sequenced": "To all members of a room, the same bytes for each, numbered without holes.",
    "private": "To the sessions of one user alone, without a number.",
}

SENDS = {
    "answer": "What came of a command; `error` also answers a command that is not known.",
    "tell": "Private news, to one user's sessions.",
    "publish": "What happened in a room, to all its members in one order.",
}

LIMITS = {
    "max_frame_bytes": "A larger frame of a client is refused with 1009.",
    "handshake_seconds": "From the connection to the end of the handshake.",
    "open_seconds": "From the handshake to `session:open`; then 4408.",
    "heartbeat_seconds": "Between two websocket pings of the server.",
    "party_heartbeat_seconds": "The same, in a call's room.",
    "presence_seconds": "A party that is not heard of for so long is absent.",
    "ping_timeout_seconds": "A connection that is not heard of for so long is closed with 4002.",
    "session_seconds": "How long a session waits for its connection to come back.",
    "close_seconds": "How long a peer may take to hang up before the connection is cut.",
    "outbox_bytes": "What may wait for a client that does not read; past it 4001.",
    "sessions_per_user": "With a connection; one more is refused with 4429.",
    "rooms_per_session": "One more is refused with `OVERLOADED`.",
    "messages_per_second": "On average; more are refused with `RATE_LIMITED`, and who goes on is closed with 4429.",
    "messages_burst": "At once.",
}

ROOM_LIMITS = {
    "presence_limit": "Members of a stream who are told of by name; more are counted, at most once a second.",
    "recent_events": "Tips and lines of chat in the `history` of who joins.",
    "chat_per_second": "Lines of chat in one room, on average; more are refused with `RATE_LIMITED`.",
    "chat_burst": "Lines of chat at once.",
    "user_chat_per_second": "Of one user, on average.",
    "user_chat_burst": "Of one user, at once.",
    "signal_bytes_per_second": "Of signals that one user sends, or receives, in one room, on average.",
    "signal_bytes_burst": "The same, at once.",
    "signals_per_second": "Signals that one user sends, or receives, in one room, on average.",
    "signals_burst": "The same, at once.",
    "creator_signal_share": "So many times as much for the room's creator.",
    "overlays": "In one room; one more is refused with `OVERLOADED`.",
}

TEXT = "Of a line of chat, or of a tip's message."
SIGNAL = "Of a signal's `data`, written as JSON."
