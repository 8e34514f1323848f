"""Scenes of the operator's page at `#/operator`. What it changes is read through the API by the tests."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.web.app_scenes import sign_in

READ_MS = 2000  # between two readings of the figures


def open_operation(page: Page, url: str, section: str = "") -> Locator:
    """Sign in as the demo's operator, and open a section by its link."""
    sign_in(page, url, "Otto")
    page.get_by_role("link", name="Operation").click()
    if section:
        page.get_by_role("link", name=section, exact=True).click()
    return page.locator("hm-operator")


def _open_user(page: Page, url: str, name: str) -> Locator:
    operation = open_operation(page, url, "Users")
    operation.get_by_label("Name, e-mail address or id").fill(name)
    operation.get_by_role("link", name=name, exact=True).click()
    return page.locator("hm-operator-user")


def _decide(form: Locator, reason: str, choice: str, **fields: str) -> None:
    for label, value in fields.items():
        form.get_by_label(label).fill(value)
    form.get_by_label("Reason").fill(reason)
    form.get_by_role("button", name=choice).click()


def watch_the_load(page: Page, url: str) -> None:
    """The charts gain points; a server that does not answer is a gap, and the page goes on by itself."""
    operation = open_operation(page, url)
    expect(operation.get_by_text("Live rooms")).to_be_visible()
    expect(operation.locator("hm-operator-rooms li")).to_contain_text("All day with Mara")
    expect(operation.locator(".tiles div", has_text="Streams")).to_contain_text("1")
    charts = page.locator("hm-live-chart")
    expect(charts).to_have_count(6)
    expect(charts.first.locator("canvas")).to_be_visible()
    expect(page.locator("hm-live-chart[label='Connections']")).to_have_attribute("reading", re.compile("^[1-9]"))
    expect(page.locator("hm-live-chart[label='Deliveries a second']")).to_have_attribute(
        "reading", re.compile("^[0-9]")
    )
    page.route("**/api/admin/figures*", lambda route: route.abort())
    expect(operation.get_by_role("alert")).to_contain_text("The server cannot be reached", timeout=60_000)
    page.unroute("**/api/admin/figures*")
    expect(operation.get_by_role("alert")).to_have_count(0)
    points = page.evaluate(
        "() => document.querySelector('hm-app').shadowRoot.querySelector('hm-page-entry').shadowRoot"
        ".querySelector('hm-operator').shadowRoot.querySelector('hm-operator-load').shadowRoot"
        ".querySelector('hm-live-chart').points.map(({ value }) => value)"
    )
    assert None in points, points
    assert len(points) >= 3


def ban_and_lift(page: Page, url: str, name: str) -> None:
    user = _open_user(page, url, name)
    user.get_by_role("button", name="Ban").click()
    _decide(user.locator("hm-decision-form"), "threats in chat", "Ban, and end")
    expect(user.get_by_text("Banned: threats in chat, without an end.")).to_be_visible()
    user.get_by_role("button", name="Change the ban").click()
    _decide(user.locator("hm-decision-form"), "and once more", "Ban, and end", Until="2035-01-02T03:04")
    expect(user.get_by_text("Banned: and once more, until Jan 2, 2035")).to_be_visible()
    user.get_by_role("link", name="All users").click()
    expect(page.locator("hm-operator-users").get_by_text("and once more")).to_be_visible()
    page.go_back()
    user.get_by_role("button", name="Lift the ban").click()
    expect(user.get_by_text("Banned:")).to_have_count(0)


def credit_once(page: Page, url: str, name: str) -> None:
    """The button is pressed twice; a refused amount says why, and another one is booked."""
    user = _open_user(page, url, name)
    user.get_by_role("button", name="Credit or take tokens").click()
    form = user.locator("hm-decision-form")
    _decide(form, "too many", "Book it", Tokens="-5000")
    expect(form.get_by_role("alert")).to_be_visible()
    form.get_by_label("Tokens").fill("50")
    form.get_by_role("button", name="Book it").evaluate("(button) => { button.click(); button.click(); }")
    expect(user.get_by_text("Done.")).to_be_visible()
    expect(user.locator("hm-user-history li").first).to_contain_text("50")


def refund_a_tip(page: Page, url: str, name: str) -> None:
    user = _open_user(page, url, name)
    user.get_by_role("button", name="Tips").click()
    history = user.locator("hm-user-history")
    expect(history.locator("li")).to_contain_text("for the song")
    history.get_by_role("button", name="Refund").click()
    _decide(history.locator("hm-decision-form"), "the stream broke", "Refund the fan")
    expect(history.locator("hm-decision-form")).to_have_count(0)
    history.get_by_role("button", name="Statement").click()
    expect(history.locator("li").first).to_contain_text("Refund")


def pay_a_payout(page: Page, url: str) -> None:
    operation = open_operation(page, url, "To decide")
    payouts = operation.locator("hm-decision-list").first
    payouts.get_by_role("button", name="Decide").click()
    _decide(payouts.locator("hm-decision-form"), "sent on Monday", "It is paid")
    expect(payouts.get_by_text("Done.")).to_be_visible()
    expect(payouts.get_by_text("No payout waits.")).to_be_visible()


def read_reports_and_prove(page: Page, url: str, reason: str) -> None:
    operation = open_operation(page, url, "Reports")
    expect(operation.locator("hm-operator-reports li").first).to_contain_text(reason)
    assert operation.locator("hm-operator-reports img").count() == 0, "a reason is shown as text"
    with page.expect_request("**/api/admin/reports*"):
        operation.get_by_role("button", name="Read again").click()
    page.get_by_role("link", name="Accounts").click()
    operation.get_by_role("button", name="Prove it now").click()
    expect(operation.get_by_text("invariants hold")).to_be_visible()
    expect(operation.locator("hm-day-chart canvas")).to_be_visible()
    page.get_by_role("link", name="Actions").click()
    expect(operation.locator("hm-operator-actions li").first).to_be_visible()
    operation.get_by_label("Kind of action").select_option("release_reversal")
    expect(operation.locator("hm-operator-actions")).to_contain_text("No operator has done anything yet.")


def compare_charts(page: Page, url: str) -> None:
    """The charts have the figures of the API."""
    operation = open_operation(page, url)
    latest = page.locator("hm-live-chart[label='Connections']")
    expect(latest).to_have_attribute("reading", re.compile("^[1-9]"))
    token = page.evaluate("sessionStorage.getItem('halfminute.token')")
    headers = {"Authorization": f"Bearer {token}"}
    figures = page.request.get(f"{url}api/admin/figures", headers=headers).json()
    expect(latest).to_have_attribute("reading", str(figures["connections"]))
    expect(operation.locator(".tiles div", has_text="Streams")).to_contain_text(str(figures["streams"]))
    page.get_by_role("link", name="Accounts").click()
    chart = operation.locator("hm-day-chart")
    expect(chart.locator("canvas")).to_be_visible()
    zone = page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
    overview = page.request.get(f"{url}api/admin/overview", headers=headers, params={"days": 30, "tz": zone}).json()
    spent = {
        day["day"]: sum(day[kind].get("tokens", 0) for kind in ("blocks", "tips", "ticketSales"))
        for day in overview["days"]
    }
    shown = {day["day"]: day["tokens"] for day in chart.evaluate("(chart) => chart.days")}
    assert len(shown) == 30
    assert {day: tokens for day, tokens in shown.items() if tokens} == {
        day: tokens for day, tokens in spent.items() if tokens
    }
    assert sum(spent.values()) >= 40
    balances = operation.locator(".card", has_text="All users")
    expect(balances).to_contain_text(f"{overview['closing']['users']:,}")


def be_turned_away(page: Page, url: str) -> None:
    sign_in(page, url, "Finn")
    expect(page.get_by_role("link", name="Operation")).to_have_count(0)
    page.goto(f"{url}#/operator")
    expect(page.get_by_text("Only operators see this page.")).to_be_visible()
