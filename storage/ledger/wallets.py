"""Wallets, as they are read; only the storage actor writes them."""

import msgspec

from domain.billing.meter import Funds
from domain.ids import UserId
from storage.postgres import Postgres


class Wallet(msgspec.Struct, frozen=True, rename="camel"):
    balance: int
    lifetime_earned: int
    lifetime_spent: int
    n: int = msgspec.field(default=0, name="entries")
    limited: bool = False  # whether the user set a daily limit, or the wallet is frozen
    frozen: bool = False  # nothing may leave it until an operator has decided about a refund or chargeback
    promotional: int = 0  # of the balance: given by operators, or paid with such tokens
    owed: int = 0  # advanced by `losses` to refund this user's payers, and not repaid yet

    @property
    def funds(self) -> Funds:
        return Funds(self.balance, self.n)


async def find_wallet(postgres: Postgres, user_id: UserId) -> Wallet | None:
    row = await postgres.fetchrow(
        "SELECT balance, lifetime_earned, lifetime_spent, n, limited,"
        " limited AND EXISTS (SELECT FROM wallet_freezes f WHERE f.user_id = id), promotional, owed"
        " FROM wallets WHERE id = $1",
        user_id,
    )
    return None if row is None else Wallet(*row)
