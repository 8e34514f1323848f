"""Scenes of the earnings in the studio."""

from playwright.sync_api import Locator, Page, expect

from tests.web.app_scenes import sign_in
from tests.web.studio_scenes import open_studio_of

# A fan calls a creator who answers by itself, and ends the call after its first block.
CALL = """async ([fan, creatorId]) => {
  const { Halfminute } = await import("/sdk/halfminute.js");
  const hm = new Halfminute({ getToken: () => fan });
  await hm.connect();
  const charged = new Promise((resolve) => hm.on("wallet:changed", ({ cause }) => cause === "block" && resolve()));
  const call = await hm.calls.ring({ creatorId });
  await charged;
  await call.end();
  hm.close();
  return call.callId ?? call.id;
}"""
REFUND = """async ([operator, callId]) => {
  const { Halfminute } = await import("/sdk/halfminute.js");
  const hm = new Halfminute({ getToken: () => operator });
  await hm.rest.postAdminRefunds({ callId, reason: "a test" });
}"""

PAINTED = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const accent = [0x4a, 0x3f, 0xd6, 255];
  let count = 0;
  for (let at = 0; at < data.length; at += 4) count += accent.every((part, index) => data[at + index] === part);
  return count;
}"""


def earn_and_give_back(page: Page, url: str, token: str, fan: str, operator: str, creator_id: str) -> None:
    """The figures of today with a block, and with its refund; chart, table and month agree."""
    sign_in(page, url, "Otto")
    call_id = page.evaluate(CALL, [fan, creator_id])
    studio = open_studio_of(page, url, token, "earnings")
    expect(studio.get_by_text("In 30 days: 20 tokens. Blocks: 1, refunded tokens: 0.")).to_be_visible()
    expect(studio.get_by_role("img", name="In 30 days: 20 tokens")).to_be_visible()
    assert painted(page) > 100, "today's bar"
    box = studio.locator("hm-day-chart .u-over").bounding_box()
    assert box is not None
    studio.locator("hm-day-chart .u-over").hover(position={"x": box["width"] - 8, "y": 20})
    expect(studio.locator("hm-day-chart p")).to_contain_text(": 20 tokens")
    studio.get_by_text("The days as a table").click()
    expect(today(studio)).to_have_text(["1", "0", "20"])
    expect(source(studio, "Calls and streams")).to_have_text(["20", "0", "20"])
    expect(source(studio, "Tips")).to_have_text(["75", "0", "75"])
    expect(source(studio, "Together")).to_have_text(["95", "0", "95"])
    page.evaluate(REFUND, [operator, call_id])
    page.reload()
    expect(studio.get_by_text("In 30 days: 0 tokens. Blocks: 1, refunded tokens: 20.")).to_be_visible()
    assert painted(page) == 0, "a day with nothing left has no bar"
    studio.get_by_text("The days as a table").click()
    expect(today(studio)).to_have_text(["1", "20", "0"])
    expect(source(studio, "Calls and streams")).to_have_text(["20", "20", "0"])
    expect(source(studio, "Together")).to_have_text(["95", "20", "75"])
    choose_a_period(studio)


def choose_a_period(studio: Locator) -> None:
    studio.get_by_role("button", name="7 days").click()
    expect(studio.get_by_text("In 7 days: 0 tokens")).to_be_visible()
    expect(studio.get_by_role("button", name="7 days")).to_have_attribute("aria-pressed", "true")
    studio.get_by_label("Month", exact=True).select_option(index=1)
    expect(source(studio, "Together")).to_have_text(["0", "0", "0"])


def today(studio: Locator) -> Locator:
    return studio.locator("hm-studio-earnings tbody tr").first.locator("td")


def source(studio: Locator, name: str) -> Locator:
    return studio.locator("hm-studio-month").get_by_role("row", name=name).locator("td")


def painted(page: Page) -> int:
    """The pixels of the chart in the colour of its bars."""
    return int(page.locator("hm-day-chart canvas").evaluate(PAINTED))
