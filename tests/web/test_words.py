"""The texts of the elements: German has those of English, with the same gaps."""

import re
from pathlib import Path

import pytest

from server.web.assets import HERE

CATALOGUES = ("app", "app/studio", "app/operator", "elements/base")
ENTRY = re.compile(r'^  "?([\w.]+)"?:\s*\n?\s*"((?:[^"\\]|\\.)*)",$', re.MULTILINE)


def texts(file: Path) -> dict[str, str]:
    return dict(ENTRY.findall(file.read_text()))


def gaps(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


@pytest.mark.parametrize("name", CATALOGUES)
def test_both_languages_have_the_same_texts_with_the_same_gaps(name: str) -> None:
    english, german = texts(HERE / name / "english.js"), texts(HERE / name / "german.js")
    assert len(english) > 3
    assert {name: gaps(text) for name, text in english.items()} == {name: gaps(text) for name, text in german.items()}


def test_each_text_that_an_element_names_is_there_and_each_text_is_named() -> None:
    named = set()
    for file in HERE.rglob("*.js"):
        if "vendor" not in file.parts:
            named |= set(re.findall(r"""\bt\(\s*["']([\w.]+)["']""", file.read_text()))
    assert named <= {each for name in CATALOGUES for each in texts(HERE / name / "english.js")}
