"""Makes ids: UUIDv7, which sort by the time they were made, and channels, which cannot be guessed."""

import re
import secrets
from uuid import UUID

import uuid_utils

CHANNEL_CHARACTERS = 22  # of 64: 132 bits
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_CHANNEL = re.compile(r"[A-Za-z0-9_-]{21,64}")


def new_uuid() -> UUID:
    return UUID(bytes=uuid_utils.uuid7().bytes)


def is_channel(text: str) -> bool:
    """Whether a text may be a channel at all; what cannot be is not looked up."""
    return _CHANNEL.fullmatch(text) is not None


def new_channel() -> str:
    """A nanoid."""
    return "".join(_ALPHABET[byte & 63] for byte in secrets.token_bytes(CHANNEL_CHARACTERS))
