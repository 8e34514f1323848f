"""The total length of a list, on whichever page."""

import pytest

from tests.server.rest.conftest import Users


@pytest.mark.parametrize(
    ("limit", "offset", "shown"), [(2, 0, 2), (3, 0, 3), (4, 0, 3), (2, 2, 1), (1, 2, 1), (2, 3, 0)]
)
async def test_each_page_states_the_length_of_the_whole_list(users: Users, limit: int, offset: int, shown: int) -> None:
    creator = await users.creator()
    for title in ("one", "two", "three"):
        assert (await creator.post("/streams", {"title": title, "type": "public"})).status_code == 201
    page = (await creator.get("/streams", creatorId=str(creator.user_id), limit=limit, offset=offset)).json()
    assert (len(page["items"]), page["total"], page["totalCapped"]) == (shown, 3, False)
