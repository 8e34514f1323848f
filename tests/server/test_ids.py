"""Ids sort by the time they were made; a channel cannot be guessed."""

from server.ids import is_channel, new_channel, new_uuid


def test_ids_are_of_version_seven_and_sort_as_they_were_made() -> None:
    made = [new_uuid() for _ in range(1000)]
    assert {each.version for each in made} == {7}
    assert made == sorted(made)


def test_a_channel_is_a_nanoid_of_at_least_twenty_one_characters() -> None:
    made = {new_channel() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(channel) >= 21 and is_channel(channel) for channel in made)
    assert len({character for channel in made for character in channel}) == 64
