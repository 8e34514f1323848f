"""Reads e-mail addresses from claims that an identity provider has verified."""

from domain.text import clean_name

MAX_EMAIL = 254  # characters; RFC 5321 §4.5.3.1.3 allows a path of 256 with its angle brackets


def clean_email(claim: str) -> str:
    """Return an address as it is stored, or "" for a text that is none.

    Whether an address exists is known to the identity provider alone. Only its shape is checked: a part before and a
    part after the last `@`, no space, and every character visible.
    """
    address = claim.strip() if len(claim) <= MAX_EMAIL else ""
    mailbox, _, host = address.rpartition("@")
    if not mailbox or not host or " " in address or clean_name(address) != address:
        return ""
    return address
