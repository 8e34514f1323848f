"""Scenes of <hm-call>: a fan and a creator, each with a page of their own."""

import re
from collections.abc import Callable
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, Route, expect

from tests.web.element_page import call_page, dispatched, show_element

OpenPage = Callable[..., Page]
Person = dict[str, str]

FRAMES = """async (video) => {
  const begun = video.currentTime;
  for (let looks = 0; !video.videoWidth || video.currentTime < begun + 1; looks++) {
    if (looks > 400) throw new Error("no frame arrives");
    await new Promise((done) => setTimeout(done, 50));
  }
}"""
LIMIT = 40  # tokens of a call: ten blocks of four seconds, in which both devices show its video
REFUSE_MEDIA = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError') }"


def _show_fan(page: Page, url: str, fan: Person, creator: Person, **attributes: str) -> None:
    show_element(page, url, fan["token"], "hm-call", {"creator": creator["user_id"], **attributes})


def _show_creator(open_page: OpenPage, url: str, creator: Person) -> Page:
    page = open_page()
    show_element(page, url, creator["token"], "hm-call", {})
    return page


def _button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name)


def _get(url: str, actor: Person, path: str) -> Any:
    answer = httpx.get(f"{url}/api{path}", headers={"Authorization": f"Bearer {actor['token']}"})
    return answer.raise_for_status().json()


def _calls(url: str, fan: Person) -> list[Any]:
    items: list[Any] = _get(url, fan, "/calls/history")["items"]
    return items


def _seconds(page: Page) -> int:
    minutes, seconds = page.locator(".time").inner_text().split(":")
    return 60 * int(minutes) + int(seconds)


def _begin_call(page: Page, creator_page: Page, name: str) -> None:
    _button(page, f"Call {name}").click()
    _button(creator_page, "Accept").click()
    expect(page.locator("[part=meter]")).to_be_visible()


def hold_call(page: Page, open_page: OpenPage, url: str, fan: Person, creator: Person, name: str) -> None:
    creator_page = _show_creator(open_page, url, creator)
    _show_fan(page, url, fan, creator)
    expect(page.locator("[part=price]")).to_contain_text("60 tokens a minute")
    _button(page, f"Call {name}").click()
    expect(page.get_by_role("heading", name=f"Calling {name} …")).to_be_visible()
    _button(creator_page, "Accept").click()
    for each in (page, creator_page):
        each.locator("video[part=video]").evaluate(FRAMES)
        expect(each.locator(".time")).to_have_text(re.compile("^0:0[1-9]$"))
    expect(page.locator(".tokens")).to_have_text(re.compile("^[1-9]"))
    expect(page.locator(".left")).to_have_text(re.compile("^1[0-9]:"))
    assert creator_page.locator(".left").count() == 0, "only the fan learns how long the balance lasts"

    _button(creator_page, "Pause").click()
    expect(page.locator("[part=cover]")).to_contain_text(f"{name} paused the call. Nothing is charged")
    page.wait_for_timeout(1000)  # until the server has sent the time at which the clock stopped
    spent = page.locator(".tokens").inner_text()
    time = page.locator(".time").inner_text()
    page.wait_for_timeout(4500)  # longer than a block
    assert (page.locator(".tokens").inner_text(), page.locator(".time").inner_text()) == (spent, time)
    _button(creator_page, "Resume").click()
    expect(page.locator("[part=cover]")).to_have_count(0)
    page.locator("video[part=video]").evaluate(FRAMES)

    _button(page, "Hang up").click()
    expect(page.locator("h2")).to_have_text("You ended the call")
    call = _calls(url, fan)[0]
    expect(page.locator("[part=ended]")).to_contain_text(f"You paid {call['tokens']} tokens.")
    expect(creator_page.locator("[part=ended]")).to_contain_text(f"You earned {call['tokens']} tokens.")
    expect(page.locator("[part=receipt] tbody tr")).to_have_count(call["blocks"])
    assert dispatched(page, "call-ended") == [
        {"callId": call["id"], "reason": "hangup", **{k: call[k] for k in ("blocks", "tokens")}}
        | {"activeSeconds": dispatched(page, "call-ended")[0]["activeSeconds"]}
    ]
    assert page.evaluate("document.querySelector('hm-call').session.local.stream") is None, "the camera is released"


def tap_twice(page: Page, open_page: OpenPage, url: str, fan: Person, creator: Person, name: str) -> None:
    """The replies to the first attempts are lost: the taps and their retries are one call."""
    keys: list[str] = []

    def lose_reply(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) <= 4:  # as often as the SDK sends a request
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/api/calls/init", lose_reply)
    _show_creator(open_page, url, creator)
    _show_fan(page, url, fan, creator)
    _button(page, f"Call {name}").evaluate("(button) => { button.click(); button.click(); }")
    expect(page.locator("[part=error]")).to_contain_text("The server cannot be reached")
    _button(page, f"Call {name}").click()
    expect(_button(page, "Cancel")).to_be_visible()
    assert len(keys) == 5
    assert len(set(keys)) == 1, "one intent has one key"
    assert len(_calls(url, fan)) == 1
    expect(_button(page, "Cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("h2")).to_have_text("You cancelled the call")
    expect(page.locator("[part=ended]")).to_contain_text("Nothing was charged.")


def lack_tokens(page: Page, open_page: OpenPage, url: str, fan: Person, creator: Person, operator: Person) -> None:
    _show_creator(open_page, url, creator)
    _show_fan(page, url, fan, creator)
    expect(page.locator("[part=shortfall]")).to_contain_text("costs 40 tokens, you have 12: 28 more are needed")
    ring = page.locator("[part=ring-button]")
    expect(ring).to_be_disabled()
    _button(page, "Buy tokens").click()
    assert dispatched(page, "top-up") == [{"required": 40, "balance": 12, "shortfall": 28}]
    _credit(url, operator, fan, 30)
    expect(page.locator("[part=shortfall]")).to_have_count(0)
    expect(ring).to_be_enabled()


def run_low(page: Page, open_page: OpenPage, url: str, fan: Person, creator: Person, operator: Person) -> None:
    creator_page = _show_creator(open_page, url, creator)
    _show_fan(page, url, fan, creator)
    _begin_call(page, creator_page, "Low")
    low = page.locator("[part=low]")
    expect(low).to_contain_text("costs 4 tokens, you have 2. Without 2 more the call ends.")
    low.get_by_role("button", name="Buy tokens").click()
    assert dispatched(page, "top-up") == [{"required": 4, "balance": 2, "shortfall": 2}]
    _credit(url, operator, fan, 4)
    expect(low).to_have_count(0)
    expect(page.locator("h2")).to_have_text(re.compile("not enough tokens"))
    call = _calls(url, fan)[0]
    assert (call["endReason"], _get(url, fan, "/wallet")["balance"]) == ("insufficient_funds", 2)
    expect(page.locator("[part=ended]")).to_contain_text(f"You paid {call['tokens']} tokens.")


def end_early(page: Page, open_page: OpenPage, url: str, fan: Person, creator: Person, name: str) -> None:
    """A creator who ends a call gives back a block of which little was used, and the receipts show it."""
    creator_page = _show_creator(open_page, url, creator)
    _show_fan(page, url, fan, creator)
    _begin_call(page, creator_page, name)
    creator_page.evaluate("void (document.querySelector('hm-call').call.pause = () => new Promise(() => {}))")
    _button(creator_page, "Pause").click()  # has no answer, and keeps nobody from hanging up
    _button(creator_page, "Hang up").click()
    expect(page.locator("h2")).to_have_text(f"{name} ended the call")
    expect(page.locator("[part=receipt] small")).to_have_text(re.compile("given back"))
    expect(page.locator("[part=ended]")).to_contain_text("You paid 0 tokens.")
    expect(creator_page.locator("[part=ended]")).to_contain_text("You earned 0 tokens.")
    assert _get(url, fan, "/wallet")["balance"] == 1000
    _button(page, "Close").click()
    expect(page.locator("[part=card]")).to_be_visible()
    assert len(dispatched(page, "call-closed")) == 1


def decline_and_miss(
    page: Page, open_page: OpenPage, url: str, fan: Person, other_fan: Person, creator: Person
) -> None:
    creator_page = _show_creator(open_page, url, creator)
    _show_fan(page, url, fan, creator)
    page.locator("[part=ring-button]").click()
    _button(creator_page, "Decline").click()
    expect(page.locator("h2")).to_have_text("Dee declined the call")
    _button(creator_page, "Close").click()
    _button(page, "Close").click()
    page.locator("[part=ring-button]").click()
    expect(page.locator("[part=error]")).to_contain_text("Try again in")

    other_page = open_page()
    _show_fan(other_page, url, other_fan, creator)
    other_page.locator("[part=ring-button]").click()
    expect(creator_page.get_by_role("alert")).to_contain_text("is calling")
    expect(other_page.locator("h2")).to_have_text("Dee did not answer")
    expect(creator_page.locator("h2")).to_have_text(re.compile("^You missed a call from"))


def lose_connection(page: Page, open_page: OpenPage, url: str, fan: Person, creator: Person, name: str) -> None:
    creator_page = _show_creator(open_page, url, creator)
    _show_fan(page, url, fan, creator)
    _begin_call(page, creator_page, name)
    call_page(page, "breakConnection")
    expect(page.locator("[part=connection]")).to_contain_text("The connection is lost")
    call_page(page, "mendConnection")
    expect(page.locator("[part=connection]")).to_have_count(0)
    expect(page.locator("[part=cover]")).to_have_count(0)
    page.locator("video[part=video]").evaluate(FRAMES)
    page.evaluate("document.querySelector('hm-call').remove()")
    expect(creator_page.locator("h2")).to_have_text(re.compile("ended the call"))
    assert _calls(url, fan)[0]["endReason"] == "hangup"


def change_devices(page: Page, open_page: OpenPage, url: str, fan: Person, creator: Person, name: str) -> None:
    """The fan continues the call on a second page and reloads the first one; both show the same figures."""
    creator_page = _show_creator(open_page, url, creator)
    second = open_page()
    for each in (second, page):
        _show_fan(each, url, fan, creator, **{"max-tokens": f"{LIMIT}"})
    call_page(second, "followCalls")
    _begin_call(page, creator_page, name)
    expect(second.locator("[part=elsewhere]")).to_contain_text(f"The call with {name} is open on another device")
    expect(page.locator(".tokens")).to_have_text("8 tokens")
    _button(second, "Continue here").click()
    second.locator("video[part=video]").evaluate(FRAMES)
    _show_fan(page, url, fan, creator)
    call_page(page, "openCall", _calls(url, fan)[0]["id"])
    page.locator("video[part=video]").evaluate(FRAMES)
    expect(page.locator(".tokens")).to_have_text(second.locator(".tokens").inner_text())
    assert abs(_seconds(page) - _seconds(second)) <= 1
    for each in (page, second):
        expect(each.locator("h2")).to_have_text("The call reached its limit of tokens", timeout=60_000)
        expect(each.locator("[part=ended]")).to_contain_text(f"You paid {LIMIT} tokens.")


def refuse_camera(page: Page, open_page: OpenPage, url: str, fan: Person, creator: Person, name: str) -> None:
    page.add_init_script(REFUSE_MEDIA)
    creator_page = _show_creator(open_page, url, creator)
    _show_fan(page, url, fan, creator, lang="de")
    _button(page, f"{name} anrufen").click()
    _button(creator_page, "Accept").click()
    expect(page.locator("[part=live]")).to_contain_text("Kamera und Mikrofon sind aus")
    page.locator("video[part=video]").evaluate(FRAMES)
    expect(creator_page.locator("[part=cover]")).to_contain_text("No video from")


def _credit(url: str, operator: Person, fan: Person, tokens: int) -> None:
    body = {"userId": fan["user_id"], "tokens": tokens, "reason": "a test"}
    headers = {"Authorization": f"Bearer {operator['token']}"}
    httpx.post(f"{url}/api/admin/credits", json=body, headers=headers).raise_for_status()
