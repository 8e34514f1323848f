"""A page of another website that embeds our elements, as the guide says."""

from playwright.sync_api import Page, Route, expect

ELSEWHERE = "http://shop.example"
PAGE = """<!doctype html><html lang="en"><title>A shop</title>
<link rel="stylesheet" href="{url}/elements/theme.css" /><script type="module" src="page.js"></script>
<h1>A shop</h1><hm-wallet></hm-wallet><hm-call creator="{creator}"></hm-call></html>"""
SCRIPT = """import {{ useClient }} from "{url}/elements/elements.js";
import {{ Halfminute }} from "{url}/sdk/halfminute.js";
useClient(new Halfminute({{ url: "{url}", getToken: () => "{token}" }}));"""


def use_elements_elsewhere(page: Page, url: str, token: str, creator: str) -> None:
    def serve(route: Route) -> None:
        if route.request.url.endswith("page.js"):
            route.fulfill(body=SCRIPT.format(url=url, token=token), content_type="text/javascript")
        else:
            route.fulfill(body=PAGE.format(url=url, creator=creator), content_type="text/html")

    page.route(f"{ELSEWHERE}/**", serve)
    page.goto(f"{ELSEWHERE}/")
    expect(page.locator("hm-wallet")).to_contain_text("70")
    expect(page.locator("hm-call").get_by_role("heading", name="Vera")).to_be_visible()
    buy = page.locator("hm-wallet").get_by_role("button", name="Buy tokens")
    expect(buy).to_have_css("background-color", "rgb(74, 63, 214)")
