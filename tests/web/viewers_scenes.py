"""A page on which many clients of the SDK watch streams at once."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route

VIEWERS = Path(__file__).parent / "sdk" / "viewers.mjs"
WATCH = """async (settings) => {
  const { watch } = await import("/viewers.mjs");
  const { Halfminute } = await import("/sdk/halfminute.js");
  return watch({ Halfminute, ...settings });
}"""


def watch(page: Page, url: str, out: str, settings: dict[str, Any]) -> None:
    """Write what the viewers saw, as JSON, to the file `out`."""

    def serve(route: Route) -> None:
        if route.request.url.endswith(".mjs"):
            route.fulfill(body=VIEWERS.read_text(), content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html><title>viewers</title>", content_type="text/html")

    page.route(f"{url}/viewers*", serve)
    page.goto(f"{url}/viewers.html")
    page.set_default_timeout(0)
    Path(out).write_text(page.evaluate(f"async (settings) => JSON.stringify(await ({WATCH})(settings))", settings))
