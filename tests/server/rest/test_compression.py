"""Answers are compressed for clients that accept it, where that is worth it."""

from pathlib import Path

import httpx
import pytest

from server.rest.http.compression import MIN_BYTES, accepts_gzip
from tests.server.rest.conftest import client_of
from tests.support.servers import running_server, with_section


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("identity, gzip; q=1.0", True),
        ("*", True),
        ("*;q=0, gzip", True),
        ("", False),
        ("br, deflate", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        (";;,=,", False),
    ],
)
def test_gzip_is_used_if_the_client_accepts_it(accepted: str, expected: bool) -> None:
    assert accepts_gzip(accepted) is expected


async def test_a_long_answer_is_compressed_and_is_the_same_as_without(web: httpx.AsyncClient) -> None:
    for path in ("/api/openapi.json", "/api/docs", "/metrics"):
        plain = await web.get(path, headers={"Accept-Encoding": "identity"})
        packed = await web.get(path, headers={"Accept-Encoding": "gzip"})
        assert "Content-Encoding" not in plain.headers and int(plain.headers["Content-Length"]) == len(plain.content)
        assert packed.headers["Content-Encoding"] == "gzip"
        assert int(packed.headers["Content-Length"]) < len(plain.content) / 2
        assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
        assert path == "/metrics" or packed.content == plain.content


async def test_a_short_answer_is_sent_as_it_is(web: httpx.AsyncClient) -> None:
    answer = await web.get("/api/config", headers={"Accept-Encoding": "gzip"})
    assert len(answer.content) < MIN_BYTES
    assert "Content-Encoding" not in answer.headers and "Vary" not in answer.headers


async def test_an_answer_varies_by_origin_as_well(dsn: str, tmp_path: Path) -> None:
    wanted = with_section("http", allowed_origins=("https://app.example",))
    async with running_server(dsn, wanted) as context, client_of(context) as web:
        answer = await web.get("/api/docs", headers={"Origin": "https://app.example"})
        assert answer.headers["Vary"] == "Origin, Accept-Encoding"
