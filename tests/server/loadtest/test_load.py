"""`halfminute load` against a real server: a small run, its figures, and its message when it does not run."""

from pathlib import Path

import msgspec

from server.loadtest.measures.figures import Result
from tests.support.processes import ServerProcess, run_command

BLOCKS_OF_A_SECOND = {"HALFMINUTE_CALLS_BLOCK_SECONDS": "1"}


def test_a_small_load_of_calls_receives_every_block(data_dir: Path) -> None:
    result = run_load(data_dir, "--rooms", "3", "--seconds", "5")
    assert (result.rooms, result.members, result.faults, result.errors) == (3, 12, {}, {})
    assert result.blocks >= 3 * 5 and result.block_late_ms.count >= result.blocks - 3
    # Each block at each of four members, and the events of their joins and leaves.
    assert result.deliveries >= 4 * result.blocks


def test_a_mixed_load_receives_every_tip_and_every_chat_message(data_dir: Path) -> None:
    options = ["--tips-per-second", "40", "--chat", "5", "--subprotocol", "msgpack"]
    result = run_load(data_dir, "--rooms", "3", "--members", "5", "--seconds", "4", "--kind", "mixed", *options)
    assert (result.rooms, result.members, result.faults, result.errors) == (3, 15, {}, {})
    tips, words = result.commands["tip:send"], result.commands["chat:send"]
    assert (tips, words) == (160, 20) and result.round_trip_ms.count == tips
    assert result.deliveries >= 5 * (tips + words)


def run_load(data_dir: Path, *words: str) -> Result:
    """Run a load against a server with blocks of a second; return its figures, which the page must also show."""
    with ServerProcess(data_dir, settings=BLOCKS_OF_A_SECOND) as server:
        places = ["--url", url_of(server), "--secret-from", str(data_dir), "--out", str(data_dir / "out")]
        done = run_command("load", *places, *words, cwd=data_dir)
    assert done.exit_code == 0, (done.out, done.errors)
    assert "Every delivery came once" in (data_dir / "out" / "load.html").read_text()
    return msgspec.json.decode((data_dir / "out" / "load.json").read_bytes(), type=Result)


def test_a_server_for_real_users_is_not_filled_from_one_address(data_dir: Path) -> None:
    few = {"HALFMINUTE_LIMITS_HANDSHAKES_BURST": "3", "HALFMINUTE_LIMITS_HANDSHAKES_PER_SECOND": "1"}
    with ServerProcess(data_dir, settings=few) as server:
        done = run_command("load", "--url", url_of(server), "--secret-from", str(data_dir), cwd=data_dir)
    assert done.exit_code == 1
    (line,) = done.errors
    assert "429" in line and "HALFMINUTE_LIMITS_EXEMPT" in line


def url_of(server: ServerProcess) -> str:
    return f"http://127.0.0.1:{server.http_port}"


def test_without_a_secret_or_a_server_it_fails_with_one_line(tmp_path: Path) -> None:
    for words, complaint in (
        ([], "tokens need the server's secret"),
        (["--secret-from", "."], "there is no secret in"),
        (["--url", "http://example.org"], "is not this machine"),
        (["--url", "http://127.0.0.1:1"], "no halfminute server answers at http://127.0.0.1:1"),
    ):
        secret = {"HALFMINUTE_JWT_SECRET": "x" * 32} if "--url" in words else {}
        done = run_command("load", *words, cwd=tmp_path, settings=secret)
        assert done.exit_code == 1
        assert len(done.errors) == 1 and complaint in done.errors[0], done.errors
