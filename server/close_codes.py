"""The websocket close codes: their meaning, and whether the client reconnects (contract.md, Close codes).

The codes from 4000 on are private use by RFC 6455 §7.4.2. Clients may decide by the range: 4000 to 4099 ask them to
reconnect, 4400 to 4499 ask them not to.
"""

from enum import IntEnum

KEPT_BELOW = 4400  # a code from here on ends the session, whether this server knows it or not


class CloseCode(IntEnum):
    """A code that this server sends in a Close frame, or documents as the end of a connection.

    `label` is its name in the AsyncAPI document, `reconnect` says whether the client opens a new connection, and
    `cause` is one sentence about why the connection was closed. The session is kept exactly if `reconnect` is true,
    apart from REPLACED, after which it continues on the newer connection.
    """

    label: str
    reconnect: bool
    cause: str

    def __new__(cls, number: int, label: str, reconnect: bool, cause: str) -> "CloseCode":
        code = int.__new__(cls, number)
        code._value_ = number
        code.label = label
        code.reconnect = reconnect
        code.cause = cause
        return code

    # RFC 6455 §7.4.1
    NORMAL = 1000, "normal", False, "The client closed the connection, which ends its session."
    PROTOCOL_ERROR = 1002, "protocol_error", False, "A frame violates the websocket protocol (RFC 6455)."
    INVALID_TEXT = 1007, "invalid_text", False, "A text frame is not UTF-8."
    TOO_LARGE = (
        *(1009, "too_large", False),
        "A message is larger than `maxFrameBytes`, or is sent in too many small fragments.",
    )
    # The session is kept for `session_seconds`, and can be resumed.
    DRAINING = 4000, "draining", True, "The server stops; calls continue once both parties have reconnected."
    SLOW_CONSUMER = 4001, "slow_consumer", True, "The client did not read the frames that were sent to it."
    PING_TIMEOUT = 4002, "ping_timeout", True, "Nothing was received from the client for too long."
    STORAGE_AWAY = 4003, "storage_away", True, "The database cannot be reached."
    # The session ends; after REPLACED it continues on the other connection.
    UNDECODABLE = (
        *(4400, "undecodable", False),
        "A message is neither JSON nor MessagePack, or came in the wrong kind of frame.",
    )
    UNAUTHENTICATED = 4401, "unauthenticated", False, "The token is missing, invalid, expired or revoked."
    BANNED = 4403, "forbidden", False, "The user is banned."
    OPEN_TIMEOUT = 4408, "open_timeout", False, "The client did not send `session:open` in time."
    REPLACED = 4409, "replaced", False, "The session was resumed on another connection."
    TOO_MANY = (
        *(4429, "rate_limited", False),
        "The client sent too many messages or control frames, or the user opened too many sessions.",
    )


class CloseConnection(Exception):
    """Raised to close the connection with this code and reason, which the client receives.

    Raised by the protocol of a connection and caught in that connection's task. The reason is cut at 123 bytes.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def ends_session(code: int | None) -> bool:
    """Whether a connection that closed with this code ends its session; otherwise the session waits to be resumed.

    The code may come from the client, so it may be any number; None means that no Close frame arrived. A mobile client
    that changes its network sends none, and a page that is left sends 1001: both keep the session for a resume.
    """
    return code is not None and (code >= KEPT_BELOW or code in _FINAL)


_FINAL = frozenset(code for code in CloseCode if not code.reconnect)
