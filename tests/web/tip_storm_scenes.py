"""A page of a stream whose fans send 500 tips within ten seconds."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
from playwright.sync_api import Page, expect

from tests.web.app_scenes import sign_in

TIPS = 500
SECONDS = 10
WORKERS = 8
# The time of each frame, from now on.
COUNT_FRAMES = """() => {
  globalThis.frames_ = [];
  const note = (now) => { globalThis.frames_.push(now); requestAnimationFrame(note); };
  requestAnimationFrame(note);
}"""


def keep_the_pace(page: Page, url: str, fans: list[str], creator: str, stream: str, out: str) -> None:
    """Write the frames a second, over the time of the tips, to the file `out`."""
    sign_in(page, url, "Finn")
    page.goto(f"{url}#/stream/{stream}")
    page.get_by_role("button", name="Watch").click()
    page.get_by_label("Write a message").wait_for()
    page.evaluate(COUNT_FRAMES)
    begun = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        sending = [
            pool.submit(_tip, url, fans[i % len(fans)], creator, stream, begun + i * SECONDS / TIPS)
            for i in range(TIPS)
        ]
        while not all(each.done() for each in sending):
            page.wait_for_timeout(100)
        for each in sending:
            each.result()
    elapsed = time.monotonic() - begun
    frames = page.evaluate("globalThis.frames_")
    with open(out, "w") as file:
        file.write(f"{(len(frames) - 1) * 1000 / (frames[-1] - frames[0])} {elapsed}")
    expect(page.locator("hm-stream [part=tip]").last).to_contain_text("1 token")


def _tip(url: str, token: str, creator: str, stream: str, at: float) -> None:
    time.sleep(max(0.0, at - time.monotonic()))  # the pace of the tips
    tip = {"toCreatorId": creator, "amountTokens": 1, "context": {"streamId": stream}}
    headers = {"Authorization": f"Bearer {token}"}
    httpx.post(f"{url}api/tips/send", json=tip, headers=headers, verify=False, timeout=30).raise_for_status()
