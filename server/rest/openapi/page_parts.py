"""The parts that the pages are made of, as HTML: a page, prose, tables and sections."""

import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

import msgspec

STYLE = (files("server.rest.openapi") / "docs.css").read_text()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def opening(title: str, module: str | None = None) -> str:
    """Return the start of a page, up to its first heading. `title` is text, `module` the path of a script."""
    script = "" if module is None else f'<script type="module" src="{module}"></script>'
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style>{script}</head><body><header><h1>{escape(title)}</h1>"
    )


def folded(anchor: str, head: str, *parts: str) -> str:
    """Return a section that the reader opens by its heading; arguments but `anchor` are HTML."""
    return f'<details id="{escape(anchor)}"><summary>{head}</summary><div>{"".join(parts)}</div></details>'


def table(heading: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of two columns of HTML; empty text without rows."""
    lines = "".join(f"<tr><th>{name}</th><td>{meaning}</td></tr>" for name, meaning in rows)
    if not lines:
        return ""
    return (f"<h3>{heading}</h3>" if heading else "") + f'<div class="wide" tabindex="0"><table>{lines}</table></div>'


def code(text: str) -> str:
    """Return preformatted text."""
    return f'<pre tabindex="0">{escape(text, quote=False)}</pre>'


def example(value: Any) -> str:
    """Return a value as indented JSON."""
    return code(msgspec.json.format(msgspec.json.encode(value)).decode())


def prose(text: str) -> str:
    """Return the paragraphs of a text, which are separated by empty lines."""
    return "".join(f"<p>{words(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph)


def words(text: str) -> str:
    """Convert the markup of our texts (`code`, **strong**, links within the server) to HTML, and escape the rest."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    marked = re.sub(r"\[([^\]]+)\]\((/[\w/.-]*)\)", r'<a href="\2">\1</a>', marked)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", marked)
