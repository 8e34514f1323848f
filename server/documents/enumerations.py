"""The enumerations of both documents: their values, and the meaning of each."""

from collections.abc import Mapping
from typing import NamedTuple

from domain.billing.posting import Kind
from domain.call.parties import Hold, Role
from domain.refusals import Code


class Enumeration(NamedTuple):
    """A closed set of texts, in the order in which the documents list them."""

    description: str
    values: Mapping[str, str]


def _lower(meanings: Mapping[Kind, str]) -> dict[str, str]:
    return {kind.name.lower(): meaning for kind, meaning in meanings.items()}


_POSTINGS = _lower(
    {
        Kind.BLOCK: "A block of a call or of a metered stream was paid.",
        Kind.TIP: "A tip was given.",
        Kind.TICKET: "A ticket to a stream was paid into escrow.",
        Kind.PURCHASE: "A pack of tokens was bought for money.",
        Kind.CREDIT: "An operator credited promotional tokens, or took tokens back.",
        Kind.REFUND: "A block, tip or ticket was refunded, or a payout was rejected or reduced.",
        Kind.PAYOUT: "A creator requested to cash tokens out.",
        Kind.RELEASE: "The tokens of a ticket left escrow for the creator.",
        Kind.REPAYMENT: "Earnings repaid an advance for a refund.",
    }
)
_STREAM_ENDS = {
    "ended": "The owner ended it.",
    "owner_lost": "The owner was absent for too long.",
    "server_fault": "The server could not continue it.",
    "admin": "An operator banned the owner.",
    "cancelled": "It was ended before it went live; its tickets are given back.",
    "expired": "It was not started in time; its tickets are given back.",
}
_PURCHASE_STATES = {
    "pending": "The checkout is open; nothing is credited yet.",
    "paid": "The payment arrived and the tokens are credited.",
    "failed": "The payment provider reported a failure.",
    "expired": "The checkout was not paid in time.",
    "review": "A payment arrived that does not fit; an operator decides.",
}

ENUMERATIONS: dict[str, Enumeration] = {
    "AccessReason": Enumeration(
        "Why a user may watch a stream, or may not.",
        {
            "public_stream": "Anybody may watch it.",
            "owner": "It is the caller's own stream.",
            "operator": "The caller is an operator, who pays nothing.",
            "ticket": "The caller has a ticket.",
            "metered": "The caller may watch, and pays by the block.",
            "ticket_required": "No access: the stream needs a ticket.",
            "stream_ended": "No access: the stream has ended.",
            "banned": "No access: the owner blocked or removed the caller, or an operator banned them.",
        },
    ),
    "BlockRounding": Enumeration(
        "How the price of a block is rounded to whole tokens.",
        {
            "up": "Every block costs the rate for its seconds, rounded up.",
            "exact": "The sum of all blocks is rounded up, so that no minute costs more than the rate.",
        },
    ),
    "CallEndReason": Enumeration(
        "Why a call ended.",
        {
            "declined": "While it rang, the creator declined it, blocked the fan, or went live.",
            "cancelled": "The fan stopped ringing.",
            "missed": "Nobody accepted it before `expiresAt`.",
            "hangup": "The fan ended it.",
            "creator_ended": "The creator ended it, or blocked the fan.",
            "insufficient_funds": "A block fell due that the fan could not pay.",
            "budget_reached": "The next block would have exceeded `maxTokens` or the fan's daily limit.",
            "peer_lost": "A party did not join after the accept, or stayed away for too long.",
            "pause_limit": "The pauses of one party lasted too long in total.",
            "server_fault": "The server could not continue it.",
            "admin": "An operator banned a party.",
        },
    ),
    "CallStepName": Enumeration(
        "A change of a call's state.",
        {
            "ringing": "The fan started it.",
            "accepted": "The creator accepted it.",
            "started": "Both parties were present, and block 1 was due.",
            "fan_paused": "The fan paused it, and has not resumed it.",
            "creator_paused": "The creator paused it, and has not resumed it.",
            "ended": "It ended, for the reason beside it.",
        },
    ),
    "CallStatus": Enumeration(
        "The state of a call.",
        {
            "ringing": "The creator has not answered yet; nobody pays.",
            "active": "It is accepted. Its clock runs once both parties have joined.",
            "paused": "Its clock is stopped, for the reasons in `holds`.",
            "ended": "It is over, for the reason in `endReason`.",
        },
    ),
    "DebtStatus": Enumeration(
        "The state of an advance that a creator owes.",
        {
            "open": "A part of it is not repaid.",
            "repaid": "All of it is repaid.",
            "written_off": "Nobody owes it; it was advanced before debts were recorded.",
        },
    ),
    "DemoRole": Enumeration(
        "What a user of the demo is.",
        {
            "creator": "Takes calls and streams.",
            "fan": "Has tokens to spend.",
            "operator": "Has a token with the operator claim.",
        },
    ),
    "EntrySide": Enumeration(
        "Whether an entry took tokens from the wallet or gave it some.",
        {"debit": "Tokens left the wallet.", "credit": "Tokens came into the wallet."},
    ),
    "ErrorCode": Enumeration(
        "The stable code of an error; texts may change.", {code.name: f"{code.title}." for code in Code}
    ),
    "ExportFormat": Enumeration(
        "The form of an export. A response in `ndjson` or `csv` has no Content-Length, and breaks off without its last"
        " chunk if it is not complete.",
        {
            "json": "One page of `limit` rows, with a `Link` to the next one.",
            "ndjson": "All rows of the period, each a line of JSON.",
            "csv": "All rows of the period as CSV with a header: UTF-8, commas, lines ended by a line feed, no quotes.",
        },
    ),
    "Hold": Enumeration(
        "A reason for which the clock of a call is stopped. Each is lifted only by its own cause.",
        {
            Hold.FAN.value: "The fan paused it; only the fan can resume it.",
            Hold.CREATOR.value: "The creator paused it; only the creator can resume it.",
            Hold.ABSENT_FAN.value: "The fan has no connection in the room; lifted when one joins.",
            Hold.ABSENT_CREATOR.value: "The creator has no connection in the room; lifted when one joins.",
            Hold.STORAGE.value: "The database is out of reach; lifted when it answers.",
            Hold.RESTART.value: "The server restarted; lifted when both parties have joined again.",
        },
    ),
    "JoinAs": Enumeration(
        "What a session joins a room as.",
        {"member": "A viewer or party, who receives every event.", "overlay": "A display that receives tips only."},
    ),
    "OperatorAction": Enumeration(
        "What an operator did.",
        {
            "credit": "Credited tokens, or took some back.",
            "refund": "Refunded a tip, a ticket, a call or a viewer's blocks.",
            "ban": "Banned a user.",
            "lift_ban": "Lifted a ban.",
            "pay_payout": "Marked a payout as paid.",
            "reject_payout": "Rejected a payout, whose tokens went back.",
            "credit_purchase": "Credited a purchase whose payment had not been credited.",
            "reject_payment": "Rejected payments that had not been credited.",
            "release_reversal": "Settled a refund or chargeback at the payment provider.",
            "unfreeze": "Unfroze a wallet, by settling the last reversal that held it.",
        },
    ),
    "PartyRole": Enumeration(
        "A user's part in a call or as a payer of blocks.",
        {Role.FAN.value: "The fan or viewer, who pays.", Role.CREATOR.value: "The creator, who is paid."},
    ),
    "PaymentProblem": Enumeration(
        "Why a payment was not credited when it arrived.",
        {
            "unknown": "It belongs to no purchase of this server.",
            "wrong_amount": "Its amount or currency is not that of the purchase.",
            "paid_twice": "The purchase had been paid already.",
            "not_credited": "The wallet could not hold the tokens.",
        },
    ),
    "PaymentStatus": Enumeration(
        "The state of a payment that a provider reported.",
        {
            "accepted": "It pays for its purchase.",
            "open": "It waits for an operator.",
            "rejected": "An operator rejected it.",
        },
    ),
    "PayoutDecision": Enumeration(
        "What an operator decided about a payout.",
        {"paid": "The money was sent.", "rejected": "No money was sent, and the tokens go back to the creator."},
    ),
    "PayoutStatus": Enumeration(
        "The state of a payout.",
        {
            "requested": "It waits for an operator; the tokens have left the wallet.",
            "paid": "The money was sent.",
            "rejected": "No money was sent, and the tokens went back to the creator.",
            "cancelled": "Refunds took all of its tokens.",
        },
    ),
    "PostingKind": Enumeration("Why tokens moved.", _POSTINGS),
    "ProbeStatus": Enumeration(
        "The answer of a probe.", {"ok": "The process answers.", "ready": "The server accepts work."}
    ),
    "PurchaseFilter": Enumeration(
        "The purchases to list, by their state.",
        {**_PURCHASE_STATES, "paid_twice": "A second checkout of the same purchase was paid as well."},
    ),
    "Presence": Enumeration(
        "Whether a creator has a session with a connection, so that calls can ring.",
        {
            "online": "The creator has one; one who has just connected may be missing for a second.",
            "offline": "The creator has none, or has blocked the caller.",
        },
    ),
    "PurchaseStatus": Enumeration("The state of a purchase.", _PURCHASE_STATES),
    "RefundedKind": Enumeration(
        "What was refunded.",
        {name: _POSTINGS[name] for name in ("block", "tip", "ticket")}
        | {"payout": "A payout was rejected or reduced."},
    ),
    "ReportSide": Enumeration(
        "A user's part in a report.",
        {"about": "Others reported the user.", "by": "The user reported others."},
    ),
    "ReversalKind": Enumeration(
        "How the payment provider took money back.",
        {"refund": "The shop refunded the payment.", "chargeback": "The buyer's bank disputed it."},
    ),
    "ReversalStatus": Enumeration(
        "The state of a reversal.",
        {
            "open": "The wallet that was credited is frozen until an operator decides.",
            "expected": "It reverses a payment that was not credited, so that no wallet is frozen.",
            "released": "An operator decided.",
        },
    ),
    "RevocationReason": Enumeration(
        "Why a user lost access to a room.",
        {
            "insufficient_funds": "The next block could not be paid.",
            "ticket_refunded": "The ticket was refunded.",
            "banned": "The creator blocked the user, or an operator banned them.",
            "removed": "The room's owner removed the user.",
            "token_expired": "The present token does not give access any more.",
        },
    ),
    "RoomCloseReason": Enumeration(
        "Why a room closed.",
        {
            **{name: f"The stream ended: {meaning[0].lower()}{meaning[1:]}" for name, meaning in _STREAM_ENDS.items()},
            "moved": "Another server has the room; join again.",
        },
    ),
    "RoomKind": Enumeration("The kind of a room.", {"call": "A call.", "stream": "A stream."}),
    "RoomRole": Enumeration(
        "The role of a connection in a room.",
        {
            "fan": "The party of a call who pays.",
            "creator": "The party of a call who is paid.",
            "owner": "The creator of the stream.",
            "operator": "An operator, who pays nothing.",
            "viewer": "A viewer of a stream.",
            "overlay": "A creator's display of tips.",
        },
    ),
    "SettlementOutcome": Enumeration(
        "What became of an operator's decision about payments.",
        {
            "credit": "The buyer got the tokens of the purchase.",
            "reject": "No tokens were credited.",
            "not_booked": "A credit was decided, and the ledger refused it; the payment is open again.",
        },
    ),
    "SettlementAction": Enumeration(
        "What an operator decided about payments.",
        {
            "credit": "The buyer gets the tokens of the purchase.",
            "reject": "No tokens are credited; the money is returned at the provider, or belongs to another shop.",
        },
    ),
    "StreamEndReason": Enumeration("Why a stream ended.", _STREAM_ENDS),
    "StreamStatus": Enumeration(
        "The state of a stream.",
        {
            "scheduled": "It is announced; tickets can be bought.",
            "live": "It can be joined.",
            "ended": "It is over, for the reason in `endReason`.",
        },
    ),
    "StreamType": Enumeration(
        "Whether watching a stream costs tokens.",
        {"public": "It is free.", "private": "It costs a ticket, or tokens by the block, or both."},
    ),
    "TipDirection": Enumeration(
        "The caller's side of a tip.", {"sent": "The caller gave it.", "received": "The caller got it."}
    ),
    "WalletCause": Enumeration(
        "Why `wallet:changed` was sent.",
        {**_POSTINGS, "resumed": "The session was resumed; this is the present balance, and no tokens moved now."},
    ),
}
