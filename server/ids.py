"""Makes ids: UUIDv7, which sort by the time they were made, and channels, which cannot be guessed."""

import secrets
from uuid import UUID

import uuid_utils

CHANNEL_CHARACTERS = 22  # of 64: 132 bits
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


def new_uuid() -> UUID:
    return UUID(bytes=uuid_utils.uuid7().bytes)


def new_channel() -> str:
    """A nanoid."""
    return "".join(_ALPHABET[byte & 63] for byte in secrets.token_bytes(CHANNEL_CHARACTERS))
