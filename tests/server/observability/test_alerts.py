"""The alert rules: they can be parsed, and every metric that they name is exported."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import trio
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from websockets.sync.client import connect

from server.close_codes import CloseCode
from server.context import Context
from server.ids import new_uuid
from server.observability import metrics
from storage.database_errors import StorageUnavailable
from tests.support.clients import PATIENCE_SECONDS, ring_and_join
from tests.support.live_server import LiveServer, live_server_on
from tests.support.processes import eventually
from tests.support.servers import add_fan, phone_of

RULES = Path(metrics.__file__).parent / "alerts.yml"
CLOSED = "halfminute_connections_closed_total"


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def selectors(rule: dict[str, Any]) -> list[promql.VectorSelector]:
    """Return every series that a rule reads."""
    found: list[promql.VectorSelector] = []

    def look(expression: promql.Expr) -> bool:
        if isinstance(expression, promql.VectorSelector):
            found.append(expression)
        return True

    promql.walk(promql.parse(rule["expr"]), look)
    return found


@pytest.fixture
def live_server(dsn: str, tmp_path: Path) -> Iterator[LiveServer]:
    with live_server_on(dsn, tmp_path) as running:
        yield running


def samples(live_server: LiveServer) -> list[Sample]:
    """Return every metric of a running server."""
    families = text_string_to_metric_families(live_server.server.get("/metrics").text)
    return [sample for family in families for sample in family.samples]


def by_label(live_server: LiveServer, name: str) -> dict[str, float]:
    """Return the values of one metric that are not 0, each by the value of its label."""
    return {
        value: sample.value
        for sample in samples(live_server)
        for value in sample.labels.values()
        if sample.name == name and sample.value
    }


def test_every_figure_and_every_label_of_the_rules_is_there(live_server: LiveServer) -> None:
    fan, creator = live_server.fan(100), live_server.creator()
    ring_and_join(fan, creator)
    fan.wait_for("block:charged")
    live_server.check_ledger()
    names = {rule["record"] for rule in rules() if "record" in rule}
    labels = set()
    for sample in samples(live_server):
        names.add(sample.name)
        labels |= {(sample.name, label, value) for label, value in sample.labels.items()}
    for selector in (selector for rule in rules() for selector in selectors(rule)):
        assert selector.name in names
        for matcher in selector.matchers.matchers:
            for value in matcher.value.split("|"):
                assert (selector.name, matcher.name, value) in labels


def test_an_alert_says_how_urgent_it_is_and_what_is_wrong() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({alert["alert"] for alert in alerts}) == len(alerts)
    for alert in alerts:
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"]["summary"].endswith(".")


def test_connections_are_counted_while_they_are_open_and_by_their_close_code(live_server: LiveServer) -> None:
    leaving, lost, _ = (live_server.phone() for _ in range(3))
    assert open_connections(live_server) == 3
    leaving.hang_up_network()
    lost.lose_network()
    with connect(f"ws://127.0.0.1:{live_server.server.websocket_port}/ws") as stranger:
        stranger.close(4999)
    eventually(lambda: sum(by_label(live_server, CLOSED).values()) == 3, "three ends")
    assert by_label(live_server, CLOSED) == {"1000": 1, "1006": 1, "other": 1}
    assert open_connections(live_server) == 1


def open_connections(live_server: LiveServer) -> float:
    return next(sample.value for sample in samples(live_server) if sample.name == "halfminute_connections")


def test_sweeps_are_counted_by_their_outcome(live_server: LiveServer) -> None:
    live_server.sweep()
    live_server.sweep("wrong")
    assert by_label(live_server, "halfminute_sweeps_total") == {"done": 1, "refused": 1}


async def test_the_findings_of_an_audit_are_a_metric(context: Context) -> None:
    await context.postgres.execute("ALTER TABLE wallets DISABLE TRIGGER only_booking_writes_balances")
    await context.postgres.execute("UPDATE wallets SET balance = balance + 1 WHERE id = $1", await add_fan(context, 10))
    operator = phone_of(context, new_uuid(), role="operator")
    with operator.http as web:
        await trio.to_thread.run_sync(web.get, "/admin/audit")
    lines = _lines(context)
    assert 'halfminute_ledger_faults{proof="all balances sum to zero"} 1.0' in lines
    assert 'halfminute_ledger_faults{proof="no user owes"} 0.0' in lines


async def test_a_server_without_its_database_is_not_ready(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> float:
        raise StorageUnavailable("the database is away")

    assert "halfminute_ready 1.0" in _lines(context)
    with monkeypatch.context() as away, trio.fail_after(PATIENCE_SECONDS):
        away.setattr(context.leases, "renew", fail)
        await _wait_for("halfminute_ready 0.0", context)
    with trio.fail_after(PATIENCE_SECONDS):
        await _wait_for("halfminute_ready 1.0", context)
    context.draining = True
    assert "halfminute_ready 0.0" in _lines(context)


def _lines(context: Context) -> list[str]:
    return context.metrics.exposition().decode().splitlines()


async def _wait_for(line: str, context: Context) -> None:
    while line not in _lines(context):  # noqa: ASYNC110  # reason: a renewal sets no event
        await trio.sleep(0.05)


def test_every_documented_close_code_is_counted_apart() -> None:
    assert set(CloseCode) <= set(metrics.CLOSE_CODES)
