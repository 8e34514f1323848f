"""The rules that both signed webhooks share: the billing webhook and that of the payment provider."""

SIGNATURE_SECONDS = 300  # largest difference between a signature's timestamp and this server's clock
MAX_SIGNATURES = 8  # compared for one request: enough for any rotation of keys


def is_recent(timestamp: str, now: float) -> bool:
    """Return whether a timestamp in decimal unix seconds lies within SIGNATURE_SECONDS of `now` (unix seconds).

    The signature covers the timestamp, so a recorded request cannot be replayed later.

    Returns False for text that is not a plain decimal number of at most 12 digits.
    """
    is_number = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12
    return is_number and abs(now - int(timestamp)) <= SIGNATURE_SECONDS
