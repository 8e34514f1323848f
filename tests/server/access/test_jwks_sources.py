"""The sources of a JWKS: read over HTTP and from a file, within limits of time, size and threads."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from server.access.jwks import MAX_DOCUMENT_BYTES, jwks_reader, public_keys
from server.access.tokens import TokenVerifier
from server.config.auth import AuthSettings
from tests.support.tokens import (
    ALICE,
    EC,
    NOW,
    OTHER_EC,
    Answer,
    Silence,
    jwks,
    refusal,
    serving,
    signed_by,
)

# --- reading over HTTP and from a file ---


async def test_keys_are_read_over_http(nursery: trio.Nursery) -> None:
    with serving({"/auth/v1/jwks.json?v=2": (200, jwks([EC.as_dict(private=False)]))}) as address:
        settings = AuthSettings(algorithms=("ES256",), jwks_url=f"{address}/auth/v1/jwks.json?v=2")
        verifier = TokenVerifier(settings)
        await nursery.start(verifier.run)
    assert verifier.verify(signed_by(EC, "ES256"), now=NOW).user_id == ALICE


@pytest.mark.parametrize(
    "address",
    [
        "http://issuer.example/jwks.json",
        "http://10.0.0.7/jwks.json",
        "http://127.0.0.1.issuer.example/",
        "http://localhost.example/",
        "http://127.0.0.1@issuer.example/",
        "http://[2001:db8::1]/",
        "http://0.0.0.0/",
        "ftp://127.0.0.1/",
    ],
)
def test_keys_are_fetched_over_tls_unless_from_this_machine(address: str) -> None:
    with pytest.raises(ValueError, match=r"auth\.jwks_url must be"):
        AuthSettings(algorithms=("ES256",), jwks_url=address)


@pytest.mark.parametrize(
    "address",
    ["https://issuer.example/", "http://127.0.0.1:9/", "http://127.8.8.8/", "http://[::1]:9/", "http://localhost/"],
)
def test_keys_may_be_fetched_from_this_machine_without_tls(address: str) -> None:
    assert AuthSettings(algorithms=("ES256",), jwks_url=address).jwks_url == address


async def test_a_file_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(jwks([]))
    file.chmod(0o644)
    assert await jwks_reader(url="", file=str(file))() == jwks([])
    file.chmod(0o666)
    with pytest.raises(ValueError, match="anybody may write it"):
        await jwks_reader(url="", file=str(file))()


async def test_a_redirect_is_not_followed() -> None:
    answers: dict[str, Answer] = {"/moved": (302, b"/jwks.json"), "/jwks.json": (200, jwks([]))}
    with serving(answers) as address, pytest.raises(ValueError, match="HTTP status 302"):
        await jwks_reader(url=f"{address}/moved", file="")()


@pytest.mark.parametrize("status", [201, 204, 404, 500])
async def test_any_status_but_200_is_a_failed_fetch(status: int) -> None:
    with serving({"/": (status, b"")}) as address, pytest.raises(ValueError, match=f"HTTP status {status}"):
        await jwks_reader(url=address, file="")()


async def test_a_document_over_the_size_limit_is_refused() -> None:
    answers: dict[str, Answer] = {"/fits": (200, b" " * MAX_DOCUMENT_BYTES), "/over": (200, b" " * 9_999_999)}
    with serving(answers) as address:
        assert len(await jwks_reader(url=f"{address}/fits", file="")()) == MAX_DOCUMENT_BYTES
        with pytest.raises(ValueError, match="larger than"):
            await jwks_reader(url=f"{address}/over", file="")()


async def test_a_file_without_end_is_refused_after_its_first_bytes(tmp_path: Path) -> None:
    pipe = tmp_path / "jwks.json"
    os.mkfifo(pipe)
    refused = threading.Event()

    def write() -> None:
        with pipe.open("wb", buffering=0) as end, suppress(BrokenPipeError):
            end.write(b" " * (MAX_DOCUMENT_BYTES + 1))
            refused.wait()

    threading.Thread(target=write, daemon=True).start()
    try:
        with trio.fail_after(5), pytest.raises(ValueError, match="larger than"):
            await jwks_reader(url="", file=str(pipe))()
    finally:
        refused.set()


async def test_a_server_that_never_answers_delays_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    silence = Silence()
    with serving({"/": (200, silence)}) as address:
        verifier = TokenVerifier(AuthSettings(algorithms=("ES256",), jwks_url=address))
        asked_at, began = trio.current_time(), time.monotonic()
        await nursery.start(verifier.run)
        assert trio.current_time() - asked_at == pytest.approx(5)
        assert time.monotonic() - began < 4  # the abandoned thread waits five real seconds
        assert refusal(signed_by(EC, "ES256"), verifier) == "unknown key"
        silence.set()


async def test_a_silent_server_holds_one_thread_however_often_it_is_asked() -> None:
    silence = Silence()
    with serving({"/": (200, silence)}) as address:
        read = jwks_reader(url=address, file="")
        for _ in range(3):
            with trio.move_on_after(0.1):
                await read()
        assert silence.askers <= 1
        silence.set()


async def test_the_thread_that_waits_for_a_silent_server_is_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.access.jwks.FETCH_SECONDS", 0.05)
    silence = Silence()
    with serving({"/": (200, silence)}) as address, trio.fail_after(5):
        with pytest.raises(TimeoutError):
            await jwks_reader(url=address, file="")()
        silence.set()


async def test_a_server_that_is_not_there_is_a_failed_fetch() -> None:
    with serving({}) as address:
        pass
    with pytest.raises(OSError, match="refused"):
        await jwks_reader(url=address, file="")()


async def test_a_file_is_read_again_like_an_address(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    read = jwks_reader(url="", file=str(file))
    with pytest.raises(FileNotFoundError):
        await read()
    file.write_bytes(jwks([EC.as_dict(private=False)]))
    assert ("ES256", "ec") in public_keys(await read(), ("ES256",))
    file.write_bytes(jwks([OTHER_EC.as_dict(private=False)]))
    assert ("ES256", "other") in public_keys(await read(), ("ES256",))


async def test_a_failed_fetch_is_logged_without_the_path(nursery: trio.Nursery, tmp_path: Path) -> None:
    settings = AuthSettings(algorithms=("ES256",), jwks_file=str(tmp_path / "missing.json"))
    with capture_logs() as events:
        await nursery.start(TokenVerifier(settings).run)
    assert [event["reason"] for event in events] == ["FileNotFoundError No such file or directory"]
    assert str(tmp_path) not in str(events)
