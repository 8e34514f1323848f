"""Pictures of streams: before, while and after they are watched, of tickets and tips, and as their owner sees them."""

from tests.web.screenshots.camera import Answer, Camera

STREAM, ACCESS = "**/api/streams/*", "**/api/streams/*/access"
TICKETS, TIPS = "**/api/streams/*/tickets", "**/api/tips/send"
UNAVAILABLE = {"status": 503, "error": "STORAGE_UNAVAILABLE", "message": "The database is away"}
BANNED = {"hasAccess": False, "reason": "banned"}
TIP_OPEN = "hm-tip-button [part=button]"
AMOUNT = "hm-tip-button input[type=number]"


def take_cards(camera: Camera, people: dict[str, str]) -> None:
    """Streams before they are joined, and their tickets."""
    fan, poor, show = people["fan"], people["poor"], f"stream/{people['show']}"
    camera.take_while_held("stream-loading", fan, show, STREAM)
    camera.take_failed("stream-failed", fan, show, STREAM)
    for name in ("free", "show", "metered", "scheduled", "ended", "long"):
        camera.open_as(fan, f"stream/{people[name]}")
        camera.find("hm-stream [part=card] h2")
        camera.take(f"stream-{name}")
    camera.open_as(fan, show)
    camera.amend(ACCESS, lambda access: access.update(BANNED))
    camera.page.reload()
    camera.find("hm-stream [part=card] h2")
    camera.take("stream-banned")
    camera.open_as(poor, f"stream/{people['metered']}")
    camera.find("hm-stream [part=shortfall]")
    camera.take("stream-short")
    _tickets(camera, people, show)


def _tickets(camera: Camera, people: dict[str, str], show: str) -> None:
    camera.open_as(people["poor"], show)
    _open_ticket(camera)
    camera.find("hm-ticket-dialog .warn")
    camera.take("ticket-short")
    camera.press("hm-ticket-dialog button:not(.quiet):not([aria-label])")
    camera.find("hm-buy-tokens form button")
    camera.take("ticket-shop")
    camera.open_as(people["fan"], show)
    _open_ticket(camera)
    camera.find("hm-ticket-dialog [part=buy]")
    camera.take("ticket")
    camera.refuse(TICKETS, UNAVAILABLE)
    camera.press("hm-ticket-dialog [part=buy]")
    camera.find("hm-ticket-dialog [role=alert]", ms_max=30_000)
    camera.take("ticket-unsettled")
    camera.page.unroute_all()
    camera.press("hm-ticket-dialog [role=alert] + button, hm-ticket-dialog [part=buy]")
    camera.find("hm-ticket-dialog .done")
    camera.take("ticket-bought")
    for name, change in (("banned", BANNED), ("has", {"hasAccess": True, "reason": "ticket"})):
        _see_access(camera, people["other"], show, name, change)


def _see_access(camera: Camera, user: str, show: str, name: str, change: Answer) -> None:
    camera.open_as(user, show)
    camera.find("hm-stream [part=card] button")
    camera.amend(ACCESS, lambda access: access.update(change))
    _open_ticket(camera)
    camera.find("hm-ticket-dialog [data-focus]")
    camera.take(f"ticket-{name}")


def _open_ticket(camera: Camera) -> None:
    camera.press("hm-stream slot[name=ticket] button")
    camera.find("hm-ticket-dialog dialog[open]")


def take_watching(camera: Camera, people: dict[str, str]) -> None:
    """A viewer and the owner in one stream."""
    owner = camera.beside()
    owner.open_as(people["owner"], f"stream/{people['waiting']}")
    owner.press("hm-stream [part=join]")
    owner.find("hm-stream [part=earned]")
    owner.take("owner-alone")
    camera.open_as(people["fan"], f"stream/{people['waiting']}")
    camera.press("hm-stream [part=join]")
    camera.find("hm-stream [part=watching]")
    camera.take("stream-quiet")
    _talk(camera, owner, people)
    _tip(camera, people)
    _moderate(camera, owner)
    _lose(camera, owner, people)
    _pay(camera, people)


def _talk(camera: Camera, owner: Camera, people: dict[str, str]) -> None:
    for each, text in ((camera, "Good evening! 🎉"), (owner, "Welcome."), (camera, "W" * 300)):
        each.find("hm-stream .side input, hm-stream .side textarea").fill(text)
        each.page.keyboard.press("Enter")
        camera.find("hm-stream [part=message]", text)
    context = {"streamId": people["waiting"]}
    tip = {"toCreatorId": people["owner_id"], "amountTokens": 1_000_000, "message": "Bravo! " * 20, "context": context}
    camera.ask(people["rich"], "/tips/send", tip)
    camera.find("hm-stream [part=tip]")
    camera.take("stream-chat")
    owner.press("hm-stream summary")
    owner.take("owner")


def _tip(camera: Camera, people: dict[str, str]) -> None:
    camera.press(TIP_OPEN)
    camera.find("hm-tip-button [part=send]")
    camera.take("tip")
    camera.find(AMOUNT).fill("999999999")
    camera.take("tip-short")
    camera.find(AMOUNT).fill("0")
    camera.take("tip-no-amount")
    camera.find(AMOUNT).fill("25")
    camera.page.route(TIPS, lambda _: None)
    camera.press("hm-tip-button [part=send]")
    camera.take("tip-sending")
    camera.page.unroute_all()
    camera.page.reload()
    camera.press("hm-stream [part=join]")
    camera.press(TIP_OPEN)
    camera.refuse(TIPS, UNAVAILABLE)
    camera.press("hm-tip-button [part=send]")
    camera.find("hm-tip-button [role=alert]", ms_max=30_000)
    camera.take("tip-unsettled")
    camera.page.unroute_all()
    camera.press("hm-tip-button [part=send]")
    camera.find("hm-tip-button .done")
    camera.take("tip-sent")
    camera.page.keyboard.press("Escape")


def _moderate(camera: Camera, owner: Camera) -> None:
    owner.press("hm-stream .feed button")
    owner.find("hm-stream dialog[open]")
    owner.take("owner-moderates")
    owner.press("hm-stream dialog p + button.quiet")  # mutes
    owner.page.locator("hm-stream dialog[open]").wait_for(state="detached")
    camera.find("hm-stream .side input, hm-stream .side textarea").fill("Do you hear me?")
    camera.page.keyboard.press("Enter")
    camera.find("hm-stream [part=error]")
    camera.take("stream-muted")
    owner.press("hm-stream [part=end]")
    owner.find("hm-stream dialog[open]")
    owner.take("owner-asks-to-end")
    owner.page.keyboard.press("Escape")


def _lose(camera: Camera, owner: Camera, people: dict[str, str]) -> None:
    camera.page.context.set_offline(True)
    camera.find("hm-stream [part=connection]")
    camera.take("stream-offline")
    camera.page.context.set_offline(False)
    camera.page.locator("hm-stream [part=connection]").wait_for(state="detached")
    camera.press("hm-stream [part=leave]")
    camera.find("hm-stream [part=outcome]")
    camera.take("stream-left")
    camera.press("hm-stream [part=join]")
    camera.find("hm-stream [part=watching]")
    owner.press("hm-stream [part=end]")
    owner.press("hm-stream dialog button.end")
    for each, name in ((camera, "stream-over"), (owner, "owner-over")):
        each.find("hm-stream [part=outcome]")
        each.take(name)
    owner.page.close()


def _pay(camera: Camera, people: dict[str, str]) -> None:
    camera.open_as(people["viewer"], f"stream/{people['metered']}")
    owner = camera.beside()
    owner.open_as(people["meter_owner"], f"stream/{people['metered']}")
    owner.press("hm-stream [part=join]")
    camera.press("hm-stream [part=join]")
    camera.find("hm-stream [part=low]")
    camera.take("stream-low")
    owner.page.close()
    camera.find("hm-stream [part=cover]")
    camera.take("stream-owner-away")
