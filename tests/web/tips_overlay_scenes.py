"""Scenes of <hm-tips-overlay>: tips come one after another, bursts are summed, and none is lost or shown twice."""

from collections.abc import Sequence

from playwright.sync_api import Page, expect

from tests.web.money_page import add, dispatched, open_page, picture, wait_events


def give_tip(page: Page, url: str, giver: str, creator_id: str, channel: str, tokens: int, message: str = "") -> None:
    body = {"toCreatorId": creator_id, "amountTokens": tokens, "context": {"channel": channel}}
    answer = page.request.post(
        f"{url}/api/tips/send",
        headers={"Authorization": f"Bearer {giver}"},
        data={**body, "message": message} if message else body,
    )
    assert answer.ok, answer.text()


def _open(page: Page, url: str, secret: str, channel: str) -> None:
    open_page(page, url, secret, "failed", "over")
    add(page, "hm-tips-overlay", channel=channel)
    expect(page.locator("hm-tips-overlay").get_by_role("status")).to_be_attached()
    page.evaluate("(channel) => hm.join(channel, { as: 'overlay' })", channel)  # the same room: waits for the join


def show_tips(page: Page, url: str, secret: str, givers: Sequence[str], creator_id: str, channel: str) -> None:
    """The first tip is shown at once as text; those that come meanwhile are summed by giver."""
    _open(page, url, secret, channel)
    finn, faye = givers
    give_tip(page, url, finn, creator_id, channel, 5, "<b>Hello</b>")
    overlay = page.locator("hm-tips-overlay")
    tip = overlay.locator(".tip")
    expect(tip).to_contain_text("Finn")
    expect(tip).to_contain_text("5 tokens")
    expect(tip.get_by_text("<b>Hello</b>")).to_be_visible()
    picture(page, "overlay")
    for tokens in (10, 20, 30):
        give_tip(page, url, faye, creator_id, channel, tokens, f"No. {tokens}" if tokens > 10 else "")
    expect(tip).to_contain_text("Faye", timeout=10_000)
    expect(tip).to_contain_text("60 tokens")
    expect(tip).to_contain_text("3 tips")
    expect(tip).to_contain_text("No. 20")
    expect(tip).to_contain_text("No. 30")
    picture(page, "overlay-sum")
    expect(tip).to_have_count(0, timeout=10_000)


def sum_a_crush(page: Page, url: str, secret: str, givers: Sequence[str], creator_id: str, channel: str) -> None:
    """More givers than a minute could show are summed into one."""
    page.emulate_media(reduced_motion="reduce")
    _open(page, url, secret, channel)
    page.clock.install()
    for giver in givers:
        give_tip(page, url, giver, creator_id, channel, 10)
    tip = page.locator("hm-tips-overlay .tip")
    expect(tip).to_be_visible()
    assert tip.evaluate("tip => getComputedStyle(tip).animationName") == "none"
    expect(page.locator("body")).to_have_css("margin", "0px")
    shown: list[str] = []
    while tip.count():
        if tip.inner_text() not in shown:
            shown.append(tip.inner_text())
        page.clock.run_for(500)
    assert len(shown) <= 9, shown
    assert sum(int(text.split(" tokens")[0].split()[-1]) for text in shown) == 10 * len(givers), shown
    assert "people" in shown[-1]


def replay_missed_tips(page: Page, url: str, secret: str, givers: Sequence[str], creator_id: str, channel: str) -> None:
    """A page that was closed shows the tips of the meantime, and none of those that it has shown."""
    _open(page, url, secret, channel)
    finn, faye = givers
    tip = page.locator("hm-tips-overlay .tip")
    give_tip(page, url, finn, creator_id, channel, 5)
    expect(tip).to_contain_text("Finn")
    page.goto("about:blank")
    give_tip(page, url, faye, creator_id, channel, 25)
    _open(page, url, secret, channel)
    expect(tip).to_contain_text("Faye")
    expect(tip).to_contain_text("25 tokens")
    expect(tip).to_have_count(0, timeout=10_000)


def follow_a_members_room(page: Page, url: str, token: str, giver: str, creator_id: str, channel: str) -> None:
    """In the page of a member, the overlay uses the joined room."""
    open_page(page, url, token, "failed", "over")
    add(page, "hm-tips-overlay")
    page.evaluate(
        "async (channel) => { document.querySelector('hm-tips-overlay').room = await hm.join(channel); }", channel
    )
    give_tip(page, url, giver, creator_id, channel, 15)
    expect(page.locator("hm-tips-overlay .tip")).to_contain_text("15 tokens")
    assert page.evaluate("(channel) => hm.rooms.get(channel).you.role", channel) == "viewer"


def refuse_a_foreign_room(page: Page, url: str, secret: str, channel: str) -> None:
    open_page(page, url, secret, "failed")
    add(page, "hm-tips-overlay", channel=channel)
    wait_events(page, 1)
    assert dispatched(page)[0]["type"] == "failed"
