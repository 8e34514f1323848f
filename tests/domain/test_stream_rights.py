"""A connection has the rights of its newest token, which may change during a stream, and its clock with them."""

from domain.ids import UserId
from domain.protocol import events as m
from domain.room import effects
from domain.stream.record import StreamRules
from tests.domain.story import CREATOR, FAN, code, device
from tests.domain.stream_story import OPERATOR, OTHER, StreamStory


def revoked(story: StreamStory, user_id: UserId, number: int = 1) -> list[str]:
    """Return the eviction reasons sent to this connection only."""
    received = [effect for effect in story.done if isinstance(effect, effects.SendToMember)]
    to_it = [effect.event for effect in received if effect.member_id == device(user_id, number)]
    return [event.reason for event in to_it if isinstance(event, m.AccessRevoked)]


def test_a_former_operator_without_a_ticket_is_evicted() -> None:
    story = StreamStory(rate=None, ticket=40).watch()
    story.join(OPERATOR, operator=True)
    story.change_rights(OPERATOR, operator=False)
    assert (story.is_in(OPERATOR), revoked(story, OPERATOR)) == (False, ["token_expired"])
    assert code(story.join(OPERATOR)) == "FORBIDDEN"


def test_a_former_operator_with_a_ticket_is_not_evicted() -> None:
    story = StreamStory(rate=None, ticket=40).watch()
    story.buy_ticket(OPERATOR)
    story.join(OPERATOR, operator=True)
    story.change_rights(OPERATOR, operator=False)
    assert (story.is_in(OPERATOR), revoked(story, OPERATOR)) == (True, [])
    story.refund_ticket(OPERATOR)
    assert not story.is_in(OPERATOR)


def test_an_operator_whom_the_creator_blocked_leaves_with_the_rights() -> None:
    story = StreamStory(rate=None).watch()
    story.join(OPERATOR, operator=True)
    story.block(OPERATOR)
    assert story.is_in(OPERATOR)
    story.change_rights(OPERATOR, operator=False)
    assert (story.is_in(OPERATOR), revoked(story, OPERATOR)) == (False, ["banned"])


def test_a_former_operator_pays_from_then_on() -> None:
    story = StreamStory(balance=100).watch()
    story.join(OPERATOR, operator=True)
    story.wait(300)
    assert story.blocks(OPERATOR) == 0
    story.change_rights(OPERATOR, operator=False)
    assert story.blocks(OPERATOR) == 1
    story.wait(30)
    assert (story.blocks(OPERATOR), story.balance(OPERATOR)) == (2, 40)


def test_a_former_operator_who_cannot_pay_is_evicted() -> None:
    story = StreamStory(balance=0).watch()
    story.join(OPERATOR, operator=True)
    story.change_rights(OPERATOR, operator=False)
    assert (story.is_in(OPERATOR), revoked(story, OPERATOR)) == (False, ["insufficient_funds"])


def test_a_former_operator_whose_funds_are_unknown_is_evicted() -> None:
    story = StreamStory(balance=100).watch()
    story.join(OPERATOR, operator=True)
    story.change_rights(OPERATOR, operator=False, known=False)
    assert (story.is_in(OPERATOR), revoked(story, OPERATOR)) == (False, ["token_expired"])


def test_a_silent_connection_that_loses_its_rights_pays_once_it_is_responsive() -> None:
    story = StreamStory(balance=100).watch()
    story.join(OPERATOR, operator=True)
    story.fall_silent(OPERATOR)
    story.change_rights(OPERATOR, operator=False)
    story.wait(60)
    assert story.blocks(OPERATOR) == 0
    story.be_responsive(OPERATOR)
    assert story.blocks(OPERATOR) == 1


def test_a_viewer_who_becomes_an_operator_pays_no_more_and_keeps_the_rest() -> None:
    story = StreamStory(balance=100).watch(OPERATOR)
    story.wait(10)
    story.change_rights(OPERATOR, operator=True)
    story.wait(300)
    assert (story.blocks(OPERATOR), story.is_in(OPERATOR)) == (1, True)
    story.change_rights(OPERATOR, operator=False)
    story.wait(19)
    assert story.blocks(OPERATOR) == 1
    story.wait(1)
    assert story.blocks(OPERATOR) == 2


def test_an_operators_responsive_connection_does_not_pay_for_another_of_the_user() -> None:
    story = StreamStory(balance=100).watch(FAN)
    story.join(FAN, 2, operator=True)
    story.leave(FAN)
    story.fall_silent(FAN, 2)
    story.be_responsive(FAN, 2)
    story.wait(90)
    assert story.blocks(FAN) == 1


def test_the_rights_of_one_connection_are_not_those_of_another() -> None:
    story = StreamStory(rate=None, ticket=40).watch()
    story.join(OPERATOR, 1, operator=True)
    assert code(story.join(OPERATOR, 2)) == "FORBIDDEN"
    story.buy_ticket(OPERATOR)
    story.join(OPERATOR, 2)
    story.refund_ticket(OPERATOR)
    assert [member.member_id for member in story.stream.members.of(OPERATOR)] == [device(OPERATOR, 1)]
    assert revoked(story, OPERATOR, 2) == ["ticket_refunded"]


def test_an_operator_who_rejoins_as_a_user_has_no_operator_rights() -> None:
    story = StreamStory(rate=None, ticket=40).watch()
    story.join(OPERATOR, operator=True)
    story.leave(OPERATOR)
    assert code(story.join(OPERATOR)) == "FORBIDDEN"
    assert code(story.tip(OPERATOR, 5, over_http=True).answer) == "FORBIDDEN"


def test_a_join_with_another_token_changes_the_rights_of_a_connection_that_is_in() -> None:
    story = StreamStory(balance=100).watch()
    story.join(OPERATOR, operator=True)
    assert isinstance(story.join(OPERATOR), m.RoomJoined)
    assert story.blocks(OPERATOR) == 1
    assert isinstance(story.join(OPERATOR, operator=True), m.RoomJoined)
    story.wait(90)
    assert story.blocks(OPERATOR) == 1


def test_a_refused_join_of_a_connection_that_was_an_operators_ends_its_membership() -> None:
    story = StreamStory(rate=None, ticket=40).watch()
    story.join(OPERATOR, operator=True)
    story.change_rights(OPERATOR, operator=False)
    assert code(story.join(OPERATOR)) == "FORBIDDEN"
    assert not story.is_in(OPERATOR)


def test_more_connections_than_a_payer_may_have_do_not_come_in_as_an_operators() -> None:
    story = StreamStory(balance=1000, rules=StreamRules(connections_per_payer=2)).watch()
    for number in (1, 2, 3):
        story.join(OPERATOR, number, operator=True)
    for number in (1, 2, 3):
        story.change_rights(OPERATOR, number, operator=False)
    assert [member.member_id for member in story.stream.members.of(OPERATOR)] == [
        device(OPERATOR, 1),
        device(OPERATOR, 2),
    ]


def test_the_owner_is_the_owner_with_any_token() -> None:
    story = StreamStory(balance=100)
    story.join(CREATOR, operator=True)
    story.join(OTHER)
    story.change_rights(CREATOR, operator=False)
    story.wait(30)
    assert (story.is_in(CREATOR), story.blocks(OTHER)) == (True, 2)
