"""A server reports whether it lives, whether it may be sent requests, and its metrics."""

from pathlib import Path

from tests.storage.own_postgres import own_postgres
from tests.support.live_server import LiveServer, live_server_on
from tests.support.processes import eventually


def test_without_its_database_a_server_lives_but_is_not_ready_until_it_is_back(tmp_path: Path) -> None:
    with own_postgres(tmp_path / "postgres") as postgres, live_server_on(postgres.dsn, tmp_path) as live_server:
        assert _status(live_server, "/healthz") == _status(live_server, "/readyz") == 200
        postgres.stop()
        eventually(lambda: _status(live_server, "/readyz") == 503, "a server that is not ready")
        refused = live_server.server.get("/readyz").json()
        assert (refused["error"], refused["parts"]["database"]) == ("STORAGE_UNAVAILABLE", "failed")
        assert live_server.sweep().status_code == 503
        assert _status(live_server, "/healthz") == 200
        assert 'halfminute_sweeps_total{outcome="failed"} 1.0' in live_server.server.get("/metrics").text.splitlines()
        postgres.start()
        eventually(lambda: _status(live_server, "/readyz") == 200, "a server that is ready again")
        live_server.check_ledger()


def _status(live_server: LiveServer, path: str) -> int:
    return live_server.server.get(path).status_code
