"""Scenes of the studio of a creator at `#/studio`."""

from playwright.sync_api import Locator, Page, Route, expect

from tests.web.app_scenes import sign_in


def open_studio(page: Page, url: str, name: str, section: str = "") -> Locator:
    """Sign in as a creator of the demo, and open a section of the studio by its link."""
    sign_in(page, url, name)
    page.get_by_role("link", name="Studio").click()
    if section:
        page.get_by_role("link", name=section).click()
    return page.locator("hm-studio")


def open_studio_of(page: Page, url: str, token: str, section: str = "profile") -> Locator:
    """Open a section of the studio as the user of a token."""
    page.goto(url)
    page.evaluate("(token) => sessionStorage.setItem('halfminute.token', token)", token)
    page.goto(f"{url}#/studio/{section}")
    page.reload()
    return page.locator("hm-studio")


def change_the_terms(page: Page, url: str) -> None:
    studio = open_studio(page, url, "Cleo")
    rate, save = studio.get_by_label("Tokens a minute"), studio.get_by_role("button", name="Save")
    expect(studio.get_by_text("A block of 30 seconds costs 30 tokens.")).to_be_visible()
    expect(save).to_have_attribute("aria-disabled", "true")
    rate.fill("75")
    expect(studio.get_by_text("A block of 30 seconds costs 38 tokens.")).to_be_visible()
    expect(studio.get_by_text("Not saved yet.")).to_be_visible()
    studio.get_by_label("Name", exact=True).fill("Cleo of the night")
    studio.get_by_label("About you").fill("Stars, and what is between them.")
    save.click()
    expect(studio.get_by_text("Saved.", exact=True)).to_be_visible()
    expect(save).to_have_attribute("aria-disabled", "true")
    expect(page.locator("hm-app .user")).to_have_text("Cleo of the night")


def be_refused_a_picture(page: Page, url: str, token: str) -> None:
    """The reason stands at its field; other content is saved afterwards."""
    studio = open_studio_of(page, url, token)
    picture = studio.get_by_label("Address of your picture")
    picture.fill("http://example.org/me.png")
    studio.get_by_role("button", name="Save").click()
    expect(studio.get_by_text("Refused: must be an https address without a user name.")).to_be_visible()
    expect(studio.get_by_text("Not saved: please look at the marked field.")).to_be_visible()
    expect(picture).to_have_attribute("aria-invalid", "true")
    expect(picture).to_be_focused()
    picture.fill("")
    expect(studio.get_by_text("Refused:")).to_have_count(0)
    studio.get_by_label("Tokens a minute").fill("90")
    studio.get_by_role("button", name="Save").click()
    expect(studio.get_by_text("Saved.", exact=True)).to_be_visible()


def switch_calls_off(page: Page, url: str, token: str) -> None:
    """A switch that could not be stored goes back."""
    studio = open_studio_of(page, url, token)
    switch = studio.get_by_role("switch", name="Accept calls")
    expect(switch).to_be_checked()

    def refuse(route: Route) -> None:
        route.fulfill(status=418, content_type="application/json", body="{}")

    page.route("**/api/creators/me", refuse)
    switch.click()
    expect(studio.get_by_role("alert")).to_be_visible()
    expect(switch).to_be_checked()
    page.unroute("**/api/creators/me")
    switch.click()
    expect(studio.get_by_text("Saved. Nobody can call you.")).to_be_visible()
    expect(switch).not_to_be_checked()


def become_a_creator(page: Page, url: str, token: str) -> None:
    studio = open_studio_of(page, url, token)
    expect(studio.get_by_role("heading", name="Become a creator")).to_be_visible()
    expect(page.get_by_role("link", name="Studio")).to_have_count(0)
    studio.get_by_label("Tokens a minute").fill("20")
    studio.get_by_role("button", name="Become a creator").click()
    expect(studio.get_by_role("switch", name="Accept calls")).to_be_checked()
    expect(page.get_by_role("link", name="Studio")).to_be_visible()


def recover_from_a_failure(page: Page, url: str, token: str) -> None:
    """Each section shows why it cannot be read, and reads again."""
    patterns = ("**/api/creators/0*", "**/api/streams?creatorId*", "**/api/billing/stats*", "**/api/overlay-tokens*")
    for section, pattern in zip(("profile", "streams", "earnings", "overlays"), patterns, strict=True):
        page.route(pattern, lambda route: route.fulfill(status=418, content_type="application/json", body="{}"))
        studio = open_studio_of(page, url, token, section)
        expect(studio.get_by_role("alert")).to_have_count(1)
        page.unroute(pattern)
        studio.get_by_role("button", name="Try again").click()
        expect(studio.get_by_role("alert")).to_have_count(0)


def fit_a_phone(page: Page, url: str, token: str) -> None:
    """No section is wider than a phone, and the link of the present one is in sight."""
    page.set_viewport_size({"width": 390, "height": 844})
    for section, name in (("profile", "Profile and rate"), ("earnings", "Earnings"), ("overlays", "Overlays")):
        studio = open_studio_of(page, url, token, section)
        expect(studio.get_by_role("link", name=name)).to_be_in_viewport(ratio=0.9)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
