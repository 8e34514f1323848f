"""Cleaning of user text: every script is kept, and nothing that controls a display or is invisible."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.text import MAX_MARKS, clean, clean_name

KEPT = {
    "a family": "👨‍👩‍👧‍👦",
    "a kiss with skin tones": "👩🏽‍❤️‍💋‍👨🏿",
    "a flag of many parts": "🏳️‍🌈 🏴‍☠️ 🇩🇪",
    "a flag spelled in tags": "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "a keycap": "1️⃣ #️⃣",
    "text and emoji form": "❤︎ ❤️",
    "Persian with a non-joiner": "می‌خواهم",
    "Devanagari with a joiner": "क्‍ष र्‍य",
    "Arabic": "مرحبا بالعالم",
    "Hebrew with points": "שָׁלוֹם",
    "Thai": "ผู้ใหญ่ น้ำ",
    "Vietnamese, decomposed": unicodedata.normalize("NFD", "Nguyễn Tuệ"),
    "Korean": "안녕하세요",
    "Japanese with a variant": "葛\U000e0100城",
    "a later Unicode's letter": "a\U000323af",
    "mathematics": "∑ x² ≤ 5 €",
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_text_of_any_script_is_kept(text: str) -> None:
    assert clean(text) == clean_name(text) == text


@pytest.mark.parametrize(
    "invisible",
    [
        *("", " ", "\t\n", "\0", "\x7f\x9f", "\u00a0\u3000", "\u200b\u3164\u2060", "\u115f\u1160", "\uffa0", "\ufeff"),
        *("\u00ad", "\u034f", "\u061c", "\u200e\u200f", "\u200d", "\u200c\u200d", "\u202e\u202c", "\u2066\u2069"),
        *("\u180e", "\ufe0f", "\U000e0100", "\U000e0001\U000e0041\U000e007f", "\u2800", "\U0001d159", "\u0301\u0489"),
        *("\ufff9\ufffb", "\uffff", "\ufdd0", "\U000e0fff", "\u2065", "\U0001d173", "\ud800", "\u206a"),
    ],
    ids=lambda text: text.encode("unicode-escape").decode() if isinstance(text, str) else None,
)
def test_invisible_text_becomes_empty(invisible: str) -> None:
    assert (clean(invisible), clean_name(invisible)) == ("", "")
    assert clean_name(f"{invisible}{invisible}") == ""


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Anna\u202egpj.exe", "Annagpj.exe"),
        ("\u2067Anna\u2069 \u2066x", "Anna x"),
        ("\u202aa\u202bb\u202dc\u202c", "abc"),
        ("An\u200bna", "Anna"),
        ("An\u200dna\u200d", "An\u200dna"),
        ("Anna \u200d\u200d!", "Anna !"),
        ("two\nlines\r\nof\ttext", "two lines  of text"),
        ("one\u2028two\u2029", "one two"),
        ("a\0\x1b[31mb", "a[31mb"),
        ("x\ufe0f\ufe0fy", "x\ufe0fy"),
        ("\U0001f3f4\U000e0067\U000e0062!", "\U0001f3f4!"),
        ("Anna\U000e0041\U000e007f", "Anna"),
        ("Z" + "\u0301" * 50 + "algo", "Z" + "\u0301" * MAX_MARKS + "algo"),
        ("\ud800x", "x"),
    ],
)
def test_display_controls_are_removed(written: str, kept: str) -> None:
    assert clean(written) == clean_name(written) == kept


def test_direction_marks_are_kept_in_messages_and_not_in_names() -> None:
    assert clean("C++\u200e שלום") == "C++\u200e שלום"
    assert clean_name("An\u200ena") == "Anna"


STEERING = "\0\x1b\x9f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u2060\ufeff\u3164\u115f\u1160\uffa0"
words = st.text(
    st.sampled_from([*STEERING, *"ab \n\u200c\u200d\u200e\u0301\ufe0f\u2800👩🏽❤\U0001f3f4\U000e0067\U000e007f"])
)


@given(words | st.text())
def test_cleaned_text_is_clean_encodable_and_visible_or_empty(text: str) -> None:
    for cleaner in (clean, clean_name):
        kept = cleaner(text)
        assert cleaner(kept) == kept
        assert not set(kept) & set(STEERING)
        kept.encode()
        assert kept == "" or any(
            unicodedata.category(char)[0] in "LNPS" or unicodedata.category(char) in ("Cn", "Co") for char in kept
        )


def test_the_longest_text_is_cleaned_in_time() -> None:
    for text in ("\U0001f3f4" + "\U000e0067" * 999, "\u0301" * 1000, "\u200d" * 1000, "👩‍" * 500):
        clean(text)
