"""What people write, as it is kept: text is text, without characters that only steer a display."""

import unicodedata


def clean(text: str) -> str:
    """Without control characters, and without space around it."""
    return "".join(c for c in text if unicodedata.category(c) != "Cc").strip()
