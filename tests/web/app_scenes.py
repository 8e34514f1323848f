"""Scenes of the web client at `/`."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

# A video of the call, inside of all shadow roots, shows moving pictures.
FRAMES_ARRIVE = """() => {
  const videos = (root) => [...root.querySelectorAll("*")].flatMap((each) =>
    each.shadowRoot ? videos(each.shadowRoot) : each.localName === "video" ? [each] : []);
  return videos(document).filter((each) => each.videoWidth > 0 && each.currentTime > 0.5).length > 1;
}"""


def sign_in(page: Page, url: str, name: str) -> None:
    page.goto(url)
    page.get_by_role("button", name=name).click()
    expect(page.get_by_role("heading", name="Talk to somebody")).to_be_visible()


def look_around(page: Page, url: str) -> None:
    sign_in(page, url, "Finn")
    expect(page.get_by_role("link", name="Call Bruno")).to_be_visible()
    expect(page.locator("hm-creator-card", has_text="Cleo")).to_contain_text("away")
    expect(page.get_by_role("link", name="All day with Mara")).to_be_visible()
    page.get_by_label("Find a creator by name").fill("bru")
    expect(page.locator("hm-creator-card")).to_have_count(1)
    page.get_by_label("Find a creator by name").fill("nobody")
    expect(page.get_by_text("Nobody of this name.")).to_be_visible()
    page.get_by_role("link", name="Wallet").click()
    expect(page.locator("hm-wallet")).to_contain_text("10,000")
    page.reload()
    expect(page.locator("hm-wallet")).to_contain_text("10,000")
    assert "eyJ" not in page.url, "no token is in the address"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Faye")).to_be_visible()
    assert page.evaluate("sessionStorage.length + localStorage.length") == 0


def load_home(page: Page, url: str, token: str | None) -> None:
    """The first view, from an empty cache: what it transfers, how long it takes, and whether it shifts.

    Without a token it is the sign-in, else the home of the token's user.
    """
    transferred: list[int] = []
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    client.on("Network.loadingFinished", lambda event: transferred.append(event["encodedDataLength"]))
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver((list) => { for (const each of list.getEntries())"
        " if (!each.hadRecentInput) window.shift += each.value; }).observe({ type: 'layout-shift', buffered: true });"
    )
    if token is not None:
        page.add_init_script(f"sessionStorage.setItem('halfminute.token', '{token}')")
    page.goto(url)
    page.get_by_role("button", name="Finn").or_(page.get_by_role("link", name="Call Bruno")).wait_for()
    first_paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)  # for pictures that come later
    print(
        f"{sum(transferred)} bytes in {len(transferred)} answers, first paint after {first_paint:.0f} ms,"
        f" shift {page.evaluate('window.shift'):.4f}"
    )
    assert sum(transferred) < 150_000
    assert first_paint < 1000
    assert page.evaluate("window.shift") < 0.02


def miss_a_module(page: Page, url: str) -> None:
    """A part of the client that cannot be loaded says so, and is loaded later."""
    sign_in(page, url, "Finn")
    page.route("**/elements/money.js", lambda route: route.abort())
    page.get_by_role("link", name="Wallet").click()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    page.get_by_role("link", name="halfminute").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("link", name="Wallet").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.unroute("**/elements/money.js")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("hm-wallet")).to_contain_text("Spent in total")


def call_the_one_who_answers(page: Page, url: str) -> None:
    sign_in(page, url, "Faye")
    page.get_by_role("link", name="Call Bruno").click()
    page.get_by_role("button", name="Call Bruno").click()
    expect(page.get_by_role("region", name="Call with Bruno")).to_be_visible()
    expect(page.get_by_text("Block 1: 20 tokens")).to_be_attached()
    page.get_by_role("link", name="Wallet").click()
    expect(page.locator("hm-wallet")).to_contain_text("9,980")
    page.get_by_role("link", name="Your call").click()
    page.get_by_role("button", name="Tip", exact=True).click()
    page.get_by_role("button", name="Send 10 tokens").click()
    expect(page.get_by_text("Your tip of 10 tokens is booked.")).to_be_visible()
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Hang up").click()
    expect(page.get_by_text("You ended the call")).to_be_visible()
    expect(page.get_by_text("You paid 20 tokens.")).to_be_visible()
    page.locator("hm-call").get_by_role("button", name="Close").click()
    expect(page.get_by_role("heading", name="Talk to somebody")).to_be_visible()


def two_people_call(page: Page, url: str, open_page: Callable[..., Page]) -> None:
    creator = open_page()
    sign_in(creator, url, "Cleo")
    sign_in(page, url, "Finn")
    page.get_by_role("link", name="Call Cleo").click()
    page.get_by_role("button", name="Call Cleo").click()
    expect(creator.get_by_text("Finn is calling")).to_be_visible()
    creator.get_by_role("button", name="Accept").click()
    for each, other in ((page, "Cleo"), (creator, "Finn")):
        expect(each.get_by_role("region", name=f"Call with {other}")).to_be_visible()
        each.wait_for_function(FRAMES_ARRIVE)
    creator.get_by_role("button", name="Hang up").click()
    expect(page.get_by_text("Cleo ended the call")).to_be_visible()
    expect(creator.get_by_text("You ended the call")).to_be_visible()


def watch_chat_and_buy_a_ticket(page: Page, url: str) -> None:
    sign_in(page, url, "Finn")
    page.get_by_role("link", name="All day with Mara").click()
    page.get_by_role("button", name="Watch").click()
    page.get_by_label("Write a message").fill("hello")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Tell me more.").or_(page.get_by_text("Good to hear you!")).first).to_be_visible()
    page.get_by_role("button", name="Tip", exact=True).click()
    page.get_by_role("button", name="Send 10 tokens").click()
    expect(page.get_by_text("Your tip of 10 tokens is booked.")).to_be_visible()
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_text("Thank you for 10 tokens, Finn!")).to_be_visible()
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_text("You left the stream.")).to_be_visible()
    page.get_by_role("link", name="halfminute").click()
    page.get_by_role("link", name="Mara's evening show").click()
    page.get_by_role("button", name="Get a ticket for 150 tokens").click()
    page.get_by_role("button", name="Buy the ticket for 150 tokens").click()
    expect(page.get_by_text("You have access.")).to_be_visible()
