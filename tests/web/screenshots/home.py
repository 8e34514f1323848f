"""Pictures of the sign-in and of the home of creators and streams."""

from tests.web.screenshots.camera import Answer, Camera

USERS = "**/api/demo/users"
CREATORS, STREAMS = "**/api/creators?*", "**/api/streams?*"
UNAVAILABLE = {"status": 503, "error": "STORAGE_UNAVAILABLE", "message": "The database is away"}


def take(camera: Camera, people: dict[str, str]) -> None:
    _sign_in(camera)
    fan = people["finn"]
    camera.take_while_held("home-loading", fan, "", CREATORS)
    camera.take_failed("home-failed", fan, "", CREATORS)
    camera.open_as(fan)
    camera.find("hm-creator-card a")
    camera.take("home")
    _few_and_many(camera, fan)
    camera.open_as(fan)
    camera.find("hm-creator-card a")
    camera.page.context.set_offline(True)
    camera.find("hm-app .offline")
    camera.take("home-offline")
    camera.page.context.set_offline(False)


def _sign_in(camera: Camera) -> None:
    camera.take_while_held("sign-in-loading", "", "", USERS)
    camera.take_failed("sign-in-failed", "", "", USERS, UNAVAILABLE)
    camera.page.unroute_all()
    camera.refuse(USERS, {"status": 404, "error": "NOT_FOUND", "message": "There is no demo"})
    camera.page.reload()
    camera.find("hm-sign-in p:not(.quiet-text)")
    camera.take("sign-in-elsewhere")
    camera.open_as("")
    camera.find("hm-sign-in button.user")
    camera.take("sign-in")


def _few_and_many(camera: Camera, fan: str) -> None:
    camera.find("hm-home input").fill("nobody of this name")
    camera.find("hm-home p.quiet-text")
    camera.take("home-nobody-found")
    camera.amend(CREATORS, _empty)
    camera.amend(STREAMS, _empty)
    camera.page.reload()
    camera.find("hm-home p.quiet-text")
    camera.take("home-empty")
    camera.open_as(fan)
    camera.amend(CREATORS, _lengthen_creators)
    camera.amend(STREAMS, _lengthen_streams)
    camera.page.reload()
    camera.find("hm-creator-card a")
    camera.take("home-long")


def _empty(page: Answer) -> None:
    page |= {"items": [], "total": 0}


def _lengthen_creators(page: Answer) -> None:
    long = {"displayName": "Maximiliane-Alexandra " * 3, "rateTokensPerMin": 1_000_000_000, "about": "word " * 100}
    wide = {"displayName": "W" * 80, "pictureUrl": None, "about": "W" * 500}
    short = {"displayName": "李", "busy": True, "online": True, "acceptsCalls": True}
    for card, facts in zip(page["items"], (long, wide, short), strict=False):
        card |= facts
    page["total"] = 10_000


def _lengthen_streams(page: Answer) -> None:
    for stream in page["items"]:
        stream |= {"title": "A long evening of questions " * 7, "ticketPriceTokens": 1_000_000_000}
        stream |= {"rateTokensPerMin": 999_999_999}
        stream["creator"]["displayName"] = "W" * 80
