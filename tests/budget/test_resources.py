"""Every resource that a client can hold: its bound, what counts it, and the test that reaches the bound."""

import re
from pathlib import Path

import msgspec
import pytest

from server.config.settings import Settings
from tests.budget.connection_resources import OF_CONNECTIONS
from tests.budget.resource import Resource
from tests.budget.room_resources import OF_ROOMS
from tests.budget.user_resources import OF_USERS

ROOT = Path(__file__).parents[2]
RESOURCES = (*OF_CONNECTIONS, *OF_USERS, *OF_ROOMS)

# Settings of the same sections that bound nothing that a client holds.
NO_BOUNDS = {
    "limits.exempt",
    "rooms.presence_limit",  # beyond it members are only counted
    "rooms.history_seconds",
    "calls.block_seconds",
    "calls.block_rounding",
}


def bounding_settings() -> set[str]:
    """Return the settings that bound a number, of the sections about what clients may do."""
    return {
        f"{section}.{key}"
        for section in ("limits", "rooms", "streams", "calls", "overlays")
        for key in msgspec.structs.asdict(getattr(Settings(), section))
        if not key.endswith(("_per_second", "_seconds", "_days"))
    } - NO_BOUNDS


def test_every_setting_that_bounds_clients_has_its_resource_in_the_table() -> None:
    assert bounding_settings() - {resource.bound for resource in RESOURCES} == set()


def test_the_table_of_resources_can_be_printed() -> None:
    print("\n| resource | bound | counted by | reached by |\n|---|---|---|---|")
    for resource in RESOURCES:
        print(
            f"| {resource.name} | {resource.bound} = {value_of(resource)} | {resource.counted_by} | {resource.test} |"
        )
    assert all(value_of(resource) is not None for resource in RESOURCES)


def value_of(resource: Resource) -> object:
    """Return the default value of the resource's bound; None if there is none."""
    place, colon, name = resource.bound.partition(":")
    if colon:
        found = re.search(rf"^{name} = ([^#\n]*)", (ROOT / place).read_text(), re.MULTILINE)
        return found and found[1].strip()
    section, _, key = resource.bound.partition(".")
    return msgspec.structs.asdict(getattr(Settings(), section)).get(key)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_every_resource_has_a_bound_a_counter_and_a_test(resource: Resource) -> None:
    place, colon, name = resource.bound.partition(":")
    if colon:
        assert re.search(rf"^{name} = ", (ROOT / place).read_text(), re.MULTILINE)
    else:
        section, _, key = resource.bound.partition(".")
        assert key in msgspec.structs.asdict(getattr(Settings(), section))
        assert re.search(rf"^{key} = ", (ROOT / "config.toml").read_text(), re.MULTILINE)
    assert (ROOT / resource.counted_by).is_file()
    file, _, test = resource.test.partition("::")
    assert f"def {test}(" in (ROOT / file).read_text()
