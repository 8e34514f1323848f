"""The descriptions in the AsyncAPI document: introduction, channel, limits and tags."""

from typing import Any

from server.broadcast.codec import Encoding

INTRODUCTION = """\
The websocket of a server for paid calls and streams: in a call both parties receive an event for each block \
that is charged; in a metered stream each viewer has a meter of their own, and receives events of their own blocks.

The document describes the server's side: `receive` is what clients send, `send` is what they get.

One JSON object or MessagePack map is one frame, and `type` says which message it is. Fields that are not known are \
ignored, on both sides. Times are RFC 3339 in UTC with milliseconds, token amounts are whole integers, ids are UUIDs.

**Sequenced** events go to all members of a room and carry `channel`, `seq` and `at`; `seq` counts 1, 2, 3 … without \
holes, for each channel and epoch. **Private** events go to the sessions of one user, have no `seq` and are in no \
history. Events about money are sent after the commit, never before.\
"""

SERVER = "The address of the websocket, which `GET /api/config` returns as `websocketUrl`."
HOST = "The host that this document came from."

CHANNEL = """\
The first message is `session:open`, unless the handshake carried `Authorization`; a token in the address is refused. \
The answer is `session:ready`.

`room:join` makes a session a member of the room of a call or of a live stream; its answer contains the recent chat \
and tips. Only members send tips, chat and signals. A signal passes between the room's creator and one other \
connection; it counts against a budget of both (`RATE_LIMITED`, with `retryAfterSeconds`), and is refused as \
`NOT_PRESENT` to or from a member that is silent, or whose meter is paused in a metered stream. Beyond `presenceLimit` \
the members of a stream are counted instead of listed. With `as: "overlay"` a creator's overlay joins instead: it \
receives only `tip:new` and the end of the room, with sequence numbers of its own, and the tips after `sinceTipId` as \
`history`. A session that loses its access receives `access:revoked` and is removed from the room.

The owner of a metered stream receives events about each viewer's connection, without a limit on their number: \
`viewer:joined`, `viewer:paused` while that viewer's meter is paused because the viewer is absent, `viewer:resumed` \
and `viewer:left`; and `block:charged` names the payer. After `session:ready` all viewers are sent again, and the \
client drops its earlier list. Media should reach only viewers who are not paused. The rate of these events is \
limited; of changes that follow each other faster, only the last one is sent. Joins of rooms, and opened or \
resumed sessions, are limited for each user: further joins are `RATE_LIMITED`, further sessions are closed with 4429.

A session outlives its connection. `session:open` with `resume` continues it: the missed events of the channels in \
`missed` follow as ordinary frames, in order and before any newer one. In a channel of `lost` the session is no longer \
a member, and the client joins again. A room that was restarted first sends `room:joined` with its new epoch.

Without a subprotocol in the handshake, messages are JSON. A command that is refused, or is not known, is \
answered by `error`; a frame that cannot be decoded ends the connection. `x-close-codes` says after which codes a \
client should reconnect; it should also reconnect when a connection is lost without a close code. An address that \
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
REF = "Chosen by the client; the answer to a command repeats the `ref` of the command."

FRAMES = {Encoding.JSON: "text", Encoding.MSGPACK: "binary"}

TAGS = {
    "command": "From a client to the server.",
    "answer": "To the connection that sent a command, with the command's `ref`; `error` answers unknown commands, too.",
    "sequenced": "To all members of a room, the same bytes for each, numbered without holes.",
    "private": "To the sessions of one user alone, without a number.",
}

LIMITS = {
    "max_frame_bytes": "A larger frame of a client is refused with 1009.",
    "handshake_seconds": "From the connection to the end of the handshake.",
    "open_seconds": "From the handshake to `session:open`; then 4408.",
    "heartbeat_seconds": "Between two websocket pings of the server.",
    "party_heartbeat_seconds": "The same, in a call's room.",
    "presence_seconds": "A party that sends nothing for so long, not even a pong, is absent.",
    "ping_timeout_seconds": "A client that sends nothing for so long, not even a pong, is closed with 4002.",
    "session_seconds": "How long a session without a connection can be resumed.",
    "close_seconds": "How long a peer may take to hang up before the connection is cut.",
    "outbox_bytes": "Bytes that may wait for a client that does not read; past it 4001.",
    "sessions_per_user": "With a connection; one more is refused with 4429.",
    "rooms_per_session": "One more is refused with `OVERLOADED`.",
    "messages_per_second": "On average; more are refused with `RATE_LIMITED`, later closed with 4429.",
    "messages_burst": "At once.",
}

ROOM_LIMITS = {
    "presence_limit": "Members of a stream who are listed by name; more are counted, at most once a second.",
    "recent_events": "Tips and chat messages in the `history` of a session that joins.",
    "chat_per_second": "Chat messages in one room, on average; more are refused with `RATE_LIMITED`.",
    "chat_burst": "Chat messages at once.",
    "user_chat_per_second": "Chat messages of one user, on average.",
    "user_chat_burst": "Chat messages of one user, at once.",
    "signal_bytes_per_second": "Of signals that one user sends, or receives, in one room, on average.",
    "signal_bytes_burst": "The same, at once.",
    "signals_per_second": "Signals that one user sends, or receives, in one room, on average.",
    "signals_burst": "The same, at once.",
    "creator_signal_share": "The factor by which the limits on signals are higher for the room's creator.",
    "overlays": "In one room; one more is refused with `OVERLOADED`.",
}

TEXT = "Of a chat message, or of a tip's message."
SIGNAL = "Of a signal's `data`, written as JSON."
