"""Pictures of each section of the operator's page: quiet, with work to do, and with errors."""

from tests.web.screenshots.camera import Camera

SECTION_MS = 1500  # in which a section is read and its charts have points
CHART_MS = 6000
SECTIONS = ("decisions", "users", "reports", "accounts", "actions")
READS = {
    "load": "**/api/admin/figures*",
    "decisions": "**/api/admin/payouts*",
    "users": "**/api/admin/users?*",
    "reports": "**/api/admin/reports*",
    "accounts": "**/api/admin/overview*",
    "actions": "**/api/admin/actions*",
}
INTERNAL = {"status": 500, "error": "INTERNAL", "message": "An error of the server"}


def take(camera: Camera, people: dict[str, str]) -> None:
    operator = people["operator"]
    camera.open_as(people["new"], "operator")
    camera.find("hm-operator [role=alert]")
    camera.take("operator-forbidden")
    camera.open_as(operator, "operator/load")
    camera.find("hm-live-chart canvas")
    camera.page.wait_for_timeout(CHART_MS)
    camera.take("operator-load")
    for section in SECTIONS:
        camera.open_as(operator, f"operator/{section}")
        camera.find("hm-operator nav")
        camera.page.wait_for_timeout(SECTION_MS)
        camera.take(f"operator-{section}")
    for section, pattern in READS.items():
        camera.take_while_held(f"operator-{section}-loading", operator, f"operator/{section}", pattern)
        camera.take_failed(f"operator-{section}-failed", operator, f"operator/{section}", pattern, INTERNAL)
    _decide(camera, people)


def _decide(camera: Camera, people: dict[str, str]) -> None:
    """Forms that a press opens, and one user."""
    operator = people["operator"]
    camera.open_as(operator, "operator/decisions")
    camera.press("hm-decision-list li button")
    camera.press("hm-decision-form button")
    camera.take("operator-decides")
    camera.open_as(operator, f"operator/users/{people['fan_id']}")
    history = camera.find("hm-user-history")
    camera.find("hm-user-history li")
    camera.take("operator-user")
    kinds = history.locator("[role=group] button")
    for i in range(1, kinds.count()):
        kinds.nth(i).click()
        camera.page.wait_for_timeout(SECTION_MS)
        camera.take(f"operator-user-{i}")
    camera.press("hm-operator-user .card button")
    camera.find("hm-decision-form")
    camera.take("operator-user-form")
    camera.open_as(operator, "operator/accounts")
    camera.press("hm-operator-proof button")
    camera.page.wait_for_timeout(SECTION_MS)
    camera.take("operator-proof")
