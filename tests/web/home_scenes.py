"""Scenes of the home of a platform with many creators."""

from playwright.sync_api import Page, expect


def find_those_who_are_online(page: Page, url: str, token: str, step: int, total: int) -> None:
    """Bruno, who is online, comes first, though he is older than more creators than the page shows."""
    page.add_init_script(f"sessionStorage.setItem('halfminute.token', '{token}')")
    page.goto(url)
    cards = page.locator("hm-creator-card")
    expect(cards).to_have_count(step)
    expect(cards.first).to_contain_text("Bruno")
    expect(page.get_by_text(f"{step} of {total}")).to_be_visible()
    page.get_by_role("button", name="Show more").click()
    expect(cards).to_have_count(total)
    expect(cards.first).to_contain_text("Bruno")
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    page.get_by_label("Find a creator by name").fill("newcomer 1")
    expect(cards).to_have_count(11)  # 1 and 10 to 19
    page.get_by_label("Find a creator by name").fill("")
    expect(cards).to_have_count(step)
