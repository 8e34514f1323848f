"""Both API documents describe everything in them, their examples are valid, and their names suit generators."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from server.documents.describe import FIELDS, describe, schemas_of
from server.documents.enumerations import ENUMERATIONS
from server.rest.query import Listed
from storage.people.reports import Report
from tests.support import asyncapi, openapi
from tests.support.json_schema import Json, faults, resolve

TABLES = "server/documents/{common,money,room}_fields.py"


class Document(NamedTuple):
    """One of the two documents."""

    name: str
    content: Json

    @property
    def schemas(self) -> Json:
        schemas: Json = self.content["components"]["schemas"]
        return schemas

    def operations(self) -> Iterator[tuple[str, Json]]:
        """Each operation under a name that finds it."""
        yield from self.content.get("operations", {}).items()
        for path, methods in self.content.get("paths", {}).items():
            yield from ((f"{method.upper()} {path}", operation) for method, operation in methods.items())

    def examples(self) -> Iterator[tuple[str, Json, object]]:
        """Each example with its place and its schema."""
        for name, message in self.content["components"].get("messages", {}).items():
            yield from ((name, message["payload"], each["payload"]) for each in message["examples"])
        answers = self.content["components"].get("responses", {})
        for name, operation in self.operations():
            holders = [operation.get("requestBody", {}), *operation.get("responses", {}).values()]
            for holder in [*holders, *answers.values()]:
                for content in holder.get("content", {}).values():
                    if "example" in content:
                        yield name, content["schema"], content["example"]
        for name, schema in self.schemas.items():
            for field, inner in schema.get("properties", {}).items():
                yield from ((f"{name}.{field}", inner, each) for each in inner.get("examples", ()))


@pytest.fixture(params=["AsyncAPI", "OpenAPI"])
def document(request: pytest.FixtureRequest) -> Document:
    read = asyncapi.read_document if request.param == "AsyncAPI" else openapi.read_document
    return Document(request.param, read())


# Descriptions


def test_every_field_is_described(document: Document) -> None:
    missing = [
        f"{name}.{field}"
        for name, schema in document.schemas.items()
        for field, inner in schema.get("properties", {}).items()
        if not inner.get("description")
    ]
    assert missing == [], (
        f"no description: add an entry to {TABLES}, under the field's name, or under Struct.field where that name means"
        " something else elsewhere; or write Annotated[…, msgspec.Meta(description=…)] in the struct"
    )


def test_every_parameter_is_described(document: Document) -> None:
    missing = [
        f"{name}: {each['name']}"
        for name, operation in document.operations()
        for each in operation.get("parameters", ())
        if "$ref" not in each and not each.get("description")
    ]
    assert missing == [], f"no description: add an entry to {TABLES}, under the parameter's name or Query.name"


def test_every_schema_message_and_operation_is_described(document: Document) -> None:
    components = [*document.schemas.items(), *document.content["components"].get("messages", {}).items()]
    missing = [name for name, each in components if not (each.get("description") or each.get("summary"))]
    missing += [name for name, each in document.operations() if not (each.get("summary") and each.get("description"))]
    missing += [
        name for name, each in document.content["components"]["securitySchemes"].items() if not each["description"]
    ]
    assert missing == [], "no description: write a docstring for the struct, or for the handler"


def test_every_choice_of_values_is_an_enumeration_with_meanings(document: Document) -> None:
    """A choice that stands in a field itself has one value, or no entry in the table."""
    unnamed = [
        f"{name}.{field}: {values}"
        for name, schema in document.schemas.items()
        for field, inner in schema.get("properties", {}).items()
        if len(values := _values_in(inner)) > 1
    ]
    unnamed += [
        f"{name}: {each['name']}: {_values_in(each['schema'])}"
        for name, operation in document.operations()
        for each in operation.get("parameters", ())
        if "$ref" not in each and len(_values_in(each["schema"])) > 1
    ]
    assert unnamed == [], "no meanings: add the values to ENUMERATIONS in server/documents/enumerations.py"
    for name, schema in document.schemas.items():
        for value in schema.get("enum", ()):
            assert f"- `{value}`: {ENUMERATIONS[name].values[value]}" in schema["description"].splitlines()


def _values_in(schema: Json) -> list[str]:
    choices = [*schema.get("anyOf", [schema]), schema.get("items", {})]
    return [value for choice in choices for value in choice.get("enum", ())]


def test_no_text_field_hides_a_choice(document: Document) -> None:
    """These names mean a closed set of values wherever they occur."""
    closed = {"status", "kind", "side", "cause", "holds", "role", "endReason", "refundOf", "error"}
    open_ = [
        f"{name}.{field}"
        for name, schema in document.schemas.items()
        for field, inner in schema.get("properties", {}).items()
        if field in closed and {"type": "string"} in (_bare(inner), *map(_bare, inner.get("anyOf", ())))
    ]
    assert open_ == [], f"name its enumeration in the entry of {TABLES}: Field(…, values=…)"


def _bare(schema: Json) -> Json:
    return {key: value for key, value in schema.items() if key not in ("description", "examples")}


def test_a_field_that_may_be_missing_has_no_null_for_a_default(document: Document) -> None:
    """Generators take a field with a default for one that is always there."""
    fields = [inner for schema in document.schemas.values() for inner in schema.get("properties", {}).values()]
    fields += [
        each.get("schema", {}) for _, operation in document.operations() for each in operation.get("parameters", ())
    ]
    assert [field for field in fields if field.get("default", "") is None] == []


# Examples


def test_every_message_and_route_has_an_example(document: Document) -> None:
    without = [
        name for name, each in document.content["components"].get("messages", {}).items() if not each.get("examples")
    ]
    for name, operation in document.operations():
        holders = [operation.get("requestBody"), *operation.get("responses", {}).values()]
        contents = [
            content for holder in holders if holder and "$ref" not in holder for content in holder["content"].values()
        ]
        without += [name for content in contents if "example" not in content and "$ref" in content["schema"]]
    assert without == []


def test_every_example_is_valid(document: Document) -> None:
    examples = list(document.examples())
    assert len(examples) > 50
    wrong = {
        place: found
        for place, schema, example in examples
        if (found := list(faults(document.content, schema, example, closed="error" not in str(example))))
    }
    assert wrong == {}, f"the examples of fields are in {TABLES}"


def test_an_example_that_does_not_fit_is_found() -> None:
    document = openapi.read_document()
    call = {"$ref": "#/components/schemas/CallWanted"}
    assert list(faults(document, call, {"creatorId": "nobody"}))


# Names


def test_names_suit_generators(document: Document) -> None:
    named = [*document.schemas, *(str(each.get("title", "")) for each in document.schemas.values())]
    named += [each["title"] for each in document.content["components"].get("messages", {}).values()]
    assert [name for name in named if not re.fullmatch(r"[A-Za-z0-9]+", name)] == []


def test_a_page_is_named_after_its_items() -> None:
    (page,), schemas = schemas_of([Listed[Report]])
    assert page == {"$ref": "#/components/schemas/ReportPage"}
    assert schemas.keys() == {"ReportPage", "Report"}
    assert schemas["ReportPage"]["title"] == "ReportPage"


def test_messages_of_one_type_have_names_and_summaries_of_their_own() -> None:
    document = asyncapi.read_document()
    call, stream = asyncapi.named(document, "block:charged")
    assert (call["title"], stream["title"]) == ("CallBlockCharged", "ViewerBlockCharged")
    for message, own, other in ((call, "callId", "streamId"), (stream, "streamId", "callId")):
        assert own in resolve(document, message["payload"]["$ref"])["properties"]
        assert f"this one has a `{own}`" in message["description"] and f"`{other}`" in message["description"]
    titles = [each["title"] for each in document["components"]["messages"].values()]
    assert len(set(titles)) == len(titles)


# The tables


def test_every_entry_of_the_tables_is_used() -> None:
    documents = (Document("", asyncapi.read_document()), Document("", openapi.read_document()))
    shown = {
        inner.get("description", "")
        for document in documents
        for schema in document.schemas.values()
        for inner in schema.get("properties", {}).values()
    }
    shown |= {
        each.get("description", "")
        for document in documents
        for _, operation in document.operations()
        for each in operation.get("parameters", ())
    }
    unused = [key for key, entry in FIELDS.items() if not any(text.startswith(entry.description) for text in shown)]
    assert unused == [], f"no field of the documents is described by these entries of {TABLES}"


def test_names_that_mean_many_things_are_described_by_struct() -> None:
    """An entry for the name alone would describe a new field wrongly, and nobody would notice."""
    many = {"name", "side", "role", "status", "kind", "tokens", "count", "total", "title", "amount", "holds", "state"}
    assert many & FIELDS.keys() == set()


def test_every_enumeration_is_used() -> None:
    used = asyncapi.read_document()["components"]["schemas"].keys() | openapi.read_document()["components"]["schemas"]
    assert ENUMERATIONS.keys() - used == set()


def test_a_description_by_struct_applies_to_structs_that_inherit_the_field() -> None:
    text = {"type": "string"}
    assert describe(["CallRoom", "CallView"], "id", text)["description"] == "The id of the call."
    assert describe(["StreamRoom", "StreamView"], "id", text)["description"] == "The id of the stream."
    assert "description" not in describe(["Unknown"], "unheardOf", text)


def test_the_documents_name_no_file_of_the_source() -> None:
    for served in (asyncapi.read_document(), openapi.read_document()):
        assert re.findall(r"\w+\.(?:md|py|toml)\b", str(served)) == []
