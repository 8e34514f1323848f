"""The REST functions and types of the SDK are those of the served documents."""

import shutil
from pathlib import Path

import pytest

from server.web import rest_functions
from server.web.typescript import comment, type_of


def test_the_sdk_has_the_functions_and_types_of_the_documents() -> None:
    assert list(rest_functions.stale()) == [], "run python -m server.web.rest_functions"


def test_check_names_a_file_that_differs_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("rest.js", "rest.d.ts"):
        shutil.copy(rest_functions.SDK / name, tmp_path)
    monkeypatch.setattr(rest_functions, "SDK", tmp_path)
    table = tmp_path / "rest.js"
    table.write_text(table.read_text().replace("GET /me\n", ""))
    assert rest_functions.main(["--check"]) == 1
    assert "rest.js" in capsys.readouterr().err
    assert "GET /me\n" not in table.read_text()
    assert rest_functions.main([]) == 0
    assert table.read_text() == (Path(rest_functions.__file__).parent / "sdk" / "rest.js").read_text()
    assert rest_functions.main(["--check"]) == 0


def test_the_table_marks_operations_with_keys_and_without_tokens() -> None:
    lines = (rest_functions.SDK / "rest.js").read_text().splitlines()
    assert {"POST! /tips/send", "GET- /config", "PUT /creators/me", "GET /billing/{callId}"} <= set(lines)
    left_out = ("/calls/initiate", "/payments/webhook", "/billing/meter", "/docs", "/openapi.json")
    assert not [line for line in lines if line.endswith(left_out)]


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({"$ref": "#/components/schemas/Me"}, "Me"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "number | null"),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}]}, "number"),
        ({"type": "string", "const": "tip:new"}, '"tip:new"'),
        ({"type": "string", "enum": ["up", "exact"]}, '"up" | "exact"'),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, 'Array<"a" | "b">'),
        ({"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]}, "{ a: unknown; b?: unknown }"),
        ({"type": "object"}, "Record<string, unknown>"),
        ({"type": "boolean"}, "boolean"),
        ({}, "unknown"),
    ],
)
def test_a_schema_is_written_as_a_type(schema: dict[str, object], written: str) -> None:
    assert type_of(schema) == written


def test_a_comment_is_the_first_paragraph_in_one_line() -> None:
    assert comment("One\n    line.\n\nAnother paragraph.") == "/** One line. */ "
    assert comment("") == ""
