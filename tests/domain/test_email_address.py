"""Addresses of e-mail that are stored, and texts that are none."""

import pytest

from domain.email_address import MAX_EMAIL, clean_email

LONGEST = "a" * (MAX_EMAIL - 4) + "@b.c"


@pytest.mark.parametrize(
    "address", ["a@b", "Anna.B+tag@example.com", '"a@b"@example.com', "\u00e9mile@exemple.fr", LONGEST]
)
def test_an_address_is_kept_unchanged(address: str) -> None:
    assert clean_email(address) == address


def test_space_around_an_address_is_removed() -> None:
    assert clean_email(" anna@example.com\n") == "anna@example.com"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "anna",
        "@",
        "a@",
        "@b",
        "a b@c.de",
        "a@b c",
        "a\n@b.c",
        "a@b\x00.c",
        "a\u202e@b.c",
        "a\u200b@b.c",
        f"a{LONGEST}",
    ],
)
def test_another_text_is_none(text: str) -> None:
    assert clean_email(text) == ""
