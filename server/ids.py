"""Makes ids: UUIDv7, which sort by creation time, and channel names, which cannot be guessed."""

import re
import secrets
from uuid import UUID

import uuid_utils

CHANNEL_CHARACTERS = 22  # from an alphabet of 64: 132 bits
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_CHANNEL = re.compile(r"[A-Za-z0-9_-]{21,64}")


def new_uuid() -> UUID:
    """A UUIDv7 of the present millisecond."""
    return UUID(bytes=uuid_utils.uuid7().bytes)


def is_channel(text: str) -> bool:
    """Whether a text has the form of a channel name; other texts need no lookup in the database."""
    return _CHANNEL.fullmatch(text) is not None


def new_channel() -> str:
    """A random channel name of 132 bits, in the alphabet of nanoid."""
    return "".join(_ALPHABET[byte & 63] for byte in secrets.token_bytes(CHANNEL_CHARACTERS))
