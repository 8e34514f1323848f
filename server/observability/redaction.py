"""Redacts log events: secrets, tokens, the database address, and texts and names of users.

Fields are redacted by their name, and texts by patterns and by the secrets that this server knows. Its cost is bounded,
because exceptions may quote what a client has sent.
"""

import re
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from server.config.secrets import Secrets

REDACTED = "[redacted]"
CUT = " [cut] "
MAX_READ_CHARACTERS = 16_384  # of one value: bounds the cost of its redaction to about 2 ms
MAX_SHOWN_CHARACTERS = 6_000  # of one value; the first and last lines of a traceback explain it
MAX_ITEMS = 50  # of one list or map
MAX_DEPTH = 6
# Short texts and names whose redaction is remembered, since most of them are those of the event before.
REMEMBERED = 1_024
MAX_REMEMBERED_CHARACTERS = 128

_PRIVATE_NAME = re.compile(
    r"token|secret|password|authorization|cookie|api_?key|signature|dsn|database_url|e_?mail|display_?name|memo"
    r"|^(text|message|body|query|title)$",
    re.IGNORECASE,
)
_PRIVATE_TEXT = re.compile(
    # Possessive, and also without a dot: a long run of such letters is scanned once rather than from each "eyJ" in it.
    r"(?P<jwt>\beyJ[\w-]*+(\.[\w-]++(\.[\w-]*+)?)?)"
    r"|(?<=\bBearer )\S+"
    r"|\bpostgres(ql)?://[^\s'\"]+"
    # Errors of asyncpg and Postgres about an invalid value contain the value.
    r"|(?<=invalid input for query argument )\$\d+.*"
    r"|(?<=DETAIL:  ).*",
    re.IGNORECASE,
)
# Searched only in text with an @, and only from the start of a word, so that a long word is scanned once.
_E_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(\.[\w-]+)+")


class Unredacted(str):
    """A text that this server has made itself, such as an id. It holds nothing of a client and is not redacted."""

    __slots__ = ()


class Redaction:
    """A structlog processor; `words` are known secrets, which it redacts in every text.

    It changes the event in place. Lists, maps and nesting are cut at MAX_ITEMS and MAX_DEPTH, and texts at
    MAX_SHOWN_CHARACTERS. Values of other types are replaced by their redacted `repr`.
    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        longest_first = sorted({word for word in words if word}, key=len, reverse=True)
        self._words = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._of_short_text = lru_cache(REMEMBERED)(self._of_text)
        self._of_short_field = lru_cache(REMEMBERED)(self._of_field)

    def __call__(self, _logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in event.items():
            kind = type(value)
            if kind is Unredacted:
                event[name] = str(value)
            elif kind is str and len(value) <= MAX_REMEMBERED_CHARACTERS:
                event[name] = self._of_short_field(name, value)
            elif kind is not int and kind is not float:
                event[name] = self._of_field(name, value)
        return event

    def _of_field(self, name: str, value: Any, depth: int = 0) -> Any:
        if isinstance(value, bool | int | float | None):
            return value
        return REDACTED if _is_private(name) else self._of_value(value, depth)

    def _of_value(self, value: Any, depth: int) -> Any:
        if isinstance(value, bool | int | float | None):
            return value
        if depth >= MAX_DEPTH:
            return CUT
        if isinstance(value, dict):
            return {
                str(name): self._of_field(str(name), inner, depth + 1)
                for name, inner in islice(value.items(), MAX_ITEMS)
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self._of_value(inner, depth + 1) for inner in islice(value, MAX_ITEMS)]
        text = value if isinstance(value, str) else _shown(value)
        return self._of_short_text(text) if len(text) <= MAX_REMEMBERED_CHARACTERS else self._of_text(text)

    def _of_text(self, text: str) -> str:
        text = shortened(text, MAX_READ_CHARACTERS)
        clear = _PRIVATE_TEXT.sub(REDACTED, self._words.sub(REDACTED, text))
        if "@" in clear:
            clear = _E_MAIL.sub(REDACTED, clear)
        return shortened(clear, MAX_SHOWN_CHARACTERS)


@lru_cache(REMEMBERED)
def _is_private(name: str) -> bool:
    return _PRIVATE_NAME.search(name) is not None


def shortened(text: str, limit: int) -> str:
    """Cut a text to `limit` characters and the mark CUT between: keep the first third and the last two thirds of them.

    The end of a traceback, with the exception itself, says more than its beginning.
    """
    if len(text) <= limit:
        return text
    first = limit // 3
    return f"{text[:first]}{CUT}{text[first - limit :]}"


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # reason: a value without a working repr must not lose the log line
        return f"{type(value).__name__} without a description: {type(error).__name__}"


def secret_words(secrets: Secrets) -> list[str]:
    """Return the words to redact: each secret, and the password of the database address, encoded and decoded."""
    password = urlsplit(secrets.database_url or "").password or ""
    found = (*msgspec.structs.astuple(secrets), password, unquote(password))
    return [word for word in found if word]
