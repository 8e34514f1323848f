"""The enumerations of the documents are those that the code uses and that the database allows."""

import re
from collections.abc import Collection

import pytest

from domain.billing.posting import Kind
from domain.call.parties import Hold, Role
from domain.refusals import Code
from server.documents.enumerations import ENUMERATIONS
from storage.postgres import open_postgres

# The values that the database allows in a column, and the enumeration of the documents for them.
STORED = {
    "calls.status": "CallStatus",
    "calls.block_rounding": "BlockRounding",
    "calls.end_reason": "CallEndReason",
    "streams.type": "StreamType",
    "streams.status": "StreamStatus",
    "streams.end_reason": "StreamEndReason",
    "purchases.status": "PurchaseStatus",
    "purchases.reversed_as": "ReversalKind",
    "payments.status": "PaymentStatus",
    "payments.problem": "PaymentProblem",
    "payment_settlements.action": "SettlementOutcome",
    "payment_reversals.status": "ReversalStatus",
    "operator_actions.action": "OperatorAction",
}


async def test_a_stored_value_has_a_meaning_and_no_other_has(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        rows = await postgres.fetch(
            "SELECT c.conrelid::regclass::text || '.' || a.attname AS place, pg_get_constraintdef(c.oid) AS allowed"
            " FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey)"
            " WHERE c.contype = 'c' AND cardinality(c.conkey) = 1"
        )
    found = {row["place"]: set(re.findall(r"'([a-z_]+)'::text", row["allowed"])) for row in rows}
    assert {place: found[place] for place in STORED} == {
        place: set(ENUMERATIONS[name].values) for place, name in STORED.items()
    }


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Hold", [hold.value for hold in Hold]),
        ("PartyRole", [role.value for role in Role]),
        ("PostingKind", [kind.name.lower() for kind in Kind]),
        ("ErrorCode", [code.name for code in Code]),
        ("WalletCause", [*(kind.name.lower() for kind in Kind), "resumed"]),
    ],
)
def test_an_enumeration_of_the_code_has_the_same_values(name: str, values: Collection[str]) -> None:
    assert list(ENUMERATIONS[name].values) == list(values)


def test_no_two_enumerations_have_the_same_values() -> None:
    """The schemas find an enumeration by its values."""
    assert len({frozenset(each.values) for each in ENUMERATIONS.values()}) == len(ENUMERATIONS)
