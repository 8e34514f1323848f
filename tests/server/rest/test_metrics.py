"""Access to /metrics: this machine, configured networks, and clients with the token."""

from typing import Any

import httpx
import msgspec
import pytest

from server.config.secrets import Secrets
from server.config.settings import MetricsSettings
from tests.server.rest.problems import check
from tests.support.clients import PATIENCE_SECONDS
from tests.support.servers import SECRETS, running_server, settings

TOKEN = "only-for-tests-metrics-0123456789-0123456789"


async def ask(
    dsn: str, *headers: dict[str, str], secrets: Secrets = SECRETS, trusted: tuple[str, ...] = (), **metrics: Any
) -> list[httpx.Response]:
    """Return the answers of /metrics to each of these headers, on a server with these settings."""
    usual = settings()
    wanted = msgspec.structs.replace(
        usual, server=msgspec.structs.replace(usual.server, trusted_proxies=trusted), metrics=MetricsSettings(**metrics)
    )
    async with running_server(dsn, wanted, secrets) as context:
        base_url = f"http://127.0.0.1:{context.http_port}"
        async with httpx.AsyncClient(base_url=base_url, timeout=PATIENCE_SECONDS, verify=False) as web:
            return [await web.get("/metrics", headers=each) for each in headers]


def bearer(token: str) -> dict[str, str]:
    """Return the header that Prometheus sends with `authorization: {credentials: …}`."""
    return {"Authorization": f"Bearer {token}".strip()}


async def test_this_machine_reads_the_metrics_without_a_token(dsn: str) -> None:
    [answer] = await ask(dsn, {})
    assert answer.status_code == 200 and "halfminute_rooms" in answer.text


async def test_from_elsewhere_the_metrics_are_read_only_with_the_token(dsn: str) -> None:
    secrets = msgspec.structs.replace(SECRETS, metrics_token=TOKEN)
    wrong: tuple[dict[str, str], ...] = (
        {},
        bearer(TOKEN[:-1]),
        bearer(f"{TOKEN}x"),
        bearer(""),
        {"Authorization": f"Basic {TOKEN}"},
    )
    *refused, answer = await ask(dsn, *wrong, bearer(TOKEN), secrets=secrets, networks=("192.0.2.0/24",))
    for each in refused:
        check(each, 403, "FORBIDDEN")
        assert "halfminute_rooms" not in each.text
    assert answer.status_code == 200 and "halfminute_rooms" in answer.text


async def test_without_a_configured_token_every_token_is_refused(dsn: str) -> None:
    for each in await ask(dsn, bearer(""), bearer("None"), bearer(TOKEN), networks=()):
        check(each, 403, "FORBIDDEN")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Host"])
async def test_clients_behind_an_untrusted_proxy_do_not_count_as_this_machine(dsn: str, header: str) -> None:
    """The proxy may run on this machine and serve the Internet."""
    [answer] = await ask(dsn, {header: "127.0.0.1"})
    check(answer, 403, "FORBIDDEN")


async def test_behind_a_trusted_proxy_the_client_counts(dsn: str) -> None:
    far, near, itself = await ask(
        dsn,
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Forwarded-For": "203.0.113.9, 192.0.2.7"},
        {},
        trusted=("127.0.0.0/8",),
        networks=("192.0.2.0/24",),
    )
    check(far, 403, "FORBIDDEN")
    assert near.status_code == 200
    check(itself, 403, "FORBIDDEN")
