"""Scenes of `/overlay`, as streaming software opens it."""

from playwright.sync_api import Page, expect

from tests.web.tips_overlay_scenes import give_tip


def follow_streams(page: Page, url: str, secret: str, creator: str, creator_id: str, giver: str) -> None:
    """The page waits for a stream, shows its tips, and goes on with the next one. No request names the token."""
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    with page.expect_websocket() as opened:
        page.goto(f"{url}/overlay#token={secret}")
    socket = opened.value
    tip = page.locator("hm-tips-overlay .tip")
    for tokens in (15, 25):
        with socket.expect_event("framereceived", lambda frame: '"type":"room:joined"' in frame):
            stream = _go_live(page, url, creator)
        give_tip(page, url, giver, creator_id, stream["channel"], tokens)
        expect(tip).to_contain_text(f"{tokens} tokens")
        _ask(page, url, creator, f"/streams/{stream['id']}/end")
        expect(tip).to_have_count(0, timeout=10_000)
    for part in ("html", "body"):
        expect(page.locator(part)).to_have_css("background-color", "rgba(0, 0, 0, 0)")
    assert not [address for address in addresses if secret in address.split("#")[0]]


def refuse_a_token(page: Page, url: str, secret: str) -> None:
    page.goto(f"{url}/overlay#token={secret}&lang=de")
    expect(page.get_by_role("alert")).to_contain_text("Dieser Link gilt nicht mehr.")
    page.goto(f"{url}/overlay")
    expect(page.get_by_role("alert")).to_contain_text("This address has no token.")


def _go_live(page: Page, url: str, creator: str) -> dict[str, str]:
    answer = _ask(page, url, creator, "/streams", {"title": "A show", "type": "public"})
    return _ask(page, url, creator, f"/streams/{answer['id']}/start")


def _ask(page: Page, url: str, token: str, path: str, body: dict[str, str] | None = None) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {token}"}
    answer = page.request.post(f"{url}/api{path}", headers=headers, data=body)
    assert answer.ok, answer.text()
    stream: dict[str, str] = answer.json()["stream"]
    return stream
