"""Liveness, readiness, and the metrics of the process."""

import httpx
import pytest

from server.context import Context
from tests.server.rest.conftest import Users, client_of
from tests.server.rest.database_proxy import proxy_to
from tests.server.rest.problems import check
from tests.support.servers import running_server

ALL_WELL = {"database": "ok", "storageActor": "ok", "supervisor": "ok", "open": "ok"}


async def test_a_working_server_is_healthy_and_ready(web: httpx.AsyncClient) -> None:
    assert (await web.get("/healthz")).json() == {"status": "ok"}
    assert (await web.get("/readyz")).json() == {"status": "ready", "parts": ALL_WELL}


async def test_with_the_database_away_it_lives_and_is_not_ready(dsn: str) -> None:
    async with proxy_to(dsn) as proxy, running_server(proxy.dsn) as context, client_of(context) as web:
        proxy.cut()
        fields = check(await web.get("/readyz"), 503, "STORAGE_UNAVAILABLE")
        assert fields["parts"] == {**ALL_WELL, "database": "failed"}
        assert "database" in fields["message"]
        assert (await web.get("/healthz")).status_code == 200
        await proxy.mend()
        assert (await web.get("/readyz")).status_code == 200


async def test_with_postings_that_wait_it_is_not_ready(
    context: Context, web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context.actor, "_away_since", 0.0)
    fields = check(await web.get("/readyz"), 503, "STORAGE_UNAVAILABLE")
    assert fields["parts"] == {**ALL_WELL, "storageActor": "failed"}


async def test_without_room_services_it_is_not_ready(
    context: Context, web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(context.registry), "is_open", property(lambda _: False))
    fields = check(await web.get("/readyz"), 503, "STORAGE_UNAVAILABLE")
    assert fields["parts"] == {**ALL_WELL, "supervisor": "failed"}


async def test_while_it_drains_it_is_not_ready(
    context: Context, web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "draining", True)
    answer = await web.get("/readyz")
    assert check(answer, 503, "DRAINING")["parts"] == {**ALL_WELL, "open": "failed"}
    assert int(answer.headers["Retry-After"]) > 0


async def test_the_metrics_are_prometheus_text(users: Users, web: httpx.AsyncClient) -> None:
    await users.fan(5)
    answer = await web.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert 'halfminute_postings_total{outcome="committed"} 1.0' in answer.text.splitlines()
