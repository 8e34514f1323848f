"""The interfaces of wsproto that the gateway relies on."""

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection
from wsproto.frame_protocol import FrameProtocol
from wsproto.handshake import H11Handshake

from server.gateway import frame_reader
from tests.libraries.reliance import Reliance, changes, taken_names

READ_IN = ("1.2", "1.3")
FILE, HANDSHAKE = "server/gateway/frame_reader.py", "server/gateway/handshake.py"
RELIANCES = (
    Reliance(
        Connection,
        "__init__",
        FILE,
        "`_Parser` is one that needs no handshake",
        ("self", "connection_type", "extensions", "trailing_data"),
    ),
    Reliance(
        Connection,
        "events",
        FILE,
        "`_Parser.events` extends it; check that it can be left between two events and called again",
        ("self",),
        ("for frame in self._proto.received_frames():", "except ParseFailed as exc:"),
    ),
    Reliance(Connection, "receive_data", FILE, "trio-websocket's reader calls it", ("self", "data")),
    Reliance(Connection, "send", FILE, "trio-websocket's reader calls it", ("self", "event")),
    Reliance(
        H11Handshake,
        "receive_data",
        HANDSHAKE,
        "`_request_of` calls it with a whole request; check which exceptions it raises for a malformed one",
        ("self", "data"),
        ("raise RemoteProtocolError(",),
    ),
    Reliance(H11Handshake, "events", HANDSHAKE, "`_request_of` takes the Request from it", ("self",)),
    Reliance(H11Handshake, "send", HANDSHAKE, "it builds the answers", ("self", "event")),
)


def test_wsproto_has_the_interfaces_that_we_rely_on() -> None:
    assert changes("wsproto", READ_IN, RELIANCES) == []


def test_a_frame_that_violates_the_protocol_leaves_the_connection_open() -> None:
    """By this `_Parser` recognises that the library would send no Close frame."""
    parser = Connection(ConnectionType.SERVER)
    parser.receive_data(b"\x81\x01x")  # not masked
    event = next(parser.events())
    assert isinstance(event, CloseConnection) and event.code == 1002
    assert parser.state is ConnectionState.OPEN, f"{FILE}: _Parser.events sends a Close frame only in the state OPEN"


def test_a_close_frame_of_the_client_does_not() -> None:
    parser, client = Connection(ConnectionType.SERVER), FrameProtocol(client=True, extensions=[])
    parser.receive_data(bytes(client.close(1000)))
    assert isinstance(next(parser.events()), CloseConnection)
    assert parser.state is not ConnectionState.OPEN, f"{FILE}: _Parser.events would send a second Close frame"


def test_our_subclass_uses_no_name_of_the_library() -> None:
    theirs = Connection(ConnectionType.SERVER)
    assert taken_names(frame_reader._Parser, theirs, ["events"]) == []
    for name in ("limits", "send_queue"):
        assert not hasattr(theirs, name), f"{FILE}: rename _Parser.{name}"
