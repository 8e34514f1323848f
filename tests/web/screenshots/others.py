"""Pictures of the pages beside the client: the overlay over a video, and the documents with their forms."""

from tests.web.screenshots.camera import Camera


def take(camera: Camera, people: dict[str, str]) -> None:
    camera.visit("/overlay")
    camera.find("[role=alert]")
    camera.take("overlay-without-token")
    stream = camera.ask(people["streamer"], "/streams", {"title": "A show", "type": "public"})["stream"]
    camera.ask(people["streamer"], f"/streams/{stream['id']}/start")
    camera.page.goto("about:blank")  # from the page without a token, this address would only be another place of it
    with camera.page.expect_websocket() as opened:
        camera.visit(f"/overlay#token={people['overlay']}")
    opened.value.wait_for_event("framereceived", lambda frame: '"type":"room:joined"' in frame)
    context = {"streamId": stream["id"]}
    for tokens, message in ((25, "Bravo!"), (1_000_000, "word " * 60)):
        tip = {"toCreatorId": people["streamer_id"], "amountTokens": tokens, "message": message, "context": context}
        camera.ask(people["rich"], "/tips/send", tip)
    camera.find("hm-tips-overlay .tip")
    camera.take("overlay")
    for page in ("docs", "docs/quickstart"):
        camera.visit(f"/api/{page}")
        camera.find("h1")
        camera.take(page.replace("/", "-"), whole=False)
