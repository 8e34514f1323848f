"""The NATS protocol: operations are found in any pieces of bytes, and a broker that breaks it is left."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cluster.nats_protocol import (
    LINE_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    Answered,
    Asked,
    Delivery,
    Info,
    Operation,
    OperationReader,
    ProtocolFault,
    Refused,
    connect,
    publish,
    subscribe,
)
from server.config.broker_addresses import read_broker_addresses

INFO = b'INFO {"server_id":"N","max_payload":1000,"tls_required":true,"headers":true} \r\n'
SAID = (
    (INFO, Info(1000, True)),
    (b"PING\r\n", Asked()),
    (b"PONG\r\n", Answered()),
    (b"-ERR 'Authorization Violation'\r\n", Refused("Authorization Violation")),
    (b"MSG hm.a.postings 3 5\r\nhello\r\n", Delivery(3, b"hello")),
    (b"MSG hm.a.postings 3 reply.to 5\r\n\r\nP\r\n\r\n", Delivery(3, b"\r\nP\r\n")),
    (b"MSG hm.a.postings 0 0\r\n\r\n", Delivery(0, b"")),
    (b"+OK\r\n", None),
)


@given(st.lists(st.sampled_from(SAID), max_size=8), st.lists(st.integers(0, 400), max_size=6))
def test_operations_are_found_in_any_pieces(said: list[tuple[bytes, Operation | None]], cuts: list[int]) -> None:
    whole = b"".join(data for data, _ in said)
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    reader = OperationReader()
    found = [each for start, end in pairwise(edges) for each in reader.feed(whole[start:end])]
    assert found == [operation for _, operation in said if operation is not None]
    assert reader.is_between


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"MSG hm.a.postings 3\r\n",
        b"MSG hm.a.postings x 5\r\nhello\r\n",
        b"MSG hm.a.postings 3 -1\r\n",
        b"MSG hm.a.postings 3 5\r\nhello, world\r\n",
        f"MSG hm.a.postings 3 {MESSAGE_BYTES_MAX + 1}\r\n".encode(),
        b"MSG hm.a.postings 3 reply.to more 5\r\n",
        b"INFO {\r\n",
        b'INFO {"max_payload":"many"}\r\n',
        b"x" * (LINE_BYTES_MAX + 1),
        b"\r\n",
    ],
)
def test_what_the_protocol_does_not_have_is_a_fault(sent: bytes) -> None:
    with pytest.raises(ProtocolFault):
        OperationReader().feed(sent)


def test_a_message_is_sent_as_it_would_be_received() -> None:
    assert subscribe("hm.a.postings", 3) == b"SUB hm.a.postings 3\r\n"
    assert publish("hm.a.postings", b"\r\nhello") == b"PUB hm.a.postings 7\r\n\r\nhello\r\n"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://broker", {}),
        ("nats://a%40b:p%2Fss@broker", {"user": "a@b", "pass": "p/ss"}),
        ("tls://token@broker", {"auth_token": "token", "tls_required": True}),
    ],
)
def test_the_introduction_has_the_credentials_of_the_address(url: str, shown: dict[str, object]) -> None:
    (address,) = read_broker_addresses(url)
    said = connect(address, name="halfminute")
    assert said.startswith(b"CONNECT {")
    assert said.endswith(b"}\r\nPING\r\n")
    options = json.loads(said.split(b"\r\n")[0].removeprefix(b"CONNECT "))
    credentials = {name: options[name] for name in ("user", "pass", "auth_token") if name in options}
    assert {**credentials, **({"tls_required": True} if options["tls_required"] else {})} == shown
    assert (options["echo"], options["verbose"], options["name"]) == (False, False, "halfminute")
