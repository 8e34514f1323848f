"""Reads a user's account in one statement: who they are, their wallet, and what of it they may cash out."""

from typing import NamedTuple

from domain.ids import UserId
from storage.ledger.wallets import WALLET_COLUMNS, Wallet
from storage.market.payouts import Cashable
from storage.people.users import User
from storage.postgres import Postgres


class Account(NamedTuple):
    """A user with their wallet, on one snapshot of the database."""

    user: User
    wallet: Wallet
    cashable: Cashable


async def find_account(postgres: Postgres, user_id: UserId, holding_days: int) -> Account | None:
    """Return the user's account, or None if there is no such user; tokens earned in `holding_days` days are held.

    Raises StorageUnavailable.
    """
    # Read the user, whether they are a creator, their wallet, and the sums of what may be cashed out.
    row = await postgres.fetchrow(
        f"SELECT u.supabase_id, u.display_name, c.user_id IS NOT NULL, {WALLET_COLUMNS}, t.cashable, t.held, t.due"
        " FROM users u JOIN wallets w ON w.id = u.supabase_id LEFT JOIN creators c ON c.user_id = u.supabase_id,"
        " cashable_tokens(u.supabase_id, make_interval(days => $2)) t WHERE u.supabase_id = $1",
        user_id,
        holding_days,
    )
    if row is None:
        return None
    known, display_name, is_creator, *wallet, cashable, held, due = row
    return Account(User(known, display_name, is_creator), Wallet(*wallet), Cashable(cashable or 0, held or 0, due))
