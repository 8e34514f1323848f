"""Makes ids: UUIDv7, which sort by creation time, and channel names, which cannot be guessed."""

import re
import secrets
from uuid import UUID

import uuid_utils

CHANNEL_CHARACTERS = 22  # from an alphabet of 64: 132 bits
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_CHANNEL = re.compile(r"[A-Za-z0-9_-]{21,64}")


def new_uuid() -> UUID:
    """A UUIDv7 (RFC 9562) of the present millisecond. Later ids sort after earlier ones, which keeps indexes compact.

    Its time makes it guessable in part, so it must not serve as a secret; channels are random for this reason.
    """
    return UUID(bytes=uuid_utils.uuid7().bytes)


def is_channel(text: str) -> bool:
    """Whether a text has the form of a channel name, 21 to 64 characters; other texts need no lookup in the database.

    The bounds are those of the database's check constraint; `new_channel` makes names of 22 characters.
    """
    return _CHANNEL.fullmatch(text) is not None


def new_channel() -> str:
    """A random channel name of 132 bits, in the alphabet of nanoid."""
    return "".join(_ALPHABET[byte & 63] for byte in secrets.token_bytes(CHANNEL_CHARACTERS))
