"""The frames that the load tool's own websocket sends, as another library reads them."""

import pytest
from websockets.frames import Frame
from websockets.streams import StreamReader

from server.loadtest.client.frames import BINARY, masked_frame


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 70_000])
def test_a_frame_of_any_size_is_read_by_others(size: int) -> None:
    reader = StreamReader()
    reader.feed_data(masked_frame(BINARY, b"x" * size))
    parsing = Frame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as parsed:
        next(parsing)
    assert parsed.value.value.data == b"x" * size
