"""The balances of all system wallets, and of all users together, at a moment in the past."""

from datetime import datetime

import msgspec

from domain.billing.posting import Kind
from domain.ids import ESCROW, LOSSES, PAYOUTS, PROMOTIONS, TOKEN_SALES
from storage.postgres import Postgres


class Balances(msgspec.Struct, frozen=True, rename="camel"):
    """Balances in tokens, which sum to zero. `users` is outstanding: what all users together have to spend."""

    users: int
    escrow: int
    token_sales: int
    promotions: int
    payouts: int
    losses: int


async def balances_at(postgres: Postgres, moment: datetime) -> Balances:
    """Return the balances after all postings before `moment`, a cut-off or an earlier time. Raises StorageUnavailable.

    Reads the last entry of each system wallet; the users' total follows from it, since all balances sum to zero.
    """
    # Find the last entry of each system wallet before the moment, and the balance after it.
    rows = await postgres.fetch(
        "SELECT w.id, CASE WHEN e.n = 0 THEN 0 ELSE balance_after(w.id, $1::smallint[], e.n) END AS balance"
        " FROM wallets w, LATERAL (SELECT entries_before(w.id, w.n, $1::smallint[], $2) AS n) e"
        " WHERE w.id = ANY($3::uuid[])",
        *(list(Kind), moment, [ESCROW, TOKEN_SALES, PROMOTIONS, PAYOUTS, LOSSES]),
    )
    balance = {row["id"]: row["balance"] for row in rows}
    return Balances(
        users=-sum(balance.values()),
        escrow=balance[ESCROW],
        token_sales=balance[TOKEN_SALES],
        promotions=balance[PROMOTIONS],
        payouts=balance[PAYOUTS],
        losses=balance[LOSSES],
    )
