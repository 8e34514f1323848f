"""Scenes in which a screen reader announces what happens in calls and streams, and what was paid.

Buttons are pressed without the focus, so that an announcement comes from a live region, where no key is named.
"""

from collections.abc import Callable

import httpx
from playwright.sync_api import Page, expect

from tests.web.announcements import announced, drop_focus, listen, wait_announced
from tests.web.element_page import call_page, show_element
from tests.web.keyboard_scenes import press
from tests.web.sessions import Sessions
from tests.web.top_up_scenes import open_as

OpenPage = Callable[..., Page]
Person = dict[str, str]


def _show(page: Page, url: str, person: Person, tag: str, **attributes: str) -> Page:
    show_element(listen(page), url, person["token"], tag, attributes)
    return page


def _press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).dispatch_event("click")


def _tip(url: str, giver: Person, creator: Person, tokens: int, message: str, **context: str) -> None:
    body = {"toCreatorId": creator["user_id"], "amountTokens": tokens, "message": message, "context": context}
    headers = {"Authorization": f"Bearer {giver['token']}"}
    httpx.post(f"{url}/api/tips/send", json=body, headers=headers).raise_for_status()


def _begin_call(page: Page, open_page: OpenPage, url: str, fan: Person, creator: Person) -> Page:
    creator_page = _show(open_page(), url, creator, "hm-call")
    _show(page, url, fan, "hm-call", creator=creator["user_id"])
    press(page, "Call Ada")
    wait_announced(page, "Calling Ada …")
    drop_focus(page)
    wait_announced(creator_page, "Fay is calling")
    _press(creator_page, "Accept")
    expect(page.locator("[part=meter]")).to_be_visible()
    return creator_page


def hear_a_call(page: Page, open_page: OpenPage, url: str, fan: Person, creator: Person) -> None:
    """The creator pauses, receives a tip and ends the call; the fan's connection is lost in between."""
    creator_page = _begin_call(page, open_page, url, fan, creator)
    page.locator("video[part=video]").wait_for()
    wait_announced(page, "Block 2: 4 tokens")
    _press(creator_page, "Pause")
    wait_announced(page, "Ada paused the call. Nothing is charged")
    _press(creator_page, "Resume")
    call_id: str = page.evaluate("document.querySelector('hm-call').call.id")
    _tip(url, fan, creator, 25, "Bravo", callId=call_id)
    wait_announced(creator_page, "Fay 25 tokens Bravo")
    call_page(page, "breakConnection")
    wait_announced(page, "The connection is lost")
    call_page(page, "mendConnection")
    expect(page.locator("[part=connection]")).to_have_count(0)
    _press(creator_page, "Hang up")
    wait_announced(page, "Ada ended the call")
    wait_announced(creator_page, "You ended the call")
    assert len(announced(page, "Block 2")) == 1, "a block is announced once"


def hear_that_tokens_run_out(page: Page, open_page: OpenPage, url: str, fan: Person, creator: Person) -> None:
    creator_page = _begin_call(page, open_page, url, fan, creator)
    wait_announced(page, "costs 4 tokens, you have 2. Without 2 more the call ends.")
    for each in (page, creator_page):
        wait_announced(each, "there were not enough tokens for the next block")
    assert len(announced(page, "Without 2 more")) == 1, "the warning is announced once"


def hear_a_stream(
    page: Page, open_page: OpenPage, url: str, fan: Person, other: Person, owner: Person, stream: str
) -> None:
    """Two viewers: one is removed, the other one stays until the owner ends the stream."""
    owner_page = _go_live(open_page, url, owner, stream)
    other_page = _watch(open_page(), url, other, stream)
    _watch(page, url, fan, stream)
    _tip(url, fan, owner, 25, "Bravo", streamId=stream)
    for each in (other_page, owner_page):
        wait_announced(each, "Fay 25 tokens Bravo")
    _press(other_page, "Leave")
    wait_announced(other_page, "You left the stream.")
    _press(other_page, "Watch")
    owner_page.evaluate("(userId) => document.querySelector('hm-stream').removeViewer(userId)", fan["user_id"])
    wait_announced(page, "The creator removed you from the stream.")
    _press(owner_page, "End the stream")
    owner_page.get_by_role("dialog").get_by_role("button", name="End the stream").click()
    for each in (other_page, owner_page):
        wait_announced(each, "The stream is over.")


def hear_a_metered_stream(page: Page, open_page: OpenPage, url: str, fan: Person, owner: Person, stream: str) -> None:
    """The owner is away for a moment, and the viewer's tokens run out."""
    owner_page = _go_live(open_page, url, owner, stream)
    _watch(page, url, fan, stream)
    wait_announced(page, "Block 2: 4 tokens")
    owner_page.close()
    wait_announced(page, "is away for the moment. Nothing is charged meanwhile.")
    owner_page = _show(open_page(), url, owner, "hm-stream", stream=stream)
    _press(owner_page, "Return to the stream")
    wait_announced(page, "costs 4 tokens, you have 2: 2 more keep you here.")
    wait_announced(page, "You had not enough tokens for the next block.")


def _go_live(open_page: OpenPage, url: str, owner: Person, stream: str) -> Page:
    page = _show(open_page(), url, owner, "hm-stream", stream=stream)
    _press(page, "Go live")
    expect(page.locator("[part=earned]")).to_be_visible()
    return page


def _watch(page: Page, url: str, fan: Person, stream: str) -> Page:
    _show(page, url, fan, "hm-stream", stream=stream)
    _press(page, "Watch")
    expect(page.locator("[part=viewers]")).to_be_visible()
    return page


def hear_of_a_call_elsewhere(page: Page, open_page: OpenPage, url: str, fan: Person, creator: Person) -> None:
    """The fan looks at the wallet meanwhile."""
    creator_page = _show(open_page(), url, creator, "hm-call")
    open_as(listen(page), f"{url}/", fan["token"], f"call/{creator['user_id']}")
    press(page, "Call Ada")
    _press(creator_page, "Accept")
    page.locator("hm-call [part=meter]").wait_for()
    page.get_by_role("link", name="Wallet").click()
    wait_announced(page, "Your call: too few tokens for the next block")
    wait_announced(page, "Your call has ended")
    page.get_by_role("link", name="Your call has ended").click()
    expect(page.locator("hm-call [part=ended]")).to_be_visible()


def hear_that_a_call_ended_beside_the_packs(
    page: Page, open_page: OpenPage, url: str, fan: Person, creator: Person
) -> None:
    creator_page = _show(open_page(), url, creator, "hm-call")
    open_as(listen(page), f"{url}/", fan["token"], f"call/{creator['user_id']}")
    press(page, "Call Ada")
    _press(creator_page, "Accept")
    page.locator("hm-call [part=low] button").click()
    page.get_by_role("button", name="Pay $").wait_for()
    _press(creator_page, "Hang up")
    wait_announced(page, "Your call has ended meanwhile.")


def hear_what_was_paid(page: Page, url: str, fan: Person, stream: str, show: str) -> None:
    """By keyboard alone: a tip in a stream, a pack of tokens, and the ticket that they pay."""
    open_as(listen(page), url, fan["token"], f"stream/{stream}")
    press(page, "Watch")
    press(page, "Tip")
    press(page, "Send 10 tokens")
    wait_announced(page, "Not booked yet. Once it is, you have 90 tokens.", "Your tip of 10 tokens is booked.")
    page.keyboard.press("Escape")
    page.evaluate("(stream) => { location.hash = `#/stream/${stream}`; }", show)
    press(page, "Get a ticket")
    press(page, "Buy tokens")
    page.get_by_role("radio", name="100 tokens").wait_for()
    with page.expect_popup() as opened:
        press(page, "Pay $")
    opened.value.get_by_role("button", name="Pay").click()
    expect(opened.value.get_by_text("You can close this window.")).to_be_visible()
    opened.value.close()
    wait_announced(page, "100 tokens are booked.")
    press(page, "Back to the ticket")
    press(page, "Buy the ticket")
    wait_announced(page, "The ticket is yours. You can join now!")


def hear_that_the_network_is_lost(page: Page, url: str, fan: Person) -> None:
    sessions = Sessions(listen(page))
    open_as(page, url, fan["token"], "")
    sessions.wait()
    page.context.set_offline(True)
    wait_announced(page, "No connection.")
