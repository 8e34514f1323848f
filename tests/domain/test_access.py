"""Which party may give which command, and when."""

from uuid import UUID

import pytest

from domain.call.access import refuse_command
from domain.call.parties import Role
from domain.call.record import CallRecord
from domain.protocol import commands as c

RINGING = CallRecord()
ACCEPTED = CallRecord(status="active", accepted_at=1)
RUNNING = CallRecord(status="active", accepted_at=1, started_at=2)
PAUSED_BY_FAN = CallRecord(status="paused", accepted_at=1, started_at=2, fan_paused_at=3, holds=("fan",))
ENDED = CallRecord(status="ended", accepted_at=1, started_at=2, ended_at=3, end_reason="hangup")

ALLOWED = {
    (Role.FAN, "ringing"): {"cancel", "end"},
    (Role.CREATOR, "ringing"): {"accept", "decline", "end"},
    (Role.FAN, "accepted"): {"end"},
    (Role.CREATOR, "accepted"): {"end"},
    (Role.FAN, "running"): {"pause", "resume", "end"},
    (Role.CREATOR, "running"): {"pause", "resume", "end"},
    (Role.FAN, "paused by the fan"): {"pause", "resume", "end"},
    (Role.CREATOR, "paused by the fan"): {"pause", "end"},
    (Role.FAN, "ended"): {"end"},
    (Role.CREATOR, "ended"): {"end"},
}
CALLS = {
    "ringing": RINGING,
    "accepted": ACCEPTED,
    "running": RUNNING,
    "paused by the fan": PAUSED_BY_FAN,
    "ended": ENDED,
}
COMMANDS: dict[str, type[c.CallCommand]] = {
    "accept": c.CallAccept,
    "decline": c.CallDecline,
    "cancel": c.CallCancel,
    "pause": c.CallPause,
    "resume": c.CallResume,
    "end": c.CallEnd,
}


def refusal(word: str, role: Role, call: CallRecord) -> str | None:
    refused = refuse_command(COMMANDS[word](call_id=UUID(int=1)), role, call)
    return None if refused is None else refused.code.name


@pytest.mark.parametrize(("role", "state"), ALLOWED)
def test_each_party_may_do_in_each_state_what_the_table_says_and_nothing_else(role: Role, state: str) -> None:
    assert {word for word in COMMANDS if refusal(word, role, CALLS[state]) is None} == ALLOWED[role, state]


def test_an_ended_call_is_named_first() -> None:
    assert {refusal(word, Role.FAN, ENDED) for word in COMMANDS} == {"CALL_ENDED", None}


def test_the_wrong_party_is_named_before_the_wrong_moment() -> None:
    assert refusal("accept", Role.FAN, RUNNING) == "FORBIDDEN"
    assert refusal("accept", Role.CREATOR, RUNNING) == "CALL_NOT_ACTIVE"
    assert refusal("cancel", Role.CREATOR, RUNNING) == "FORBIDDEN"


def test_a_party_that_paused_may_resume_although_the_other_paused_too() -> None:
    both = CallRecord(status="paused", accepted_at=1, started_at=2, fan_paused_at=3, creator_paused_at=4)
    assert refusal("resume", Role.FAN, both) is None
    assert refusal("resume", Role.CREATOR, both) is None
