"""What no log line may say: secrets, tokens, where the database is, and what people wrote or are called."""

import re
from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from server.config import Secrets

REDACTED = "[redacted]"

_PRIVATE_NAME = re.compile(
    r"token|secret|password|authorization|cookie|api_?key|signature|dsn|database_url|e_?mail|display_?name|memo"
    r"|^(text|message|body|query|title)$",
    re.IGNORECASE,
)
_PRIVATE_TEXT = re.compile(
    r"(?P<jwt>\beyJ[\w-]*\.[\w-]+(\.[\w-]*)?)"
    r"|(?<=\bBearer )\S+"
    r"|\bpostgres(ql)?://[^\s'\"]+"
    # What asyncpg and Postgres say of a value that does not fit, they say with the value.
    r"|(?<=invalid input for query argument )\$\d+.*"
    r"|(?<=DETAIL:  ).*",
    re.IGNORECASE,
)
# Apart, and looked for only where there is an @: it reads each word again from each of its letters.
_E_MAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")


class Redaction:
    """A processor of structlog's; `words` are secrets that are known, and go wherever they stand."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        longest_first = sorted({word for word in words if word}, key=len, reverse=True)
        self._words = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def __call__(self, _logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in event.items():
            event[name] = self._of_field(name, value)
        return event

    def _of_field(self, name: str, value: Any) -> Any:
        if isinstance(value, bool | int | float | None):
            return value
        return REDACTED if _PRIVATE_NAME.search(name) else self._of_value(value)

    def _of_value(self, value: Any) -> Any:
        if isinstance(value, bool | int | float | None):
            return value
        if isinstance(value, dict):
            return {str(name): self._of_field(str(name), inner) for name, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._of_value(inner) for inner in value]
        text = value if isinstance(value, str) else repr(value)
        clear = _PRIVATE_TEXT.sub(REDACTED, self._words.sub(REDACTED, text))
        return _E_MAIL.sub(REDACTED, clear) if "@" in clear else clear


def secret_words(secrets: Secrets) -> list[str]:
    """Each secret as it stands, and the password in the database's address as it is written and as it is meant."""
    password = urlsplit(secrets.database_url or "").password or ""
    found = (*msgspec.structs.astuple(secrets), password, unquote(password))
    return [word for word in found if word]
