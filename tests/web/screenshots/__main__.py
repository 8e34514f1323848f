"""Takes pictures of every screen and state of the web client: `python -m tests.web.screenshots DIRECTORY [WALK…]`.

Each in two sizes, both themes and both languages, on a server of its own for each walk; WALK names some. With
`--axe PATH` of axe-core's script, each is inspected too, without motion, and violations of WCAG 2.2 AA are printed.
"""

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

from tests.web.browser import play
from tests.web.demo import Demo
from tests.web.screenshots import scenes
from tests.web.screenshots.people import make_people

SIZES = [(390, 844), (1280, 800)]
SCHEMES, LANGUAGES = ["light", "dark"], ["en", "de"]
AT_ONCE = 2  # walks: each has a browser, and waits most of the time
SETTINGS = {
    "HALFMINUTE_CALLS_RING_COOLDOWN_SECONDS": "1",  # one fan rings the same creator again and again
    "HALFMINUTE_SERVER_DRAIN_SECONDS": "1",  # nobody is there any more
}


def main(out: Path, walks: list[str], axe: Path | None) -> int:
    """Write the pictures; those of an earlier run are replaced. Return the number of walks that failed."""
    out.mkdir(parents=True, exist_ok=True)
    failures = 0
    with ProcessPoolExecutor(AT_ONCE) as pool:
        for failure in pool.map(partial(_take, out, axe), product(walks, SIZES, SCHEMES, LANGUAGES)):
            if failure is not None:
                print(failure, flush=True)
                failures += 1
    print(f"{len(list(out.glob('*.png')))} pictures in {out}")
    return failures


def _take(out: Path, axe: Path | None, given: tuple[str, tuple[int, int], str, str]) -> str | None:
    """Take the pictures of one walk, on a server whose users are those of this walk alone; return why it failed."""
    walk, (width, height), scheme, language = given
    prefix = f"{out.absolute()}/{language}-{scheme}-{width}"
    look = {"viewport": {"width": width, "height": height}, "color_scheme": scheme, "locale": language}
    if axe is not None:
        look["reduced_motion"] = "reduce"
    with (
        tempfile.TemporaryDirectory(prefix="halfminute-pictures-") as folder,
        Demo(Path(folder) / "data", "--demo", settings=SETTINGS) as demo,
    ):
        people, script = make_people(demo), None if axe is None else str(axe.absolute())
        try:
            play(scenes.take_walk, walk=walk, url=demo.url, prefix=prefix, look=look, people=people, axe=script)
        except AssertionError as failure:
            return f"{walk}, {language}, {scheme}, {width}: {failure}"
        finally:
            demo.terminate()
            demo.wait_exit()  # a killed server's database would still write into the folder
    return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.web.screenshots")
    parser.add_argument("directory", type=Path)
    parser.add_argument("walks", nargs="*", default=list(scenes.WALKS), metavar="WALK")
    parser.add_argument("--axe", type=Path)
    asked = parser.parse_args()
    raise SystemExit(main(asked.directory, asked.walks, asked.axe) > 0)
