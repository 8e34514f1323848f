"""Scenes of a creator's streams in the studio."""

from playwright.sync_api import Page, expect

from tests.web.studio_scenes import open_studio_of

TITLE = "The evening show"
# The creator is present, and a fan with a ticket watches one block and tips.
SHOW = """async ([creator, fan]) => {
  const { Halfminute } = await import("/sdk/halfminute.js");
  const [host, viewer] = [creator, fan].map((token) => new Halfminute({ getToken: () => token }));
  await host.connect();
  const [{ id, channel }] = (await host.rest.getStreams({ status: "live", creatorId: host.userId })).items;
  const charged = new Promise((resolve) => viewer.on("wallet:changed", ({ cause }) => cause === "block" && resolve()));
  await host.join(channel);
  await viewer.rest.postStreamsStreamIdTickets({ streamId: id });
  const room = await viewer.join(channel);
  await charged;
  await room.tip({ amountTokens: 7 });
}"""


def run_a_show(page: Page, url: str, token: str, fan: str) -> None:
    studio = open_studio_of(page, url, token, "streams")
    expect(studio.get_by_text("You have announced no stream yet.")).to_be_visible()
    studio.get_by_label("Title").fill(TITLE)
    studio.get_by_label("For tokens").check()
    studio.get_by_label("Tokens for a ticket").fill("50")
    form = studio.locator("hm-studio-announcement")
    form.get_by_label("Tokens a minute").fill("20")
    expect(studio.get_by_text("Each viewer pays 10 tokens for a block of 30 seconds.")).to_be_visible()
    studio.get_by_role("button", name="Announce", exact=True).click()
    expect(studio.get_by_text(f"“{TITLE}” is announced.")).to_be_visible()
    show = studio.locator("hm-studio-stream", has_text=TITLE)
    expect(show).to_contain_text("ticket 50 tokens + 20 tokens a minute")
    show.get_by_role("button", name="Go live").click()
    expect(show.get_by_text("You are live")).to_be_visible()
    page.get_by_role("link", name="Profile and rate").click()
    expect(studio.get_by_role("status").filter(has_text=f"You are live: {TITLE}")).to_be_visible()
    studio.get_by_role("link", name="To the stream").click()
    page.evaluate(SHOW, [token, fan])
    show.get_by_text("Earnings").click()
    expect(show.get_by_text("Blocks watched: 1")).to_be_visible()
    expect(show.get_by_text("Tickets paid to you: 1")).to_be_visible()
    expect(show.locator("hm-studio-stream-earnings")).to_contain_text("67 tokens")
    end_it(page)
    expect(show.get_by_text("Ended", exact=True)).to_be_visible()
    expect(show.locator("hm-studio-stream-earnings")).to_contain_text("57 tokens")


def end_it(page: Page) -> None:
    """Ask to end the stream, keep it, and end it then."""
    show = page.locator("hm-studio-stream", has_text=TITLE)
    show.get_by_role("button", name="End the stream").click()
    expect(show.get_by_role("button", name="No, keep it")).to_be_focused()
    show.get_by_role("button", name="No, keep it").click()
    expect(show.get_by_text("You are live")).to_be_visible()
    show.get_by_role("button", name="End the stream").click()
    show.get_by_role("button", name="End it now").click()


def announce_twice(page: Page, url: str, token: str) -> None:
    """A double click announces one free stream, which is then called off."""
    studio = open_studio_of(page, url, token, "streams")
    studio.get_by_label("Title").fill(TITLE)
    send = studio.get_by_role("button", name="Announce", exact=True)
    send.evaluate("button => { button.click(); button.click(); }")
    expect(studio.get_by_text(f"“{TITLE}” is announced.")).to_be_visible()
    expect(studio.locator("hm-studio-stream")).to_have_count(1)
    studio.get_by_role("button", name="Call off").click()
    studio.get_by_role("button", name="Call off").click()
    expect(studio.get_by_text("Called off")).to_be_visible()


def go_live_twice(page: Page, url: str, token: str) -> None:
    """The refusal stands at the second stream, while the first one stays live."""
    studio = open_studio_of(page, url, token, "streams")
    second = studio.locator("hm-studio-stream", has_text="The second")
    second.get_by_role("button", name="Go live").click()
    expect(second.get_by_role("alert")).to_be_visible()
    expect(studio.locator("hm-studio-stream").first).to_contain_text("You are live")
