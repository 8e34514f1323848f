"""The users and streams in the pictures."""

from typing import Any

from server.demo.users import ANSWERING
from tests.web.demo import Demo, Person

LONG_TITLE = "A long evening of questions and answers " * 5  # 200 characters, the most that a title has
FAN_TOKENS, RICH_TOKENS = 5_000, 100_000_000
POOR_TOKENS = 20  # less than a block
BLOCK_AND_A_BIT = 35  # a block of the owner's rate of 60 tokens a minute, and less than another one


def make_people(demo: Demo) -> dict[str, str]:
    """Return tokens and ids by name."""
    items = demo.get("/api/demo/users").json()["items"]
    named = {each["displayName"]: each["token"] for each in items}
    owner, meter_owner = demo.creator("Lea"), demo.creator("Noor")
    fan = demo.person(FAN_TOKENS, "Finn")
    people = {"finn": named["Finn"], "operator": named["Otto"], "bot_id": str(ANSWERING.user_id)}
    people |= {"fan": fan.token, "fan_id": fan.user_id, "new": demo.person().token}
    people |= {"owner": owner.token, "owner_id": owner.user_id, "meter_owner": meter_owner.token}
    people |= {"rich": demo.person(RICH_TOKENS, "Maximiliane-Alexandra von und zu Hohenstein-Wittelsbach").token}
    people |= {"poor": demo.person(POOR_TOKENS, "Pia").token, "buyer": demo.person(name="Ben").token}
    people |= {"other": demo.person(FAN_TOKENS, "Ola").token, "viewer": demo.person(BLOCK_AND_A_BIT, "Vic").token}
    people |= {"caller": demo.person(BLOCK_AND_A_BIT, "Cem").token}
    return people | _streams(demo, owner, meter_owner) | _creators(demo, fan)


def _streams(demo: Demo, owner: Person, meter_owner: Person) -> dict[str, str]:
    ticket = {"type": "private", "ticketPriceTokens": 150}
    streams = {
        "ended": _ended_stream(demo, demo.creator("Ada")),
        "free": demo.live_stream(demo.creator("Fay"), title="Breakfast with Fay"),
        "show": demo.live_stream(demo.creator("Sue"), title="The evening show", **ticket),
        "metered": demo.live_stream(meter_owner, title="Piano by the minute", type="private", rateTokensPerMin=60),
        "scheduled": demo.stream(demo.creator("Ida"), title="Next week's show", **ticket, rateTokensPerMin=20),
        "long": demo.live_stream(demo.creator("W" * 80, 1_000_000_000), title=LONG_TITLE, **ticket),
        "waiting": demo.stream(owner, title="Questions at night"),
    }
    return {name: stream["id"] for name, stream in streams.items()}


def _ended_stream(demo: Demo, owner: Person) -> Any:
    stream = demo.live_stream(owner, title="The morning show")
    demo.send(f"/streams/{stream['id']}/end", owner)
    return stream


def _creators(demo: Demo, fan: Person) -> dict[str, str]:
    """Creators with and without a history, of whom the operators have something to decide."""
    earner, streamer = demo.creator("Nia"), demo.creator("Ava")
    giver, rude = demo.person(name="Gus"), demo.person(name="Rude Ruben")
    demo.buy(giver, "large", times=2)
    demo.tip(giver, earner, 1_900, "for the song")
    demo.tip(fan, earner, 60)
    demo.send("/payouts", earner, {"tokens": 1_000})
    _ended_stream(demo, earner)
    demo.stream(earner, title="Next week's show", type="private", ticketPriceTokens=150)
    demo.live_stream(earner, title="Questions at noon")
    demo.change(f"/creators/me/blocks/{rude.user_id}", earner, {})
    demo.send("/overlay-tokens", earner, {"name": "An old machine"})
    demo.send("/reports", earner, {"userId": rude.user_id, "reason": "shouts " * 40})
    operator = demo.person(role="operator")
    demo.send("/admin/bans", operator, {"userId": rude.user_id, "reason": "threats in chat"})
    secret = demo.send("/overlay-tokens", streamer, {"name": "pictures"})["secret"]
    people = {"beginner": demo.creator("Bea").token, "earner": earner.token}
    return people | {"streamer": streamer.token, "streamer_id": streamer.user_id, "overlay": secret}
