"""Cleans text that users write before it is stored: names, titles, reasons and chat messages.

Every script is kept. Removed are characters that control a display instead of being shown: control characters,
bidirectional embeddings, overrides and isolates (UAX #9), and characters without an image (UTS #39).
Joiners and variation selectors are kept where they shape visible text: in emoji sequences and between letters.
"""

import unicodedata

MAX_NAME = 80  # characters of a display name
ZWNJ, ZWJ = 0x200C, 0x200D
CANCEL_TAG = 0xE007F
BLACK_FLAG = 0x1F3F4  # the only emoji that tag characters may follow (UTS #51, ED-14a)
MAX_MARKS = 4  # combining marks on one character; UTS #39 §5.4 names four as what no language exceeds
MARKS = ("Mn", "Me")
MAX_TAGS = 32  # in one flag (UTS #51, ED-14a)
VISIBLE = "LNPS"  # the major Unicode categories of visible characters …
BLANK = (0x2800, 0x1D159)  # … except Braille's empty pattern and music's empty notehead

_SPACES = {0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029}  # tabs and line ends: each becomes a space
# Unicode's Default_Ignorable_Code_Point and other characters without an image. Those that depend on their neighbours
# are handled below. Hangul fillers are letters by category and draw nothing.
_INVISIBLE = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # inherent vowels of Khmer
    (0x180B, 0x180F),  # Mongolian selectors
    (0x200B, 0x200B),  # zero width space
    (0x202A, 0x202E),  # bidirectional embeddings and overrides
    (0x2060, 0x206F),  # word joiner, invisible operators, bidirectional isolates, deprecated controls
    (0x3164, 0x3164),  # Hangul filler
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFA0, 0xFFA0),  # halfwidth Hangul filler
    (0xFFF0, 0xFFFB),  # unassigned, and marks of interlinear annotation
    (0x13430, 0x1343F),  # controls of hieroglyphs
    (0x1BCA0, 0x1BCA3),  # controls of shorthand
    (0x1D173, 0x1D17A),  # controls of music
    (0xE0000, 0xE0FFF),  # tags, variation selectors, and what is reserved for more of them
)
_BIDI_MARKS = {0x061C, 0x200E, 0x200F}  # harmless in messages; in names they would make two equal-looking names differ


def clean(text: str) -> str:
    """Return a message as it is stored; empty if it has no visible character."""
    return _clean(text, in_name=False)


def clean_name(text: str) -> str:
    """Return a name or title as it is stored; empty if it has no visible character.

    Stricter than `clean`: direction marks are removed, so that names that look the same are the same.
    """
    return _clean(text, in_name=True)


def _clean(text: str, *, in_name: bool) -> str:
    if text.isascii() and text.isprintable():
        return text.strip()
    kept: list[str] = []
    for i, char in enumerate(text):
        code = ord(char)
        if code in _SPACES:
            kept.append(" ")
        elif code in (ZWNJ, ZWJ):
            if _joins(kept, text[i + 1 : i + 2]):
                kept.append(char)
        elif code in _BIDI_MARKS:
            if not in_name:
                kept.append(char)
        elif 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
            if kept and _is_visible(kept[-1]):
                kept.append(char)
        elif 0xE0020 <= code <= CANCEL_TAG:
            if _in_flag(kept, text, i):
                kept.append(char)
        elif not _is_dropped(char, code) and not _piles_up(kept, char):
            kept.append(char)
    found = "".join(kept).strip()
    return found if any(map(_is_visible, found)) else ""


def _is_dropped(char: str, code: int) -> bool:
    """Return whether a character is always removed: controls, surrogates, invisible characters and non-characters."""
    if unicodedata.category(char) in ("Cc", "Cs"):
        return True
    return (
        any(first <= code <= last for first, last in _INVISIBLE) or code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    )


def _is_visible(char: str) -> bool:
    """Return whether something is drawn for the character, whatever its neighbours are."""
    category = unicodedata.category(char)
    if category == "Cn" or category == "Co":  # characters of a later Unicode than ours, and private ones
        return not _is_dropped(char, ord(char))
    return category[0] in VISIBLE and ord(char) not in BLANK and not _is_dropped(char, ord(char))


def _joins(kept: list[str], following: str) -> bool:
    """Return whether a joiner is kept: it follows a visible character or its marks, and precedes a visible one."""
    if not kept or not following or not _is_visible(following):
        return False
    return _is_visible(kept[-1]) or unicodedata.category(kept[-1]) in ("Mn", "Mc")


def _in_flag(kept: list[str], text: str, at: int) -> bool:
    """Return whether a tag character belongs to a regional flag.

    It does if it follows the flag or a tag of it, and a cancel tag comes later.
    """
    before = ord(kept[-1]) if kept else 0
    if not 0xE0020 <= before < CANCEL_TAG and (before != BLACK_FLAG or ord(text[at]) == CANCEL_TAG):
        return False
    end = min(len(text), at + MAX_TAGS)
    while at < end and 0xE0020 <= ord(text[at]) < CANCEL_TAG:
        at += 1
    return at < end and ord(text[at]) == CANCEL_TAG


def _piles_up(kept: list[str], char: str) -> bool:
    """Return whether this combining mark would be one more than a character may have."""
    if unicodedata.category(char) not in MARKS or len(kept) < MAX_MARKS:
        return False
    return all(unicodedata.category(mark) in MARKS for mark in kept[-MAX_MARKS:])
