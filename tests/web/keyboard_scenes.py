"""Scenes in which somebody without a mouse buys tokens and holds a call: Tab, Enter, Space and arrows alone."""

from playwright.sync_api import Page, expect

STEPS_MAX = 80  # of Tab, from one control to another
# The name of the focused control, inside of all shadow roots: as a screen reader says it, roughly.
FOCUSED = """() => {
  let focused = document.activeElement;
  while (focused?.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
  const text = focused?.getAttribute("aria-label") ?? focused?.labels?.[0]?.innerText ?? focused?.innerText ?? "";
  return text.replace(/\\s+/g, " ").trim();
}"""
# Whether the focused control, or the label in which it lies, has a visible outline.
IS_OUTLINED = """() => {
  let focused = document.activeElement;
  while (focused?.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
  const shown = [focused, focused.closest("label")].filter(Boolean);
  return shown.some((each) => getComputedStyle(each).outlineStyle !== "none");
}"""


def go_to(page: Page, name: str) -> None:
    """Press Tab until the control whose name begins with this has the focus."""
    passed = []
    for _ in range(STEPS_MAX):
        page.keyboard.press("Tab")
        passed.append(page.evaluate(FOCUSED))
        if passed[-1].startswith(name):
            assert page.evaluate(IS_OUTLINED), f"nobody sees that {name} has the focus"
            return
    raise AssertionError(f"no Tab leads to {name}: {passed}")


def press(page: Page, name: str) -> None:
    go_to(page, name)
    page.keyboard.press("Enter")


def buy_and_call(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("button", name="Finn").wait_for()
    press(page, "Finn")
    press(page, "Wallet")
    expect(page.locator("hm-wallet")).to_contain_text("10,000")
    press(page, "Buy tokens")
    page.get_by_role("radio", name="100 tokens").wait_for()
    go_to(page, "100 tokens")
    page.keyboard.press("ArrowDown")
    with page.expect_popup() as opened:
        press(page, "Pay $")
    checkout = opened.value
    checkout.get_by_role("button", name="Pay").wait_for()
    press(checkout, "Pay")
    expect(checkout.get_by_text("paid")).to_be_visible()
    checkout.close()
    expect(page.get_by_text("tokens are booked.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("hm-buy-tokens")).to_have_count(0)
    press(page, "halfminute")
    page.get_by_role("link", name="Call Bruno").wait_for()
    press(page, "Call Bruno")
    page.get_by_role("button", name="Call Bruno").wait_for()
    press(page, "Call Bruno")
    expect(page.get_by_role("region", name="Call with Bruno")).to_be_visible()
    press(page, "Pause")
    expect(page.get_by_text("You paused the call.")).to_be_visible()
    press(page, "Resume")
    go_to(page, "Write a message")
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    expect(page.get_by_role("log").get_by_text("hello").first).to_be_visible()
    press(page, "Hang up")
    expect(page.get_by_text("You ended the call")).to_be_visible()
    press(page, "Close")
    expect(page.get_by_role("heading", name="Talk to somebody")).to_be_visible()
