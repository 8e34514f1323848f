"""Pictures of calls: before, ringing on both sides, running, and ended in each way."""

from collections.abc import Callable

from tests.web.screenshots.camera import Answer, Camera

CARD = "**/api/creators/*"
RING, BUSY = "**/api/calls/init", {"busy": True, "online": True, "acceptsCalls": True}
REFUSED = {"status": 409, "error": "CREATOR_BUSY", "message": "The creator is in another call"}
NO_CAMERA = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError') }"
RING_BUTTON = "hm-call [part=ring-button]"


def take_before(camera: Camera, people: dict[str, str]) -> None:
    """The card of a creator, and what keeps a fan from calling."""
    fan, place = people["fan"], f"call/{people['owner_id']}"
    camera.take_while_held("call-loading", fan, place, CARD)
    camera.take_failed("call-failed", fan, place, CARD)
    camera.open_as(fan, place)
    camera.find("hm-call [part=card] h2")
    camera.take("call-away")
    _amended(camera, "call-busy", lambda card: card.update(BUSY))
    _amended(camera, "call-takes-none", lambda card: card.update(acceptsCalls=False))
    long = {"displayName": "W" * 80, "about": "word " * 100, "rateTokensPerMin": 1_000_000_000}
    _amended(camera, "call-long-and-short", lambda card: card.update(BUSY | {"busy": False} | long))
    camera.open_as(fan, f"call/{people['bot_id']}")
    camera.find(RING_BUTTON)
    camera.take("call-free")
    camera.refuse(RING, REFUSED)
    camera.press(RING_BUTTON)
    camera.find("hm-call [part=error]")
    camera.take("call-refused")


def _amended(camera: Camera, name: str, change: Callable[[Answer], None]) -> None:
    camera.page.unroute_all()
    camera.amend(CARD, change)
    camera.page.reload()
    camera.find("hm-call [part=card] h2")
    camera.take(name)


def take_running(camera: Camera, people: dict[str, str]) -> None:
    """A fan and a creator: declined, cancelled, and a call from its ring to its receipt."""
    creator = camera.beside()
    creator.open_as(people["owner"])
    creator.find("hm-creator-card")
    camera.open_as(people["fan"], f"call/{people['owner_id']}")
    camera.press(RING_BUTTON)
    creator.find("hm-call .ringing .end")
    creator.take("incoming")
    camera.take("call-rings")
    creator.press("hm-call .ringing .end")
    for each, name in ((camera, "call-declined"), (creator, "incoming-declined")):
        each.find("hm-call [part=ended]")
        each.take(name)
    _accept(camera, creator, people["fan"], people["owner_id"])
    for each, name in ((camera, "call"), (creator, "call-creator")):
        each.find("hm-call video.other")
        each.page.wait_for_timeout(2000)  # until the picture of the other side is there
        each.take(name)
    _pause_and_lose(camera, creator)
    camera.press("hm-call [part=end]")
    for each, name in ((camera, "call-ended"), (creator, "call-creator-ended")):
        each.find("hm-call [part=ended]")
        each.take(name)
    _run_low(camera, creator, people)


def _accept(camera: Camera, creator: Camera, fan: str, creator_id: str) -> None:
    camera.open_as(fan, f"call/{creator_id}")
    camera.press(RING_BUTTON)
    creator.press("hm-call .ringing button:not(.end)")
    camera.find("hm-call [part=meter]")


def _pause_and_lose(camera: Camera, creator: Camera) -> None:
    creator.press("hm-call [part=pause]")
    for each, name in ((camera, "call-paused-by-other"), (creator, "call-paused")):
        each.find("hm-call [part=cover]")
        each.take(name)
    creator.press("hm-call [part=pause]")
    camera.page.locator("hm-call [part=cover]").wait_for(state="detached")
    camera.page.context.set_offline(True)
    camera.find("hm-call [part=connection]")
    camera.take("call-offline")
    camera.page.context.set_offline(False)
    camera.page.locator("hm-call [part=connection]").wait_for(state="detached")


def _run_low(camera: Camera, creator: Camera, people: dict[str, str]) -> None:
    """A fan without a camera whose tokens pay one block, in a call that another device takes over."""
    camera.page.add_init_script(NO_CAMERA)
    _accept(camera, creator, people["caller"], people["owner_id"])
    camera.find("hm-call [part=low]")
    camera.take("call-low")
    camera.press("hm-call [part=low] button")
    camera.find("hm-buy-tokens form button")
    camera.take("call-shop")
    camera.page.keyboard.press("Escape")
    camera.find("hm-call [part=ended]", ms_max=45_000)
    camera.take("call-no-funds")
    creator.page.close()
