"""Posting keys: one for every posting, and none of one key space can be made in another."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.ids import PostingKey, RoomId, UserId, block_key, client_key, content_digest, refund_key, refund_rest_key

ROOM = RoomId(UUID(int=1))
USER = UserId(UUID(int=2))


def test_the_same_block_has_the_same_key_whenever_it_is_derived() -> None:
    assert block_key(ROOM, USER, 7) == block_key(RoomId(UUID(int=1)), UserId(UUID(int=2)), 7)


def test_another_room_payer_or_number_is_another_key() -> None:
    keys = {
        block_key(ROOM, USER, 7),
        block_key(ROOM, USER, 8),
        block_key(RoomId(UUID(int=3)), USER, 7),
        block_key(ROOM, UserId(UUID(int=3)), 7),
        block_key(RoomId(USER), UserId(ROOM), 7),
    }
    assert len(keys) == 5


def test_keys_are_sixteen_bytes() -> None:
    assert {
        len(block_key(ROOM, USER, 1)),
        len(client_key(USER, "a" * 255)),
        len(refund_key(PostingKey(b"x" * 16))),
        len(refund_rest_key(PostingKey(b"x" * 16))),
    } == {16}


def test_two_users_may_use_the_same_key() -> None:
    assert client_key(USER, "tip-1") != client_key(UserId(UUID(int=3)), "tip-1")


@given(st.integers(1, 1000))
def test_a_client_key_shaped_like_a_block_key_is_not_one(block_no: int) -> None:
    for shaped in (
        block_key(ROOM, USER, block_no).hex(),
        block_key(ROOM, USER, block_no).decode("latin-1"),
        (ROOM.bytes + USER.bytes + block_no.to_bytes(8, "big")).decode("latin-1"),
        f"block{ROOM}{USER}{block_no}",
    ):
        assert client_key(USER, shaped) != block_key(ROOM, USER, block_no)


def test_a_refund_of_a_posting_is_no_key_of_a_client_or_a_block() -> None:
    paid = block_key(ROOM, USER, 1)
    refunds = {refund_key(paid), refund_rest_key(paid)}
    assert len(refunds | {paid, client_key(USER, paid.hex()), refund_key(refund_key(paid))}) == 5


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_contents_are_the_same_only_when_every_part_is(some: list[str], others: list[str]) -> None:
    assert (content_digest(*some) == content_digest(*others)) == (some == others)
