"""A server reports whether it lives, whether it may be sent requests, and its metrics."""

from pathlib import Path

from tests.storage.own_postgres import own_postgres
from tests.support.processes import eventually
from tests.support.server_fixture import Town, town_on


def test_without_its_database_a_server_lives_but_is_not_ready_until_it_is_back(tmp_path: Path) -> None:
    with own_postgres(tmp_path / "postgres") as postgres, town_on(postgres.dsn, tmp_path) as town:
        assert _status(town, "/healthz") == _status(town, "/readyz") == 200
        postgres.stop()
        eventually(lambda: _status(town, "/readyz") == 503, "a server that is not ready")
        refused = town.server.get("/readyz").json()
        assert (refused["error"], refused["parts"]["database"]) == ("STORAGE_UNAVAILABLE", "failed")
        assert town.sweep().status_code == 503
        assert _status(town, "/healthz") == 200
        assert 'halfminute_sweeps_total{outcome="failed"} 1.0' in town.server.get("/metrics").text.splitlines()
        postgres.start()
        eventually(lambda: _status(town, "/readyz") == 200, "a server that is ready again")
        town.check_books()


def _status(town: Town, path: str) -> int:
    return town.server.get(path).status_code
