"""Scenes of the decisions of an operator about payments, payouts and refunds, as the user of a token."""

import json
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect


def _open(page: Page, url: str, token: str, *place: str) -> Locator:
    page.goto(url)
    page.evaluate("(token) => sessionStorage.setItem('halfminute.token', token)", token)
    page.goto(f"{url}#/operator/{'/'.join(place)}")
    page.reload()
    return page.locator("hm-operator")


def _decide(item: Locator, choice: str, reason: str) -> None:
    item.get_by_role("button", name="Decide").click()
    item.get_by_label("Reason").fill(reason)
    item.get_by_role("button", name=choice).click()


def settle_everything(page: Page, url: str, token: str) -> None:
    """A purchase is rejected, a payment credited, a wallet released, a payout rejected."""
    operation = _open(page, url, token, "decisions")
    payouts, purchases, payments, reversals = (operation.locator("hm-decision-list").nth(i) for i in range(4))
    _decide(purchases.locator("li", has_text="1,000 tokens"), "Reject", "the money went back")
    expect(purchases.get_by_text("Done.")).to_be_visible()
    page.reload()
    expect(payments.locator("li")).to_have_count(1)
    expect(payments.locator("li")).to_contain_text("wrong amount")
    payments.get_by_role("button", name="Decide").click()
    payments.get_by_role("button", name="Cancel").click()
    _decide(payments.locator("li"), "Credit the tokens", "the bank confirms it")
    expect(payments.get_by_text("No payment waits.")).to_be_visible()
    expect(reversals.locator("li")).to_contain_text("charged back")
    _decide(reversals.locator("li"), "Release the wallet", "it was a mistake")
    expect(reversals.get_by_text("None waits.")).to_be_visible()
    payouts.get_by_role("button", name="Decide").click()
    payouts.get_by_role("button", name="Reject, return the tokens").click()
    expect(payouts.get_by_text("No payout waits.")).to_be_visible()


def refund_call_and_ticket(page: Page, url: str, token: str, fan: str) -> None:
    """The first refund meets the limit of advances, and is confirmed."""
    refused: list[Any] = []

    def refuse_once(route: Route) -> None:
        refused.append(route.request.post_data_json)
        if len(refused) > 1:
            return route.continue_()
        problem = {"error": "LOSSES_LIMIT", "message": "The daily limit of advances is reached", "status": 409}
        return route.fulfill(status=409, content_type="application/problem+json", body=json.dumps(problem))

    page.route(f"{url}api/admin/refunds", refuse_once)
    operation = _open(page, url, token, "users", fan)
    history = operation.locator("hm-user-history")
    history.get_by_role("button", name="Calls").click()
    history.get_by_role("button", name="Refund").click()
    form = history.locator("hm-decision-form")
    form.get_by_label("Reason").fill("no sound")
    form.get_by_role("button", name="Refund the fan").click()
    form.get_by_role("button", name="Do it all the same").click()
    expect(form).to_have_count(0)
    expect(history.locator("li")).to_contain_text("refunded: 1")
    assert [each.get("confirm") for each in refused] == [None, True]
    history.get_by_role("button", name="Statement").click()
    ticket = history.locator("li", has_text="Ticket").first
    ticket.get_by_role("button", name="Refund").click()
    history.get_by_label("Reason").fill("the stream broke off")
    history.get_by_role("button", name="Refund the fan").click()
    expect(history.locator("li").first).to_contain_text("Refund")
    for kind, text in (("Purchases", "There is nothing."), ("Reports", "There is nothing."), ("Sessions", "App")):
        history.get_by_role("button", name=kind).click()
        expect(history.get_by_text(text).first).to_be_visible()


def find_users(page: Page, url: str, token: str, email: str, user_id: str) -> None:
    """By the address and by the id; the found one is opened."""
    operation = _open(page, url, token, "users")
    search = operation.get_by_label("Name, e-mail address or id")
    found = operation.locator("hm-operator-users section").first.locator("li")
    search.fill(email)
    expect(found).to_have_count(1)
    expect(found).to_contain_text(user_id)
    search.fill("nobody of this name")
    expect(operation.get_by_text("Nobody is found.")).to_be_visible()
    search.fill(user_id)
    expect(found).to_contain_text(email)
    found.get_by_role("link").click()
    expect(operation.locator("hm-operator-user")).to_contain_text(email)
