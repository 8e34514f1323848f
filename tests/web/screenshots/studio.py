"""Pictures of each section of the studio: of a new creator, of one with history, and with errors."""

from datetime import date, timedelta

from tests.web.screenshots.camera import Answer, Camera

DAYS = 30
SECTION_MS = 1500  # in which a section is read and its chart is drawn
SECTIONS = ("profile", "streams", "earnings", "payouts", "overlays", "blocked")
READS = {
    "profile": "**/api/creators/0*",
    "streams": "**/api/streams?creatorId*",
    "earnings": "**/api/billing/stats*",
    "payouts": "**/api/payouts*",
    "overlays": "**/api/overlay-tokens*",
    "blocked": "**/api/creators/me/blocks*",
}
INTERNAL = {"status": 500, "error": "INTERNAL", "message": "An error of the server"}


def take(camera: Camera, people: dict[str, str]) -> None:
    camera.open_as(people["new"], "studio")
    camera.find("hm-studio-profile form")
    camera.take("studio-welcome")
    for kind in ("beginner", "earner"):
        for section in SECTIONS:
            camera.open_as(people[kind], f"studio/{section}")
            camera.find("hm-studio nav")
            camera.page.wait_for_timeout(SECTION_MS)
            camera.take(f"studio-{section}-{kind}")
    for section, pattern in READS.items():
        camera.take_while_held(f"studio-{section}-loading", people["earner"], f"studio/{section}", pattern)
        camera.take_failed(f"studio-{section}-failed", people["earner"], f"studio/{section}", pattern, INTERNAL)
    _ask(camera, people["earner"])


def _ask(camera: Camera, earner: str) -> None:
    """Forms and questions that a press opens."""
    camera.open_as(earner, "studio/streams")
    camera.press("hm-studio-announcement input[value=private]")
    camera.find("hm-studio-announcement input[name=title]").fill("An evening of questions")
    camera.press("hm-studio-stream article.scheduled button.quiet")
    camera.press("hm-studio-stream article.ended summary")
    camera.page.wait_for_timeout(SECTION_MS)
    camera.take("studio-streams-opened")
    camera.open_as(earner, "studio/overlays")
    camera.find("hm-studio-overlays input").fill("The machine in the studio")
    camera.press("hm-studio-overlays form button")
    camera.find("hm-studio-overlay-link")
    camera.press("hm-studio-overlays li button")
    camera.take("studio-overlays-link")
    camera.open_as(earner, "studio/profile")
    camera.find("hm-studio-profile input[type=url], hm-studio-profile input[name=pictureUrl]").fill("http://a.example")
    camera.press("hm-studio-profile form button:not([type=button])")
    camera.find("hm-studio-profile [aria-invalid=true]")
    camera.take("studio-profile-refused")
    _large(camera, earner)


def _large(camera: Camera, earner: str) -> None:
    def enlarge(stats: Answer) -> None:
        days = [date.today() - timedelta(days=back) for back in range(DAYS)]
        sums = [{"blocks": back, "tokens": back * 123_456_789, "refundedTokens": back} for back in range(DAYS)]
        stats["creator"] = {"blocks": 435, "tokens": 53_703_703_215, "refundedTokens": 435}
        stats["creator"]["byDay"] = [{"day": f"{day}", **each} for day, each in zip(days, sums, strict=True)]

    camera.open_as(earner, "studio/earnings")
    camera.amend(READS["earnings"], enlarge)
    camera.amend("**/api/creators/0*", lambda card: card.update(displayName="W" * 80, rateTokensPerMin=1_000_000_000))
    camera.page.reload()
    camera.find("hm-studio nav")
    camera.page.wait_for_timeout(SECTION_MS)
    camera.take("studio-earnings-large")
