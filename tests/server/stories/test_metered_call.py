"""A call is paid in blocks of a second, while a cron job calls the sweep webhook as well."""

from typing import Any

from tests.support.clients import Phone, ring_and_join
from tests.support.cron import Cron
from tests.support.live_server import LiveServer
from tests.support.processes import eventually


def test_a_call_is_paid_block_by_block_however_often_the_webhook_is_called_at_once(live_server: LiveServer) -> None:
    fan, creator = live_server.fan(100), live_server.creator(rate_tokens_per_min=120)
    ring = ring_and_join(fan, creator)
    with Cron(live_server, at_once=2) as cron:
        fan.wait_for("block:charged", blockNo=3)
    fan.send({"type": "call:end", "callId": ring["callId"]})
    ended = creator.wait_for("call:ended")
    assert _numbers(fan) == _numbers(creator) == list(range(1, ended["blocks"] + 1))
    billing = fan.http.get(f"/billing/{ring['callId']}").json()
    assert [(block["blockNo"], block["tokens"]) for block in billing["blocks"]] == [(n, 2) for n in _numbers(fan)]
    assert billing["totals"]["tokens"] == ended["tokens"] == 2 * ended["blocks"]
    assert (fan.balance(), creator.balance()) == (100 - ended["tokens"], ended["tokens"])
    lines = [line for answer in cron.answers for line in answer["results"]]
    assert {(line["callId"], line["success"], line["platformFee"]) for line in lines} == {(ring["callId"], True, 0)}
    assert cron.metered() <= ended["blocks"] <= ended["activeSeconds"] + 1, "no sweep makes a block fall due"
    live_server.check_ledger()


def test_a_cron_goes_on_over_a_restart_and_nobody_is_billed_for_it(live_server: LiveServer) -> None:
    fan, creator = live_server.fan(100), live_server.creator()
    ring = ring_and_join(fan, creator)
    with Cron(live_server) as cron:
        fan.wait_for("block:charged", blockNo=2)
        live_server.server.terminate()
        assert live_server.server.wait_exit() == 0
        missed = cron.unanswered
        eventually(lambda: cron.unanswered > missed, "a sweep that nobody answers")
        charged = _numbers(fan)
        live_server.server.start()
        answered = len(cron.answers)
        eventually(lambda: len(cron.answers) >= answered + 10, "sweeps while nobody is in the call")
        assert fan.http.get(f"/billing/{ring['callId']}").json()["totals"]["blocks"] == charged[-1]
        for phone in (fan, creator):
            _come_back(phone, ring["channel"])
        fan.wait_for("block:charged", blockNo=charged[-1] + 1)
        creator.ask_ok({"type": "call:end", "callId": ring["callId"]})
        ended = fan.wait_for("call:ended")
    assert _numbers(fan) == list(range(1, ended["blocks"] + 1))
    assert ended["blocks"] <= ended["activeSeconds"] + 1
    assert ended["tokens"] == ended["blocks"] - 1, "of the last block less was used than a payee may cut short"
    assert (fan.balance(), creator.balance()) == (100 - ended["tokens"], ended["tokens"])
    live_server.check_ledger()


def _come_back(phone: Phone, channel: str) -> None:
    phone.open()
    joined: dict[str, Any] = phone.join(channel)
    assert (joined["type"], joined["room"]["status"]) == ("room:joined", "paused"), joined


def _numbers(phone: Phone) -> list[int]:
    """Return the block numbers that this party received."""
    return [event["blockNo"] for event in phone.all_events("block:charged")]
