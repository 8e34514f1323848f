"""Responses reach the client under trio alone: there is no asyncio event loop here, and none is needed."""

import pytest

from domain.refusals import Code, Refusal
from server.rest.http.quart_app import BufferedResponse
from server.rest.responses import Plain, answered, no_content, refused

ANSWERS = {
    "no content": (no_content(), b""),
    "nothing in an answer of 200": (BufferedResponse(b"", 200, "text/plain"), b""),
    "not modified": (BufferedResponse(b"", 304, ""), b""),
    "JSON": (answered({"a": 1}, 200), b'{"a":1}'),
    "text": (answered(Plain(b"hello", "text/plain"), 200), b"hello"),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_body_is_read_without_asyncio_and_without_a_thread(name: str) -> None:
    answer, expected = ANSWERS[name]
    async with answer.response as body:
        assert b"".join([part async for part in body]) == expected


async def test_a_problem_is_read_without_asyncio_and_without_a_thread() -> None:
    async with refused(Refusal(Code.NOT_FOUND, "No such path"), "r1").response as body:
        assert b"NOT_FOUND" in b"".join([part async for part in body])


def test_no_content_has_neither_length_nor_type() -> None:
    assert not {"Content-Length", "Content-Type"} & set(no_content().headers.keys())
