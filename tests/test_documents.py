"""The documents agree with each other and with the code: links, citations of the contract, close codes."""

import re
from pathlib import Path

import pytest

from server.close_codes import CloseCode
from tests.style import LAYERS
from tests.support.requirements import ROOT

CONTRACT = ROOT / "server" / "contract.md"
DOCUMENTS = (
    "README.md",
    "server/contract.md",
    "server/web/elements/README.md",
    "server/web/sdk/README.md",
    "tests/contract.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^## (?:\d+\. )?(.+)$", re.MULTILINE)
CITATION = re.compile(r"contract\.md, ([A-Z][\w ]*)")
CLOSE_CODE = re.compile(r"^\| ([\d, ]+) \| ([`\w, ]+) \| .* \| (yes|no)\b.* \|$", re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """The fragments of a Markdown document's headings, as hosting sites derive them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_link_leads_to_a_file_and_a_heading(name: str) -> None:
    document = ROOT / name
    for path, fragment in LINK.findall(document.read_text()):
        if not path.startswith("http"):
            target = document.parent / path if path else document
            assert target.exists(), path
            assert not fragment or fragment in anchors(target), fragment


def test_each_citation_of_the_contract_names_a_section() -> None:
    sections = HEADING.findall(CONTRACT.read_text())
    cited = [
        (path.name, found)
        for layer in (*LAYERS, "tests")
        for path in (ROOT / layer).rglob("*.py")
        for found in CITATION.findall(path.read_text())
    ]
    assert cited
    assert [(name, found) for name, found in cited if not any(found.startswith(each) for each in sections)] == []


def test_the_contract_lists_each_close_code_with_its_name_and_whether_to_reconnect() -> None:
    listed = {}
    for codes, labels, reconnect in CLOSE_CODE.findall(CONTRACT.read_text()):
        for code, label in zip(codes.split(","), labels.split(","), strict=True):
            listed[int(code)] = (label.strip(" `"), reconnect == "yes")
    assert listed == {int(code): (code.label, code.reconnect) for code in CloseCode}
