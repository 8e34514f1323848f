"""Rules of the colluders' state machine: money, blocks, removals and bans."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from domain.billing.block import BlockPrice
from domain.billing.posting import Kind
from domain.ids import UserId
from tests.colluders.platform_model import PACKS, PlatformModel
from tests.colluders.rooms import Room, StreamRoom
from tests.model.rows import SPENDING

MILLISECOND = 1000

somebody = st.integers(0, 4)
another = st.integers(1, 4)
anything = st.integers(0, 1000)
spans = st.one_of(*[st.integers(0, most * 1000).map(lambda ms: ms * MILLISECOND) for most in (3, 9, 40, 40, 100, 320)])
sure = st.sampled_from([False, False, False, True])
tokens = st.one_of(st.integers(1, 60), st.integers(1, 1500))
prices = st.builds(
    BlockPrice,
    rate_tokens_per_min=st.one_of(st.integers(1, 60), st.integers(1, 600)),
    block_seconds=st.sampled_from([30, 30, 7]),
    rounding=st.sampled_from(["up", "exact"]),
)


class MoneyRules(RuleBasedStateMachine):
    """Users, rooms and streams are named by numbers, which are taken modulo how many there are."""

    platform: PlatformModel

    def _user(self, number: int) -> UserId:
        return self.platform.users[number % len(self.platform.users)]

    def _other(self, number: int, further: int) -> UserId:
        return self._user(number % len(self.platform.users) + 1 + further % (len(self.platform.users) - 1))

    def _room(self, number: int) -> Room | None:
        rooms = self.platform.open_rooms()
        return rooms[number % len(rooms)] if rooms else None

    def _stream(self, number: int) -> StreamRoom | None:
        streams = [room for room in self.platform.rooms if isinstance(room, StreamRoom) and not room.ended]
        return streams[number % len(streams)] if streams else None

    # Money

    @rule(user=somebody, pack=st.sampled_from([*PACKS]))
    def buy_a_pack(self, user: int, pack: int) -> None:
        self.platform.buy(self._user(user), pack)

    @rule(user=somebody, tokens=tokens, what=st.sampled_from(["gift", "gift", "correction", "limit", "no limit"]))
    def change_a_wallet(self, user: int, tokens: int, what: str) -> None:
        """An operator changes a wallet, or a user sets a daily limit."""
        user_id = self._user(user)
        if what in ("gift", "correction"):
            (self.platform.gift if what == "gift" else self.platform.correct)(user_id, tokens)
        elif user_id not in self.platform.frozen:
            self.platform.ledger.allow(user_id, tokens if what == "limit" else None)

    @rule(user=somebody, further=another, tokens=tokens, key=st.sampled_from(["same", "new", "new"]))
    def tip(self, user: int, further: int, tokens: int, key: str) -> None:
        name = key if key == "same" else f"tip {self.platform.next_number()}"
        self.platform.tip(self._user(user), self._other(user, further), tokens, name)

    @rule(user=somebody, further=another)
    def pass_everything_on(self, user: int, further: int) -> None:
        payer = self._user(user)
        if balance := self.platform.balance(payer):
            self.platform.tip(payer, self._other(user, further), balance, f"tip {self.platform.next_number()}")

    @rule(user=somebody, share=st.sampled_from([1, 1, 2, 3]))
    def ask_for_a_payout(self, user: int, share: int) -> None:
        """Request a part of the earnings as a payout, and then one token more than is left."""
        user_id = self._user(user)
        self.platform.request_payout(user_id, self.platform.ledger.wallets[user_id].earned // share)
        self.platform.request_payout(user_id, self.platform.ledger.wallets[user_id].earned + 1)

    @rule(paid=st.booleans(), only_first=st.booleans())
    def settle_payouts(self, paid: bool, only_first: bool) -> None:
        for key in list(self.platform.ledger.payouts)[: 1 if only_first else None]:
            self.platform.settle_payout(key, paid)

    @rule()
    def everybody_cashes_out(self) -> None:
        """All users request all that they may, and all of it is paid."""
        for user_id in self.platform.users:
            self.platform.request_payout(user_id, self.platform.ledger.wallets[user_id].earned)
        self.settle_payouts(True, False)

    @rule(which=anything, advance=st.booleans(), twice=st.booleans())
    def refund(self, which: int, advance: bool, twice: bool) -> None:
        """An operator refunds any payment, including one that was refunded before."""
        booked = [receipt.posting for receipt in self.platform.ledger.journal.values()]
        if paid := [posting.key for posting in booked if posting.kind in SPENDING]:
            self.platform.refund([paid[which % len(paid)]] * (1 + twice), advance=advance)

    @rule(user=somebody, which=anything, advance=st.booleans())
    def refund_a_room(self, user: int, which: int, advance: bool) -> None:
        """An operator refunds all payments of a user in one room."""
        if self.platform.rooms:
            room = self.platform.rooms[which % len(self.platform.rooms)]
            booked = [receipt.posting for receipt in self.platform.ledger.journal.values()]
            mine = [posting for posting in booked if posting.room_id == room.id and posting.debit == self._user(user)]
            keys = [posting.key for posting in mine if posting.kind in (Kind.BLOCK, Kind.TICKET)]
            self.platform.refund(keys, advance=advance)

    @precondition(lambda self: self.platform.purchases)
    @rule(which=anything, sure=sure)
    def charge_back(self, which: int, sure: bool) -> None:
        if sure:
            self.platform.reverse_purchase(list(self.platform.purchases)[which % len(self.platform.purchases)])

    # Blocks and bans

    @rule(user=somebody, further=another, what=st.sampled_from(["block", "ban", "nothing"]))
    def quarrel(self, user: int, further: int, what: str) -> None:
        if what == "block":
            self.platform.block(self._user(user), self._other(user, further))
        elif what == "ban":
            self.platform.ban(self._user(user))

    @rule()
    def lift_all_sanctions(self) -> None:
        """Lift all bans, release all wallets, and unblock all users."""
        self.platform.banned.clear()
        for user_id in list(self.platform.frozen):
            self.platform.thaw(user_id)
        for by, user_id in list(self.platform.blocks):
            self.platform.unblock(by, user_id)
