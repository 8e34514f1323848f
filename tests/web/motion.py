"""The animations and transitions that begin on a page, and the styles that would start one."""

from playwright.sync_api import Page

from tests.web.element_page import PAGES

# Each element, through all shadow roots, whose style would animate it.
ANIMATED = """() => {
  const all = (root) => [...root.querySelectorAll("*")].flatMap((each) =>
    [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])]);
  const moves = ({ animationName, transitionDuration }) =>
    !["none", ""].includes(animationName) // empty: of an element that is in no slot
    || transitionDuration.split(",").some((each) => Number.parseFloat(each) > 0);
  return all(document).filter((each) => moves(getComputedStyle(each))).map((each) => each.outerHTML.slice(0, 80));
}"""
PENDING = "document.getAnimations().map(({ animationName, transitionProperty }) => animationName ?? transitionProperty)"


def watch_motion(page: Page) -> Page:
    """Collect from the next navigation on."""
    page.add_init_script(path=PAGES / "motion.js")
    return page


def moved(page: Page) -> list[str]:
    """Return the animations and transitions that have begun, and those that wait to begin."""
    found: list[str] = [*page.evaluate("moved"), *page.evaluate(PENDING)]
    return found


def animated(page: Page) -> list[str]:
    """Return the elements that are animated, or would be at their next change."""
    found: list[str] = page.evaluate(ANIMATED)
    return found
