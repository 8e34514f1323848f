"""Holds a call with nothing but what is generated from the two documents: a REST client, and models of the events.

`python hold_call.py ADDRESS FAN_TOKEN CREATOR_TOKEN CREATOR_ID`; prints the first block and the end as JSON.
"""

import json
import sys
from uuid import UUID

from CallBlockCharged import CallBlockCharged
from CallEnded import CallEnded
from CallRinging import CallRinging
from client import AuthenticatedClient, Client
from client.api.billing import get_billing_call_id, post_billing_call_id_stop
from client.api.calls import post_calls_call_id_accept, post_calls_init
from client.api.config import get_config
from client.models import CallWanted
from RoomJoined import RoomJoined
from SessionReady import SessionReady
from websockets.sync.client import ClientConnection, connect

EVENTS = {
    "session:ready": SessionReady,
    "call:ringing": CallRinging,
    "room:joined": RoomJoined,
    "block:charged": CallBlockCharged,
    "call:ended": CallEnded,
}
PATIENCE_SECONDS = 20


class Phone:
    """One user's REST client and websocket."""

    def __init__(self, address: str, url: str, token: str) -> None:
        self.rest = AuthenticatedClient(base_url=address, token=token, raise_on_unexpected_status=True)
        self._socket: ClientConnection = connect(url, subprotocols=["halfminute.v1.json"], ping_interval=None)
        self.send(type="session:open", token=token)
        self.next("session:ready")

    def send(self, **message: str) -> None:
        self._socket.send(json.dumps(message))

    def next(self, kind: str):
        """Wait for an event of this kind, and return it as its generated model."""
        while True:
            message = json.loads(self._socket.recv(PATIENCE_SECONDS))
            if message["type"] == "error":
                raise RuntimeError(message["message"])
            if message["type"] == kind:
                return EVENTS[kind].model_validate(message)

    def close(self) -> None:
        self._socket.close()


def hold_call(address: str, fan_token: str, creator_token: str, creator_id: str) -> dict[str, object]:
    url = get_config.sync(client=Client(base_url=address)).websocket_url
    fan, creator = Phone(address, url, fan_token), Phone(address, url, creator_token)
    rung = post_calls_init.sync(client=fan.rest, body=CallWanted(creator_id=UUID(creator_id)))
    ringing = creator.next("call:ringing")
    call_id = UUID(ringing.callId)
    post_calls_call_id_accept.sync(call_id, client=creator.rest)
    for phone in (fan, creator):
        phone.send(type="room:join", channel=rung.channel)
        phone.next("room:joined")
    block = fan.next("block:charged")
    post_billing_call_id_stop.sync(call_id, client=fan.rest)
    ended = creator.next("call:ended")
    receipt = get_billing_call_id.sync(call_id, client=fan.rest)
    for phone in (fan, creator):
        phone.close()
    return {"blockNo": block.blockNo, "reason": str(ended.reason.value), "tokens": receipt.totals.tokens}


if __name__ == "__main__":
    print(json.dumps(hold_call(*sys.argv[1:])))
