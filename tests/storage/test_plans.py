"""No request scans a large table: checks the plans of all statements on a database with a million postings."""

from collections.abc import Iterator

import pytest

from server.app import open_listeners, open_server
from tests.server.rest.shop import SELLING, selling
from tests.storage.recorded_plans import Plans, recorded_plans
from tests.storage.rest_tour import ALL, AUDIT, do_rounds, make_tour
from tests.support.databases import Databases
from tests.support.stripe_stand_in import stripe_stand_in

LARGE = {
    "users", "creators", "creator_blocks", "wallets", "journal", "memos", "idempotency_keys", "rooms", "meters",
    "calls", "users_in_calls", "purchases", "payouts", "reports", "overlay_tokens", "streams", "stream_tickets",
    "refunds_due", "debts", "operator_actions",
}  # fmt: skip


@pytest.fixture(params=["force_custom_plan", "force_generic_plan"])
def plan_mode(request: pytest.FixtureRequest) -> str:
    """PostgreSQL plans a statement for its values at first, and generically once it has come often."""
    return str(request.param)


@pytest.fixture
def plans(plan_mode: str, databases: Databases, old_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plans]:
    with recorded_plans(databases, old_server, monkeypatch, plan_cache_mode=plan_mode) as recorded:
        yield recorded


async def test_no_request_reads_a_large_table_from_end_to_end(plan_mode: str, plans: Plans, old_server: str) -> None:
    audit = plan_mode == "force_custom_plan"  # its statements have no values, so one plan each
    with stripe_stand_in() as stripe:
        stripe.prefix = f"cs_{plan_mode}_"  # the purchases of the earlier requests are still there
        wanted = selling(stripe)
        with open_listeners(wanted) as listeners:
            async with open_server(wanted, SELLING, old_server, listeners, alone=False) as context:
                tried = await make_tour(context, plans.trying, stripe, audit=audit)
                await do_rounds(context, plans.trying)
    assert tried | {AUDIT} == ALL
    scans = {(plan.tried, plan.sql, *sorted(plan.scanned & LARGE)) for plan in plans if plan.scanned & LARGE}
    # The audit reads the whole ledger: for operators, one at a time.
    assert {scan for scan in scans if scan[0] != AUDIT} == set()
    assert (AUDIT in {scan[0] for scan in scans}) == audit, "nothing would be found"
    assert any("INSERT INTO journal" in plan.sql for plan in plans), "statements inside functions are not recorded"
