"""What no log line may say: secrets, tokens, where the database is, and what people wrote or are called."""

import re
from collections.abc import Iterable, MutableMapping
from itertools import islice
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from server.config.secrets import Secrets

REDACTED = "[redacted]"
CUT = " [cut] "
MAX_READ_CHARACTERS = 16_384  # of one value: what its redaction may cost the event loop, about 2 ms
MAX_SHOWN_CHARACTERS = 6_000  # of one value; an exception's first lines and its last are what explains it
MAX_ITEMS = 50  # of one list or map
MAX_DEPTH = 6

_PRIVATE_NAME = re.compile(
    r"token|secret|password|authorization|cookie|api_?key|signature|dsn|database_url|e_?mail|display_?name|memo"
    r"|^(text|message|body|query|title)$",
    re.IGNORECASE,
)
_PRIVATE_TEXT = re.compile(
    # Possessive, and also without a dot: a long run of these letters is read once, and not again from each "eyJ" in it.
    r"(?P<jwt>\beyJ[\w-]*+(\.[\w-]++(\.[\w-]*+)?)?)"
    r"|(?<=\bBearer )\S+"
    r"|\bpostgres(ql)?://[^\s'\"]+"
    # What asyncpg and Postgres say of a value that does not fit, they say with the value.
    r"|(?<=invalid input for query argument )\$\d+.*"
    r"|(?<=DETAIL:  ).*",
    re.IGNORECASE,
)
# Looked for only where there is an @, and only from the beginning of a word: a long word is read once.
_E_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(\.[\w-]+)+")


class Redaction:
    """A processor of structlog's; `words` are secrets that are known, and go wherever they stand."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        longest_first = sorted({word for word in words if word}, key=len, reverse=True)
        self._words = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def __call__(self, _logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in event.items():
            event[name] = self._of_field(name, value)
        return event

    def _of_field(self, name: str, value: Any, depth: int = 0) -> Any:
        if isinstance(value, bool | int | float | None):
            return value
        return REDACTED if _PRIVATE_NAME.search(name) else self._of_value(value, depth)

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
        return self._of_text(value if isinstance(value, str) else _shown(value))

    def _of_text(self, text: str) -> str:
        text = shortened(text, MAX_READ_CHARACTERS)
        clear = _PRIVATE_TEXT.sub(REDACTED, self._words.sub(REDACTED, text))
        if "@" in clear:
            clear = _E_MAIL.sub(REDACTED, clear)
        return shortened(clear, MAX_SHOWN_CHARACTERS)


def shortened(text: str, limit: int) -> str:
    """The first third and the last two of a text that is longer than so many characters."""
    if len(text) <= limit:
        return text
    first = limit // 3
    return f"{text[:first]}{CUT}{text[first - limit :]}"


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # reason: a log line tells of a value even if that value cannot describe itself
        return f"{type(value).__name__} without a description: {type(error).__name__}"


def secret_words(secrets: Secrets) -> list[str]:
    """Each secret as it stands, and the password in the database's address as it is written and as it is meant."""
    password = urlsplit(secrets.database_url or "").password or ""
    found = (*msgspec.structs.astuple(secrets), password, unquote(password))
    return [word for word in found if word]
