"""Pictures of the wallet, the statement, the purchase of tokens, and payouts."""

from tests.web.screenshots.camera import Answer, Camera

ME, LEDGER = "**/api/me", "**/api/wallet/ledger?*"
PACKS, PURCHASES, PURCHASE = "**/api/tokens/packs", "**/api/tokens/purchases", "**/api/tokens/purchases/*"
INTERNAL = {"status": 500, "error": "INTERNAL", "message": "An error of the server"}
LARGE = 9_007_199_254_740_991
SECTIONS = "hm-wallet details > summary"


def take(camera: Camera, people: dict[str, str]) -> None:
    fan = people["finn"]
    camera.take_while_held("wallet-loading", fan, "wallet", ME)
    camera.take_failed("wallet-failed", fan, "wallet", ME)
    camera.take_failed("ledger-failed", fan, "wallet", LEDGER, INTERNAL)
    camera.open_as(people["new"], "wallet")
    camera.find("hm-ledger p")
    _open_sections(camera)
    camera.take("wallet-new")
    camera.open_as(fan, "wallet")
    camera.find("hm-ledger tbody tr")
    camera.take("wallet")
    _limit(camera)
    _large(camera)
    _buy(camera, people["buyer"])


def _open_sections(camera: Camera) -> None:
    for i in range(camera.page.locator(SECTIONS).count()):
        camera.page.locator(SECTIONS).nth(i).click()


def _limit(camera: Camera) -> None:
    camera.press(SECTIONS)
    camera.find("hm-spend-limit input").fill("20000")
    camera.press("hm-spend-limit button")
    camera.find("hm-spend-limit [part=coming], hm-spend-limit p.tabular")
    camera.take("wallet-limit")
    camera.find("hm-ledger select").select_option("payout")
    camera.find("hm-ledger p")
    camera.take("ledger-nothing-fits")


def _large(camera: Camera) -> None:
    def enlarge(page: Answer) -> None:
        for entry in page["items"]:
            entry |= {"tokens": -1_000_000_000, "balanceAfter": LARGE}

    camera.amend(ME, lambda me: me["wallet"].update(balance=LARGE, promotional=LARGE, lifetimeSpent=LARGE, frozen=True))
    camera.amend(LEDGER, enlarge)
    camera.page.reload()
    camera.find("hm-ledger tbody tr")
    camera.take("wallet-large-and-frozen")


def _buy(camera: Camera, buyer: str) -> None:
    camera.open_as(buyer, "wallet")
    camera.page.route(PACKS, lambda _: None)
    _open_shop(camera)
    camera.take("buy-loading")
    camera.open_as(buyer, "wallet")
    camera.amend(PACKS, lambda page: page.update(items=[]))
    _open_shop(camera)
    camera.find("hm-buy-tokens [part=empty]")
    camera.take("buy-empty")
    camera.open_as(buyer, "wallet")
    _open_shop(camera)
    camera.find("hm-buy-tokens form button")
    camera.take("buy")
    camera.refuse(PURCHASES, INTERNAL)
    camera.press("hm-buy-tokens form button")
    camera.find("hm-buy-tokens [role=alert]")
    camera.take("buy-failed")
    camera.page.unroute_all()
    with camera.page.expect_popup() as opened:
        camera.press("hm-buy-tokens form button")
    checkout = camera.of(opened.value)
    checkout.find("button")
    checkout.take("checkout")
    camera.find("hm-buy-tokens h3")
    camera.take("buy-waiting")
    for status in ("failed", "expired", "review"):
        _see_outcome(camera, status)
    checkout.press("button")
    camera.find("hm-buy-tokens [part=done]")
    camera.take("buy-done")
    checkout.page.close()


def _open_shop(camera: Camera) -> None:
    camera.press("hm-wallet [part=card] button")
    camera.find("hm-buy-tokens")


def _see_outcome(camera: Camera, status: str) -> None:
    """The checkout is still open, and another end of the purchase is shown."""
    camera.amend(PURCHASE, lambda purchase: purchase.update(status=status))
    camera.find("hm-buy-tokens p[part=checkout]")
    camera.take(f"buy-ended-{status}")
    camera.page.unroute_all()
    camera.page.reload()  # it is pending, so the page waits for it again
    _open_shop(camera)
    camera.find("hm-buy-tokens h3")
