"""Reads wallets; only the storage actor writes them."""

import msgspec

from domain.billing.meter import Funds
from domain.ids import UserId
from storage.postgres import Postgres


class Wallet(msgspec.Struct, frozen=True, rename="camel"):
    """A wallet's balance and sums in tokens. `entries` counts its postings, and so is a version of the balance."""

    balance: int
    lifetime_earned: int
    lifetime_spent: int
    n: int = msgspec.field(default=0, name="entries")
    limited: bool = False  # whether the user set a daily limit, or the wallet is frozen
    frozen: bool = False  # no token may leave it until an operator has decided about a refund or chargeback
    promotional: int = 0  # part of the balance: credited by operators, or paid with such tokens
    owed: int = 0  # advanced by `losses` to refund this user's payers, and not repaid yet

    @property
    def funds(self) -> Funds:
        """The balance and its version, as the room's rules need them."""
        return Funds(self.balance, self.n)


# The columns of a Wallet, from `wallets w`.
WALLET_COLUMNS = (
    "w.balance, w.lifetime_earned, w.lifetime_spent, w.n, w.limited,"
    " w.limited AND EXISTS (SELECT FROM wallet_freezes f WHERE f.user_id = w.id), w.promotional, w.owed"
)


async def find_wallet(postgres: Postgres, user_id: UserId) -> Wallet | None:
    """Return the user's wallet, or None if there is no such user. Raises StorageUnavailable."""
    # Read the wallet, and whether it is frozen.
    row = await postgres.fetchrow(f"SELECT {WALLET_COLUMNS} FROM wallets w WHERE w.id = $1", user_id)
    return None if row is None else Wallet(*row)
