"""One of several server processes on one database: books random lists of tips, some of which others book too.

Run as `python -m tests.storage.bank_writer DSN SEED LISTS PERSON…`. It prints one line for each posting: the outcome
and the key. Each retry is logged on standard error.
"""

import random
import sys
from uuid import UUID

import trio

from domain.billing.posting import Posting
from domain.ids import UserId
from server.observability.logs import configure_log
from tests.storage.ledger_pair import open_ledger_pair, tip

LIST_MAX = 12  # postings
TOKENS_MAX = 60  # of one tip: some exceed the payer's balance


async def write(dsn: str, seed: int, lists: int, users: list[UserId]) -> None:
    chance = random.Random(seed)
    async with open_ledger_pair(dsn) as ledgers:
        for list_no in range(lists):
            wanted = [_tip(users, chance, f"{seed} {list_no} {i}") for i in range(chance.randint(1, LIST_MAX))]
            wanted.insert(chance.randint(0, len(wanted)), _tip(users, random.Random(list_no), f"of all {list_no}"))
            for receipt in await ledgers.actor.post(wanted):
                print(receipt.outcome.name, receipt.posting.key.hex())


def _tip(users: list[UserId], chance: random.Random, key: str) -> Posting:
    payer, payee = chance.sample(users, 2)
    return tip(payer, payee, chance.randint(1, TOKENS_MAX), key)


if __name__ == "__main__":
    configure_log("info", "json")
    trio.run(write, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), [UserId(UUID(name)) for name in sys.argv[4:]])
