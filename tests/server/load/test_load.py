"""`halfminute load` against a real server: a small run of it, its figures, and what it says when it will not run."""

from pathlib import Path

import msgspec
import pytest

from server.load.figures import Result
from tests.processes import ServerProcess, run_command

BLOCKS_OF_A_SECOND = {"HALFMINUTE_CALLS_BLOCK_SECONDS": "1"}


@pytest.mark.parametrize("subprotocol", ["json", "msgpack"])
def test_a_small_load_hears_every_delivery(data_dir: Path, subprotocol: str) -> None:
    with ServerProcess(data_dir, settings=BLOCKS_OF_A_SECOND) as server:
        words = ["--rooms", "3", "--seconds", "5", "--subprotocol", subprotocol, "--out", str(data_dir / "out")]
        secret = ["--secret-from", str(data_dir)]
        done = run_command("load", "--url", url_of(server), *words, *secret, cwd=data_dir)
    assert done.exit_code == 0, (done.out, done.errors)
    result = msgspec.json.decode((data_dir / "out" / "load.json").read_bytes(), type=Result)
    assert (result.rooms, result.members, result.faults, result.errors) == (3, 12, {}, {})
    assert result.blocks >= 3 * 5 and result.block_late_ms.count >= result.blocks - 3
    # Each block at each of four members, and what tells that they came and went.
    assert result.deliveries >= 4 * result.blocks
    assert "Every delivery came once" in (data_dir / "out" / "load.html").read_text()


def url_of(server: ServerProcess) -> str:
    return f"http://127.0.0.1:{server.http_port}"


def test_without_a_secret_or_a_server_it_says_so(tmp_path: Path) -> None:
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
