"""Operators who give credits over HTTP, one after another.

Each request is repeated under its key until it is answered.
"""

import random
import threading
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import httpx

from domain.ids import PostingKey, UserId, client_key
from server.access.tokens import issue_token
from server.ids import new_uuid
from tests.support.database_reader import DatabaseReader
from tests.support.processes import ServerProcess, eventually

ANSWER_SECONDS_MAX = 2.0  # less than the server waits for its database, so that a repeat may overtake the first request
RETRY_SECONDS = 0.05
STOP_SECONDS_MAX = 30.0
CREDITS_OF_ALL = "SELECT key, credit_wallet, tokens, ref_id FROM journal WHERE kind = 5"


class Operator:
    """One operator: the answer under each idempotency key, and the number of requests under it."""

    def __init__(self, server: ServerProcess, takers: Sequence[UUID], seed: int) -> None:
        self.user_id = UserId(new_uuid())
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.tries: dict[str, int] = {}
        self._bodies: dict[str, dict[str, Any]] = {}
        self._takers = takers
        self._chance = random.Random(seed)
        token = issue_token(server.jwt_secret(), self.user_id, role="operator", ttl_seconds=24 * 3600, now=time.time())
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{server.http_port}/api",
            headers={"Authorization": f"Bearer {token}"},
            timeout=ANSWER_SECONDS_MAX,
            verify=False,
        )

    def give(self) -> None:
        """Give one credit, and repeat the request until it is answered."""
        key = f"credit {len(self.tries)}"
        taker, tokens = self._chance.choice(self._takers), self._chance.randint(1, 9)
        self._bodies[key] = {"userId": str(taker), "tokens": tokens, "reason": "a blow is to come"}
        self.tries[key] = 0
        while (answer := self._ask(key)) is None:
            time.sleep(RETRY_SECONDS)  # as a client does; a server that is down wakes nobody
        self.acknowledged[key] = answer

    def check_answers(self) -> None:
        """Check that a repeat of each repeated request has the same answer."""
        for key in [key for key, tries in self.tries.items() if tries > 1]:
            assert self._ask(key) == self.acknowledged[key], f"{key} was acknowledged otherwise"

    def postings(self) -> dict[PostingKey, tuple[str, int, str]]:
        """Return what the journal must hold: for each posting key the wallet, the tokens and the credit's id."""
        return {
            client_key(self.user_id, key): (answer["userId"], answer["tokens"], answer["creditId"])
            for key, answer in self.acknowledged.items()
        }

    def close(self) -> None:
        self._http.close()

    def _ask(self, key: str) -> dict[str, Any] | None:
        """Send the request once. Return None if its outcome is unknown."""
        self.tries[key] += 1
        try:
            answer = self._http.post("/admin/credits", json=self._bodies[key], headers={"Idempotency-Key": key})
        except httpx.TransportError:
            return None
        if answer.status_code == 503:
            return None
        assert answer.status_code == 201, answer.text
        credit: dict[str, Any] = answer.json()
        return credit


class Operators:
    """Several operators at once, each in a thread. Leaving it waits until each has finished its current credit."""

    def __init__(self, server: ServerProcess, takers: Sequence[UUID], count: int) -> None:
        self.all = [Operator(server, takers, seed) for seed in range(count)]
        self._leave = threading.Event()
        self._faults: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, args=(each,), daemon=True) for each in self.all]

    def __enter__(self) -> "Operators":
        for thread in self._threads:
            thread.start()
        eventually(lambda: self._faults or all(each.acknowledged for each in self.all), "everybody's first credit")
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS_MAX)

    def check_answers(self) -> None:
        """Check that each credit was acknowledged, and that its key still has the same answer.

        Needs a running server.
        """
        assert self._faults == [], self._faults
        tries = [tries for each in self.all for tries in each.tries.values()]
        print(f"{len(tries)} credits, {sum(n > 1 for n in tries)} of them asked for again, up to {max(tries)} times")
        assert max(tries) > 1, "an answer was lost"
        for each in self.all:
            assert each.acknowledged.keys() == each.tries.keys(), "each was acknowledged in the end"
            each.check_answers()
            each.close()

    def check_ledger(self, database: DatabaseReader, others: int) -> None:
        """Check that the journal has each credit once, as it was acknowledged, and only `others` besides."""
        sent = {key: sent for each in self.all for key, sent in each.postings().items()}
        rows = database.fetch(CREDITS_OF_ALL)
        booked = [(row["key"].bytes, (str(row["credit_wallet"]), row["tokens"], str(row["ref_id"]))) for row in rows]
        assert sorted(entry for entry in booked if entry[0] in sent) == sorted(sent.items()), (
            "each once, as it was told"
        )
        assert len(rows) == len(sent) + others, "and nothing besides"

    def _work(self, operator: Operator) -> None:
        try:
            while not self._leave.is_set():
                operator.give()
        except BaseException as fault:  # reason: shown by the test itself
            self._faults.append(fault)
