"""The events that one member of a room received, from each join to the end of the membership."""

from collections.abc import Iterable, Iterator
from typing import Any

from server.loadtest.client.client import Event
from server.loadtest.client.positions import ReadPositions


class Visit:
    """The time from a `room:joined` to the next one: the events received, over any number of connections."""

    def __init__(self, joined: Event) -> None:
        self.joined = joined
        self.events: list[Event] = []

    @property
    def epoch(self) -> int:
        return int(self.joined["epoch"])

    @property
    def first_seq(self) -> int:
        return int(self.joined["seq"]) + 1

    @property
    def last_seq(self) -> int:
        return int(self.joined["seq"]) + len(self.events)


class Story(ReadPositions):
    """The events of one session after the other, all in one room."""

    def __init__(self) -> None:
        super().__init__()
        self.visits: list[Visit] = []

    def take(self, event: Event) -> None:
        super().take(event)
        if event["type"] == "room:joined":
            self.visits.append(Visit(event))
        elif "seq" in event:
            self.visits[-1].events.append(event)

    @property
    def inside(self) -> bool:
        """Return whether the member is in the room according to its events."""
        return bool(self._inside)

    @property
    def is_over(self) -> bool:
        """Return whether the room has closed according to the member's events."""
        return bool(self.visits and self.visits[-1].events and self.visits[-1].events[-1]["type"] == "room:closed")

    def events_of(self, kind: str) -> Iterator[Event]:
        return (event for visit in self.visits for event in visit.events if event["type"] == kind)

    def known_tips(self) -> set[str]:
        """Return the ids of tips that were received as events or in the history of a later `room:joined`."""
        past = (by_epoch for visit in self.visits for by_epoch in visit.joined["history"] if "tipId" in by_epoch)
        return {by_epoch["tipId"] for by_epoch in (*self.events_of("tip:new"), *past)}


def check_stories(stories: Iterable[Story]) -> dict[int, int]:
    """Check that all members received the same events without a gap or a duplicate; return the last number by epoch."""
    by_epoch: dict[int, dict[int, Event]] = {}
    for story in stories:
        assert story.faults == []
        epochs = [visit.epoch for visit in story.visits]
        assert epochs == sorted(set(epochs)), f"out of the room although it was not restarted: {epochs}"
        for visit in story.visits:
            _check_visit(visit, by_epoch.setdefault(visit.epoch, {}))
    for epoch, events in by_epoch.items():
        assert sorted(events) == list(range(min(events), max(events) + 1)), (
            f"nobody received some events of epoch {epoch}"
        )
    return {epoch: max(events) for epoch, events in by_epoch.items()}


def _check_visit(visit: Visit, by_epoch: dict[int, Event]) -> None:
    numbers: list[Any] = [event["seq"] for event in visit.events]
    assert numbers == list(range(visit.first_seq, visit.last_seq + 1)), f"epoch {visit.epoch}: {numbers}"
    for event in visit.events:
        assert by_epoch.setdefault(event["seq"], event) == event, "two members received different events"
