"""Scenes of top givers, payouts and overlay links in the studio."""

from playwright.sync_api import Page, expect

from tests.web.studio_scenes import open_studio_of


def make_and_revoke_a_link(page: Page, url: str, token: str) -> None:
    """A double click makes one link, which is shown once and stops when it is revoked."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    studio = open_studio_of(page, url, token, "overlays")
    expect(studio.get_by_text("You have made no link yet.")).to_be_visible()
    studio.get_by_label("Name of the new link").fill("Studio machine")
    make = studio.get_by_role("button", name="Make a link")
    make.evaluate("button => { button.click(); button.click(); }")
    link = studio.get_by_label("Link of “Studio machine”")
    expect(link).to_be_visible()
    address = link.input_value()
    assert address.startswith(f"{url}overlay#token="), address
    studio.get_by_role("button", name="Copy").click()
    expect(studio.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == address
    secret = address.partition("#token=")[2]
    assert streams_status(page, secret) == 200, "the link may read"
    expect(studio.get_by_text("never used")).to_have_count(1)
    studio.get_by_role("button", name="Hide the link").click()
    expect(link).to_have_count(0)
    page.reload()
    expect(studio.get_by_role("button", name="Revoke “Studio machine”")).to_be_visible()
    expect(link).to_have_count(0)
    studio.get_by_role("button", name="Revoke “Studio machine”").click()
    expect(studio.get_by_role("button", name="Keep it")).to_be_focused()
    studio.get_by_role("button", name="Keep it").click()
    studio.get_by_role("button", name="Revoke “Studio machine”").click()
    studio.get_by_role("button", name="Revoke", exact=True).click()
    expect(studio.get_by_text("revoked on")).to_be_visible()
    assert streams_status(page, secret) == 401, "a revoked link reads nothing"


def streams_status(page: Page, secret: str) -> int:
    """The status of a request with the secret of an overlay."""
    request = """secret => fetch("/api/streams", { headers: { Authorization: `Bearer ${secret}` } })
      .then(({ status }) => status)"""
    return int(page.evaluate(request, secret))


def see_the_givers(page: Page, url: str, token: str) -> None:
    studio = open_studio_of(page, url, token, "earnings")
    rows = studio.locator("hm-studio-givers tbody tr")
    expect(rows).to_have_count(10)
    expect(rows.nth(0)).to_contain_text("Nora")
    expect(rows.nth(0).locator("td")).to_have_text(["2", "90"])
    expect(rows.nth(1).locator("td")).to_have_text(["1", "60"])
    studio.get_by_role("button", name="Show all 11").click()
    expect(rows).to_have_count(11)
    recent = studio.locator("hm-studio-givers").get_by_role("button", name="30 days")
    recent.click()
    expect(recent).to_have_attribute("aria-pressed", "true")
    expect(rows).to_have_count(11)


def cash_out(page: Page, url: str, token: str) -> None:
    studio = open_studio_of(page, url, token, "payouts")
    studio.get_by_label("Tokens to cash out").fill("1000")
    studio.get_by_role("button", name="Cash out $50.00").click()
    expect(studio.get_by_text("The payout of $50.00 is requested.")).to_be_visible()
