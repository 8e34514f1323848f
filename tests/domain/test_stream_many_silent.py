"""The work of a stream for each of many viewers does not grow with their number, however long storage is away."""

from collections import Counter
from uuid import UUID

import pytest

from domain.billing.meter import Meter
from domain.ids import UserId
from domain.room import effects, inputs
from tests.domain.postings import credit
from tests.domain.stream_story import StreamStory
from tests.model.rows import Wallet

LOOKS_MAX = 5  # at one viewer's clock, for each input that is about them


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often some clock is read to be stored, and how often some meter is asked for waiting blocks."""
    counted: Counter[str] = Counter()
    read = Meter.billed_active

    def billed_active(self: Meter, at: int) -> int:
        counted["time"] += 1
        return read(self, at)

    monkeypatch.setattr(Meter, "billed_active", billed_active)
    return counted


def many_viewers(story: StreamStory, size: int) -> list[UserId]:
    """So many viewers, whose first block is paid."""
    viewers = [UserId(UUID(int=0xC0000 + number)) for number in range(size)]
    story.ledger.wallets.update((user_id, Wallet()) for user_id in viewers)
    story.ledger.apply([credit(user_id, 100, f"first {user_id}") for user_id in viewers])
    story.watch(*viewers)
    return viewers


def test_viewers_who_fall_silent_while_no_record_is_stored_are_not_listed_again_for_each(looks: Counter[str]) -> None:
    story = StreamStory()
    viewers = many_viewers(story, 200)
    story.wait(1)
    story.storage_goes_away()
    looks.clear()
    saves = sum(isinstance(effect, effects.Save) for effect in story.done)
    for user_id in viewers:
        story.fall_silent(user_id)
    story.wait(10)
    assert looks["time"] <= LOOKS_MAX * len(viewers)
    assert sum(isinstance(effect, effects.Save) for effect in story.done) == saves + 1, "one is under way"
    story.storage_comes_back()
    assert {story.committer.active[user_id] for user_id in viewers} == {11_000_000}, "all are stored in the end"


def test_changes_while_a_record_is_under_way_are_stored_with_the_next() -> None:
    story = StreamStory(rate=None)
    viewers = many_viewers(story, 3)
    story.storage_goes_away()
    for user_id in viewers:
        story.mute(user_id)
    assert story.committer.stored.muted == ()
    story.storage_comes_back()
    assert set(story.committer.stored.muted) == set(viewers)


def test_the_last_record_of_a_stream_holds_what_waited_for_an_earlier_one() -> None:
    story = StreamStory()
    viewers = many_viewers(story, 3)
    story.wait(1)
    story.storage_goes_away()
    for user_id in viewers:
        story.fall_silent(user_id)
    story.end()
    story.storage_comes_back()
    assert story.stream.settled and story.committer.stored.status == "ended"
    assert {story.committer.active[user_id] for user_id in viewers} == {1_000_000}


def test_an_ended_stream_does_not_look_through_all_its_clocks_for_one_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = StreamStory()
    viewers = many_viewers(story, 200)
    story.storage_goes_away()
    story.wait(31)
    story.end()
    looks = Counter[str]()
    seen = Meter.__getattribute__

    def counting(self: Meter, name: str) -> object:
        looks[name] += 1
        return seen(self, name)

    monkeypatch.setattr(Meter, "__getattribute__", counting)
    [arrival] = story.committer.commit_batch(story.epoch, story.now)
    assert isinstance(arrival, inputs.Receipts)
    for receipt in arrival.receipts:
        story.give(inputs.Receipts((receipt,)))
    assert looks["waiting"] <= 3 * LOOKS_MAX * len(viewers)
    story.storage_comes_back()
    assert story.stream.settled
