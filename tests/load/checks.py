"""The checks after a load run: each is a sentence that must hold, with the failures."""

from collections.abc import Iterable, Sequence

import msgspec

from storage.ledger.audit import Finding
from tests.load.client_pool import PartyReport, Report
from tests.load.figures import PostedBlock, Spread, StoredCall

SHOWN = 10  # failures of one sentence that are shown


class Check(msgspec.Struct, frozen=True):
    """A sentence that holds if nothing failed."""

    sentence: str
    failures: list[str]


def check_bounds(posted: Spread, p99_ms: float, most_ms: float) -> list[Check]:
    """Check the bounds of lateness; a run without blocks fails."""
    return [
        _check(
            f"from due to posted: p99 at most {p99_ms:g} ms",
            [] if posted.p99 <= p99_ms else [f"p99 is {posted.p99} ms over {posted.count:,} blocks"],
        ),
        _check(
            f"from due to posted: never over {most_ms:g} ms",
            [] if posted.most <= most_ms else [f"the latest block was {posted.most} ms late"],
        ),
    ]


def check_calls(wanted: int, report: Report, calls: Sequence[StoredCall]) -> list[Check]:
    """Check that every call lasted until its fan ended it, and that nobody missed an event."""
    reasons = {call.call_id: call.end_reason for call in calls}
    ended = [f"call {call_id}: {reason}" for call_id, reason in reasons.items() if reason != "hangup"]
    missing = [f"{wanted} calls were wanted, {len(reasons)} were rung"] if len(reasons) != wanted else []
    faults = [
        f"call {call.call_id}: {fault}"
        for call in report.calls
        for party in (call.fan, call.creator)
        for fault in party.faults
    ]
    return [
        _check("every call lasted until its fan ended it", missing + ended),
        _check("every event came once and in order, none was an error", faults),
    ]


def check_blocks(report: Report, calls: Sequence[StoredCall], blocks: Sequence[PostedBlock]) -> list[Check]:
    """Check that the journal, the lengths of the calls and both parties agree on every block."""
    booked: dict[str, list[tuple[int, int]]] = {call.call_id: [] for call in calls}
    for block in blocks:
        booked[block.call_id].append((block.block_no, block.tokens))
    behind = [
        f"call {call.call_id}: {len(booked[call.call_id])} blocks, {call.due_blocks} were due"
        for call in calls
        if [block_no for block_no, _ in booked[call.call_id]] != list(range(1, (call.due_blocks or 0) + 1))
    ]
    differing = [
        f"call {call.call_id}: the {end} saw {_blocks(party)}, the journal holds {booked.get(call.call_id)}"
        for call in report.calls
        for end, party in (("fan", call.fan), ("creator", call.creator))
        if not _agrees(party, booked.get(call.call_id, []))
    ]
    return [
        _check("every block that fell due is in the journal, without a gap", behind),
        _check("both ends of every call saw the blocks that the journal holds", differing),
    ]


def check_server(findings: Iterable[Finding], exit_code: int | None) -> list[Check]:
    """Check that the ledger is sound, and that the server ended normally."""
    return [
        _check("the ledger is sound", [f"{finding.sentence}: {finding.rows}" for finding in findings if finding.rows]),
        _check("the server drained and stopped", [] if exit_code == 0 else [f"its exit code is {exit_code}"]),
    ]


def _blocks(party: PartyReport) -> list[tuple[int, int]]:
    return [(block.block_no, block.tokens) for block in party.blocks]


def _agrees(party: PartyReport, booked: list[tuple[int, int]]) -> bool:
    totals = (party.end_blocks, party.end_tokens)
    return _blocks(party) == booked and totals == (len(booked), sum(tokens for _, tokens in booked))


def _check(sentence: str, failures: list[str]) -> Check:
    more = len(failures) - SHOWN
    return Check(sentence, failures[:SHOWN] + ([f"… and {more} more"] if more > 0 else []))
