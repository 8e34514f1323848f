"""The websocket close codes: their meaning, and whether the client reconnects (contract.md, Close codes)."""

from enum import IntEnum

KEPT_BELOW = 4400  # a code from here on ends the session, known or not


class CloseCode(IntEnum):
    """A code that this server sends in a Close frame, or documents as the end of a connection.

    `label` is its name in the AsyncAPI document, `reconnect` says whether the client opens a new connection, and
    `cause` is one sentence about why the connection was closed.
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
    NORMAL = 1000, "normal", False, "The client said goodbye; its session ends."
    PROTOCOL_ERROR = 1002, "protocol_error", False, "Not websocket as RFC 6455 has it."
    INVALID_TEXT = 1007, "invalid_text", False, "A text frame that is not UTF-8."
    TOO_LARGE = 1009, "too_large", False, "A message past `maxFrameBytes`, or in fragments of next to nothing."
    # The session is kept for `session_seconds`, and can be resumed.
    DRAINING = 4000, "draining", True, "The server stops; calls go on when both parties are back."
    SLOW_CONSUMER = 4001, "slow_consumer", True, "The client did not read what was sent."
    PING_TIMEOUT = 4002, "ping_timeout", True, "The client was not heard of."
    STORAGE_AWAY = 4003, "storage_away", True, "The database is out of reach."
    # The session ends; after REPLACED it goes on in the other connection.
    UNDECODABLE = (
        *(4400, "undecodable", False),
        "A message that is no JSON, or no MessagePack, or in the wrong kind of frame.",
    )
    UNAUTHENTICATED = 4401, "unauthenticated", False, "No token, a bad one, or one that has expired."
    BANNED = 4403, "forbidden", False, "The user may not be here."
    OPEN_TIMEOUT = 4408, "open_timeout", False, "No `session:open` in time."
    REPLACED = 4409, "replaced", False, "The same session was opened on another connection."
    TOO_MANY = (
        *(4429, "rate_limited", False),
        "Too many messages or control frames, or too many sessions of this user.",
    )


class CloseConnection(Exception):
    """Raised to close the connection with this code and reason, which the client receives."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def ends_session(code: int | None) -> bool:
    """Whether a connection that closed with this code ends its session; otherwise the session waits to be resumed.

    The code may come from the client, so it may be any number; None means that no Close frame arrived.
    """
    return code is not None and (code >= KEPT_BELOW or code in _FINAL)


_FINAL = frozenset(code for code in CloseCode if not code.reconnect)
