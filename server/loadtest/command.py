"""`halfminute load`: runs a plan, shows its progress and its result, and saves the result."""

from pathlib import Path

import msgspec
import trio
from rich.live import Live

from server.loadtest.measures.figures import Result
from server.loadtest.measures.plan import Plan, check_plan, check_target
from server.loadtest.report.page import draw
from server.loadtest.report.screen import REFRESH_SECONDS, Screen, console_of_width, show
from server.loadtest.rest import RestClient
from server.loadtest.run import LoadRun


def run_load_test(plan: Plan, secret: str, out: Path | None, yes_really: bool) -> int:
    """Run the plan and show the result; return the exit code, 1 if an event was lost or delivered twice.

    `secret` signs the tokens of the users; it must be the secret of the server. `out` is a directory for the result.
    `yes_really` allows a server on another machine. Starts trio's event loop. Raises LoadRefused.
    """
    check_plan(plan)
    check_target(plan.url, yes_really)
    result = trio.run(_run_with_screen, plan, secret, yes_really)
    show(result, console_of_width())
    if out is not None:
        save(result, out)
    return 1 if result.faults else 0


def save(result: Result, directory: Path) -> None:
    """Write `load.json` and `load.html` to a directory, which is created if necessary. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "load.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    (directory / "load.html").write_text(draw(result))


async def _run_with_screen(plan: Plan, secret: str, yes_really: bool) -> Result:
    rest, console = RestClient(plan.url), console_of_width()
    run = LoadRun(plan, secret, rest)
    try:
        with Live(Screen(run), console=console, auto_refresh=False, transient=True) as live:
            async with trio.open_nursery() as nursery:
                if console.is_terminal:
                    nursery.start_soon(_refresh, live)
                result = await run.run(yes_really)
                nursery.cancel_scope.cancel()
                return result
    finally:
        rest.close()


async def _refresh(live: Live) -> None:
    """Refresh in this task rather than in rich's thread, because the shown values change concurrently."""
    while True:
        live.refresh()
        await trio.sleep(REFRESH_SECONDS)
