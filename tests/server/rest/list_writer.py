"""Writes rows of every list, at random, while others read the lists."""

import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx

from domain.ids import RoomId, UserId
from tests.server.rest.conftest import Caller
from tests.server.rest.ended_calls import book, call_of
from tests.server.rest.shop import Shop
from tests.storage.ledger_pair import in_room, purchase, tip


class ListWriter:
    """A few users to whom things happen; `ids` has what each of them was told to be its new object, by kind."""

    def __init__(self, shop: Shop, chance: random.Random, operators: list[Caller]) -> None:
        self.fans: list[Caller] = []
        self.creators: list[Caller] = []
        self.operators = operators
        self.ids: dict[str, list[str]] = defaultdict(list)
        self._shop = shop
        self._chance = chance
        self._streams: list[tuple[RoomId, UserId]] = []  # with their owners

    async def begin(self) -> None:
        """Make the users, with tokens, names and e-mail addresses; one of the creators is online."""
        users = self._shop.users
        self.creators = [await users.creator(), await users.online_creator()]
        self.fans = [users.stranger(), users.stranger()]
        for number, fan in enumerate(self.fans):
            fan.claim(email=f"finn{number}@example.com")
            assert (await fan.put("/me", {"displayName": f"Finn {number}"})).status_code == 200
            await book(self._shop.context, purchase(fan.user_id, 20_000))

    async def write(self) -> None:
        """Let one thing happen."""
        happens: list[Callable[[Caller, Caller], Awaitable[None]]] = [
            self._tip, self._tip, self._call, self._stream, self._buy, self._pay_out, self._report, self._give,
            self._refund, self._ban, self._overlay, self._block, self._meet,
        ]  # fmt: skip
        await self._chance.choice(happens)(self._chance.choice(self.fans), self._chance.choice(self.creators))

    def _operator(self) -> Caller:
        return self._chance.choice(self.operators)

    def _keep(self, kind: str, answer: httpx.Response, name: str) -> str:
        """Note the id of a new object, the field `name` of an answer."""
        assert answer.status_code in (200, 201), answer.text
        made: str = answer.json()[name]
        self.ids[kind].append(made)
        return made

    async def _tip(self, fan: Caller, creator: Caller) -> None:
        stream, owner = self._chance.choice([*self._streams, (None, creator.user_id)])
        sent = tip(fan.user_id, owner, self._chance.randint(1, 30))
        await book(self._shop.context, sent if stream is None else in_room(sent, stream))
        self.ids["tip"].append(str(sent.ref_id))

    async def _call(self, fan: Caller, creator: Caller) -> None:
        self.ids["call"].append(str(await call_of(self._shop, fan, creator, self._chance.randint(1, 3))))

    async def _stream(self, fan: Caller, creator: Caller) -> None:
        show: dict[str, Any] = {"title": "A show", "type": "public"}
        if self._chance.random() < 0.5:
            show |= {"type": "private", "ticketPriceTokens": 25}
        answer = await creator.post("/streams", show)
        assert answer.status_code == 201, answer.text
        self._streams.append((RoomId(UUID(answer.json()["stream"]["id"])), creator.user_id))

    async def _buy(self, fan: Caller, creator: Caller) -> None:
        bought = await self._shop.buy(fan)
        self.ids["purchase"].append(bought["purchaseId"])
        if self._chance.random() < 0.5:
            await self._shop.pay(bought)

    async def _pay_out(self, fan: Caller, creator: Caller) -> None:
        cashable = (await creator.get("/wallet")).json()["cashable"]
        if cashable:
            asked = await creator.post("/payouts", {"tokens": self._chance.randint(1, cashable)})
            payout = self._keep("payout", asked, "payoutId")
            if self._chance.random() < 0.3:
                await self._operator().post(f"/admin/payouts/{payout}", {"status": "rejected"})

    async def _report(self, fan: Caller, creator: Caller) -> None:
        words = {"userId": str(creator.user_id), "reason": f"reason {self._chance.random()}"}
        self._keep("report", await fan.post("/reports", words), "reportId")

    async def _give(self, fan: Caller, creator: Caller) -> None:
        gift = {"userId": str(fan.user_id), "tokens": self._chance.randint(1, 9), "reason": "welcome"}
        self._keep("credit", await self._operator().post("/admin/credits", gift), "creditId")

    async def _refund(self, fan: Caller, creator: Caller) -> None:
        if self.ids["tip"]:
            tip = self.ids["tip"][self._chance.randrange(len(self.ids["tip"]))]
            refund = {"tipId": tip, "reason": "sorry", "confirm": True}
            answer = await self._operator().post("/admin/refunds", refund)
            assert answer.status_code in (200, 201), answer.text

    async def _ban(self, fan: Caller, creator: Caller) -> None:
        stranger = self._shop.users.stranger()
        await stranger.get("/me")
        ban = {"userId": str(stranger.user_id), "reason": "spam"}
        assert (await self._operator().post("/admin/bans", ban)).status_code == 201
        self.ids["banned"].append(str(stranger.user_id))

    async def _overlay(self, fan: Caller, creator: Caller) -> None:
        self._keep("overlay", await creator.post("/overlay-tokens", {"name": "scene"}), "overlayTokenId")

    async def _block(self, fan: Caller, creator: Caller) -> None:
        stranger = self._shop.users.stranger()
        await stranger.get("/me")
        assert (await creator.put(f"/creators/me/blocks/{stranger.user_id}")).status_code == 200
        self.ids["blocked"].append(str(stranger.user_id))

    async def _meet(self, fan: Caller, creator: Caller) -> None:
        stranger = self._shop.users.stranger()
        assert (
            await stranger.put("/me", {"displayName": self._chance.choice(("Finn", "Cleo", "fin"))})
        ).status_code == 200
        self.ids["user"].append(str(stranger.user_id))
