"""Every list has the right rows for each filter and page while rows are written: random reads against a model.

The model is the list without a filter, read before and after, of which each filter takes what its words say. What was
written is compared with it by id. The seed is printed.
"""

import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple, get_origin

import pytest
import trio

from server.rest.app import ROUTES
from server.rest.query import Listed
from tests.server.rest.conftest import Caller
from tests.server.rest.list_writer import ListWriter
from tests.server.rest.shop import Shop, open_shop

WRITTEN = 60  # rows before the reads, and as many while they run
READS = 6  # of each list, while it grows, and as many when it rests
MOST = 100  # rows of a page

Item = dict[str, Any]
Meets = Callable[[Item, str], bool]


def same(field: str) -> Meets:
    """The filter takes rows whose field is the value."""
    return lambda item, value: bool(item[field] == value)


def begins(field: str) -> Meets:
    """The filter takes rows whose field begins with the value, in any case."""
    return lambda item, value: bool(item[field].lower().startswith(value.lower()))


class ListOf(NamedTuple):
    """A list: the field of its rows' ids and of their times, and what each filter takes."""

    id: str
    at: str | None = None
    filters: Mapping[str, Meets] = MappingProxyType({})

    def meets(self, item: Item, query: dict[str, str]) -> bool:
        """Whether the row belongs into the list with these filters."""
        tests = {**self.filters} | {
            "from": lambda item, since: item[self.at] >= since,
            "to": lambda item, until: item[self.at] < until,
        }
        return all(tests[name](item, value) for name, value in query.items())


CREATORS = ListOf("userId", filters={"name": begins("displayName"), "presence": same("presence")})
BLOCK = ListOf("key", "chargedAt", {name: same(name) for name in ("callId", "role")})
CALLS = ListOf("id", "createdAt", {"status": same("status"), "role": lambda item, role: item["role"] == role})
TIPS = ListOf("tipId", "at", {"role": same("role"), "streamId": same("roomId"), "callId": same("roomId")})
ENTRIES = ListOf("n", "at", {"kind": same("kind")})
PURCHASES = ListOf("purchaseId", "createdAt", {"status": same("status")})
PAYOUTS = ListOf("payoutId", "createdAt", {"status": same("status")})
ACTION = {"operatorId": same("operatorId"), "targetId": same("targetId"), "action": same("action")}
ORDERED = {"operatorId": same("operatorId"), "userId": same("targetId")}
OF_USER = {"userId": same("userId")}
# By the path of the route; `{userId}` is the user of the test.
LISTS = {
    "/api/creators": CREATORS,
    "/api/wallet/ledger": ENTRIES,
    "/api/calls/history": CALLS,
    "/api/streams": ListOf(
        "id",
        None,
        {
            "status": same("status"),
            "type": same("type"),
            "creatorId": lambda item, creator: bool(item["creator"]["userId"] == creator),
        },
    ),
    "/api/tips": TIPS,
    "/api/billing/history": BLOCK,
    "/api/tokens/purchases": PURCHASES,
    "/api/payouts": PAYOUTS,
    "/api/overlay-tokens": ListOf("overlayTokenId"),
    "/api/creators/me/blocks": ListOf("userId"),
    "/api/admin/purchases": PURCHASES._replace(filters={**PURCHASES.filters, **OF_USER}),
    "/api/admin/payments": ListOf("paymentId", "createdAt", {name: same(name) for name in ("status", "purchaseId")}),
    "/api/admin/users": ListOf(
        "userId",
        "createdAt",
        {**OF_USER, "name": begins("displayName"), "email": begins("email")},
    ),
    "/api/admin/payouts": PAYOUTS._replace(filters={**PAYOUTS.filters, "userId": same("creatorId")}),
    "/api/admin/reports": ListOf("reportId", "createdAt", {**OF_USER, "reporterId": same("reporterId")}),
    "/api/admin/bans": ListOf("banId", "createdAt"),
    "/api/admin/actions": ListOf("actionId", "at", ACTION),
    "/api/admin/credits": ListOf("actionId", "at", ORDERED),
    "/api/admin/refunds": ListOf("actionId", "at", ORDERED),
    "/api/admin/debts": ListOf("debtId", "at", {**OF_USER, "status": same("status")}),
    "/api/admin/users/{userId}/ledger": ENTRIES,
    "/api/admin/users/{userId}/blocks": BLOCK,
    "/api/admin/users/{userId}/tips": TIPS,
    "/api/admin/users/{userId}/calls": CALLS,
    "/api/admin/users/{userId}/streams": ListOf("id", "createdAt", {"type": same("type"), "status": same("status")}),
    "/api/admin/users/{userId}/purchases": PURCHASES,
    "/api/admin/users/{userId}/payouts": PAYOUTS,
    "/api/admin/users/{userId}/reports": ListOf("reportId", "createdAt"),
    "/api/admin/users/{userId}/bans": ListOf("banId", "createdAt"),
}
# Shown elsewhere: rooms and sessions are in memory, reads are written by reading, the others have no rows here.
ELSEWHERE = {
    "/api/admin/rooms",
    "/api/admin/reversals",
    "/api/admin/reads",
    "/api/admin/users/{userId}/sessions",
    "/api/admin/streams/{streamId}/blocks",
}


def test_every_list_is_in_the_table() -> None:
    assert {route.path for route in ROUTES if get_origin(route.answer) is Listed} == LISTS.keys() | ELSEWHERE


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn) as opened:
        yield opened


class Reader:
    """Reads one list as one caller."""

    def __init__(self, caller: Caller, declared: str, user: Caller) -> None:
        self._caller = caller
        self._user = user
        self.list = LISTS[declared]
        self.declared = declared
        self.path = declared.removeprefix("/api").format(userId=user.user_id)

    async def whole(self) -> list[Item]:
        """The list without a filter."""
        return await self.pages(MOST)

    async def pages(self, limit: int, **query: str) -> list[Item]:
        """The list, page by page, along its links."""
        answer = await self._caller.get(self.path, limit=limit, **query)
        items: list[Item] = []
        while True:
            assert answer.status_code == 200, answer.text
            items += map(self._completed, answer.json()["items"])
            if "next" not in answer.links:
                return items
            assert len(items) < 1_000, "the links lead in a circle"
            answer = await self._caller.follow(answer.links["next"]["url"])

    async def page(self, limit: int, offset: int, **query: str) -> tuple[list[Item], int]:
        """One page, and the length of the whole list."""
        answer = await self._caller.get(self.path, limit=limit, offset=offset, **query)
        assert answer.status_code == 200, answer.text
        return list(map(self._completed, answer.json()["items"])), answer.json()["total"]

    def _completed(self, item: Item) -> Item:
        """Add what the model needs: the key of a block, the caller's part in a call, a creator's presence as a text."""
        if self.list is BLOCK:
            return item | {"key": f"{item['callId']} {item['blockNo']}"}
        if self.list is CREATORS:
            return item | {"presence": "online" if item["online"] else "offline"}
        if self.list is CALLS:
            return item | {"role": "fan" if item["fan"]["userId"] == str(self._user.user_id) else "creator"}
        return item


def random_query(chance: random.Random, reader: Reader, items: Sequence[Item]) -> dict[str, str]:
    """Some filters of the list, mostly with values that some row has."""
    query: dict[str, str] = {}
    if not items:
        return query
    for name, meets in reader.list.filters.items():
        if chance.random() < 0.4 and not (query.keys() & {"callId", "streamId"} and name in ("callId", "streamId")):
            values = sorted({value for item in items for value in _values(item) if value and meets(item, value)})
            if values:
                query[name] = chance.choice(values)
    if reader.list.at is not None:
        for name in ("from", "to"):
            if chance.random() < 0.4:
                moment = datetime.fromisoformat(chance.choice(items)[reader.list.at])
                moment += timedelta(milliseconds=chance.choice((-1, 0, 0, 1)))
                query[name] = f"{moment.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"
    return query


def _values(item: Item) -> Iterable[str]:
    """The texts in a row, also of the users in it."""
    for value in item.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from (inner for inner in value.values() if isinstance(inner, str))


def ids(reader: Reader, items: Iterable[Item]) -> list[Any]:
    return [item[reader.list.id] for item in items]


async def check_while_it_grows(chance: random.Random, reader: Reader) -> None:
    """A walk along the links has each row that was there all the time once, in order, and no wrong one."""
    before = await reader.whole()
    query = random_query(chance, reader, before)
    walked = await reader.pages(chance.randint(1, 7), **query)
    after = await reader.whole()
    told = f"{reader.path} {query}"
    assert len(set(ids(reader, walked))) == len(walked), told
    at_first = {item[reader.list.id]: item for item in before}
    stable = {id_ for item in after if at_first.get(id_ := item[reader.list.id]) == item}
    wanted = [item for item in after if item[reader.list.id] in stable and reader.list.meets(item, query)]
    assert [id_ for id_ in ids(reader, walked) if id_ in stable] == ids(reader, wanted), told
    assert all(reader.list.meets(item, query) for item in walked), told


async def check_at_rest(chance: random.Random, reader: Reader) -> None:
    """Links and offsets lead to the same rows, which are those of the model; the length is theirs."""
    whole = await reader.whole()
    query = random_query(chance, reader, whole)
    wanted = [item for item in whole if reader.list.meets(item, query)]
    told = f"{reader.path} {query}"
    assert await reader.pages(chance.randint(1, 7), **query) == wanted, told
    limit, offset = chance.randint(1, 7), chance.randint(0, len(wanted) + 1)
    assert await reader.page(limit, offset, **query) == (wanted[offset : offset + limit], len(wanted)), told


def readers(writer: ListWriter) -> list[Reader]:
    """A reader of each list for some users who have rows in it."""
    found = []
    for declared in LISTS:
        for user in (writer.fans[0], writer.creators[0]):
            caller = writer.operators[0] if declared.startswith("/api/admin") else user
            if "{userId}" in declared or caller is user or user is writer.fans[0]:
                found.append(Reader(caller, declared, user))
    return found


async def test_lists_are_right_while_they_grow_and_at_rest(shop: Shop) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    writer = ListWriter(shop, chance, [await shop.users.operator() for _ in range(2)])
    await writer.begin()
    for _ in range(WRITTEN):
        await writer.write()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_write_on, writer)
        for reader in readers(writer):
            for _ in range(READS):
                await check_while_it_grows(random.Random(chance.random()), reader)
        nursery.cancel_scope.cancel()
    for reader in readers(writer):
        for _ in range(READS):
            await check_at_rest(chance, reader)
    await _check_written(writer)


async def _write_on(writer: ListWriter) -> None:
    for _ in range(WRITTEN):
        await writer.write()
        await trio.sleep(0.05)  # a writer beside readers, and not instead of them


async def _check_written(writer: ListWriter) -> None:
    """Everything that was written is in the lists of all users together."""
    operator = writer.operators[0]

    async def listed(declared: str, field: str, *users: Caller) -> list[str]:
        return sorted([item[field] for user in users for item in await Reader(operator, declared, user).whole()])

    of_user = "/api/admin/users/{userId}"
    assert await listed("/api/admin/purchases", "purchaseId", operator) == sorted(writer.ids["purchase"])
    assert await listed("/api/admin/payouts", "payoutId", operator) == sorted(writer.ids["payout"])
    assert await listed("/api/admin/reports", "reportId", operator) == sorted(writer.ids["report"])
    assert await listed("/api/admin/credits", "refId", operator) == sorted(writer.ids["credit"])
    assert await listed("/api/admin/bans", "userId", operator) == sorted(writer.ids["banned"])
    assert await listed(f"{of_user}/tips", "tipId", *writer.fans) == sorted(writer.ids["tip"])
    assert await listed(f"{of_user}/calls", "id", *writer.fans) == sorted(writer.ids["call"])
