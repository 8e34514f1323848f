"""The invariants of the platform model: of the ledger after every step, and of the bills at the end."""

from domain.billing.posting import Kind, Posting
from domain.ids import ESCROW, LOSSES, PAYOUTS, TOKEN_SALES, PostingKey, UserId, release_key
from tests.colluders.platform_model import CENTS_PER_TOKEN, PlatformModel
from tests.colluders.rooms import CallRoom
from tests.model.ledger import Ledger
from tests.model.rows import SPENDING, MeterRow


def check_ledger(platform: PlatformModel) -> None:
    """Check the ledger after a step."""
    ledger = platform.ledger
    assert ledger.total() == 0, "a token appeared"
    for user_id in platform.users:
        wallet = ledger.wallets[user_id]
        assert min(wallet.balance, wallet.promotional, wallet.earned, wallet.bought, wallet.owed) >= 0, (
            "a part is negative"
        )
        assert wallet.owed == 0 or wallet.earned == 0, "debts come before earnings"
        assert wallet.owed == _owed(ledger, user_id), "debts are what was advanced"
    advanced = sum(debt.tokens - debt.repaid for debt in ledger.debts)
    assert _balance(ledger, LOSSES) == -advanced, "debts are what was advanced"
    assert _balance(ledger, ESCROW) == sum(posting.tokens for posting in _in_escrow(ledger)), (
        "escrow is unreleased tickets"
    )
    cashed = platform.cashed_cents // CENTS_PER_TOKEN
    assert _balance(ledger, PAYOUTS) == cashed + sum(ledger.payouts.values()), "payouts are what was cashed or may be"
    _check_cash(platform, advanced)
    _check_meters(ledger)


def _check_cash(platform: PlatformModel, advanced: int) -> None:
    """Check that no promotional token is cashed out, and no more cents than were paid or advanced by an operator."""
    ledger = platform.ledger
    wallets = [ledger.wallets[user_id] for user_id in platform.users]
    paid_for = sum(wallet.balance - wallet.promotional for wallet in wallets) + _balance(ledger, PAYOUTS)
    for ticket in _in_escrow(ledger):
        paid_for += ticket.tokens - ledger.parts[ticket.key][0].promotional
    assert paid_for <= -_balance(ledger, TOKEN_SALES) + advanced, "promotional tokens became cashable"
    bought_cents = platform.bought_cents - platform.reversed_cents + platform.lost_cents
    assert platform.cashed_cents <= bought_cents + CENTS_PER_TOKEN * advanced, "more was cashed out than bought"


def _check_meters(ledger: Ledger) -> None:
    blocks: dict[object, list[Posting]] = {}
    refunded: dict[object, set[bytes | None]] = {}
    for receipt in ledger.journal.values():
        posting = receipt.posting
        if posting.kind is Kind.BLOCK:
            blocks.setdefault((posting.room_id, posting.debit), []).append(posting)
        elif posting.kind is Kind.REFUND and posting.content in ledger.journal:
            refunded.setdefault((posting.room_id, posting.credit), set()).add(posting.content)
    for place, row in ledger.meters.items():
        paid = blocks.get(place, [])
        back = [posting for posting in paid if posting.key in refunded.get(place, ())]
        tokens = [sum(posting.tokens for posting in postings) for postings in (paid, back)]
        assert row == MeterRow(len(paid), tokens[0], len(back), tokens[1])
        assert [posting.block_no for posting in paid] == list(range(1, len(paid) + 1)), "each block is paid once"


def check_bills(platform: PlatformModel) -> None:
    """Check at the end that each payer received events for all that they paid, and paid for nothing else."""
    accountant, journal = platform.accountant, platform.ledger.journal
    for user_id in platform.users:
        assert _paid(platform.ledger, user_id) == accountant.bill(user_id) + _unreported(platform, user_id), (
            "a bill is wrong"
        )
    for room in platform.rooms:
        assert room.ended
        if room.opened:
            accountant.check_time(room)
    back: dict[bytes, int] = {}
    for posting in (receipt.posting for receipt in journal.values()):
        if posting.kind is Kind.REFUND and posting.content is not None:
            back[posting.content] = back.get(posting.content, 0) + posting.tokens
    assert all(tokens <= journal[PostingKey(key)].posting.tokens for key, tokens in back.items()), "given back twice"
    calls = [room for room in platform.rooms if isinstance(room, CallRoom)]
    assert all(platform.ledger.rooms[call.id].ended for call in calls)


def _paid(ledger: Ledger, user_id: UserId) -> int:
    postings = [receipt.posting for receipt in ledger.journal.values()]
    paid = sum(posting.tokens for posting in postings if posting.debit == user_id and posting.kind in SPENDING)
    refunds = [posting for posting in postings if posting.kind is Kind.REFUND and posting.debit != PAYOUTS]
    return paid - sum(posting.tokens for posting in refunds if posting.credit == user_id)


def _unreported(platform: PlatformModel, user_id: UserId) -> int:
    """Return the tokens of this user's postings that committed without an event, because their server crashed."""
    journal = platform.ledger.journal
    booked = [journal[key].posting for key in platform.accountant.unsure if key in journal]
    mine = [posting for posting in booked if posting.debit == user_id and not platform.accountant.knows(posting)]
    return sum(posting.tokens for posting in mine)


def _owed(ledger: Ledger, user_id: UserId) -> int:
    return sum(debt.tokens - debt.repaid for debt in ledger.debts if debt.debtor == user_id)


def _in_escrow(ledger: Ledger) -> list[Posting]:
    held = (key for key in ledger.tickets.values() if release_key(key) not in ledger.journal)
    return [ledger.journal[key].posting for key in held if ledger.journal[key].posting.credit == ESCROW]


def _balance(ledger: Ledger, wallet_id: UserId) -> int:
    return ledger.wallets[wallet_id].balance
