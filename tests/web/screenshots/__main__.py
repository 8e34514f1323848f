"""Takes pictures of every screen and state of the web client: `python -m tests.web.screenshots DIRECTORY [WALK…]`.

Each in two sizes, both themes and both languages, on a server of its own for each walk; WALK names some.
"""

import sys
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


def main(out: Path, walks: list[str]) -> None:
    """Write the pictures; those of an earlier run are replaced. Raises AssertionError if a walk fails."""
    out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(partial(_take, out), product(walks, SIZES, SCHEMES, LANGUAGES)):
            pass  # raises what a walk has raised
    print(f"{len(list(out.glob('*.png')))} pictures in {out}")


def _take(out: Path, given: tuple[str, tuple[int, int], str, str]) -> None:
    """Take the pictures of one walk, on a server whose users are those of this walk alone."""
    walk, (width, height), scheme, language = given
    prefix = f"{out.absolute()}/{language}-{scheme}-{width}"
    look = {"viewport": {"width": width, "height": height}, "color_scheme": scheme, "locale": language}
    with (
        tempfile.TemporaryDirectory(prefix="halfminute-pictures-") as folder,
        Demo(Path(folder) / "data", "--demo", settings=SETTINGS) as demo,
    ):
        play(scenes.take_walk, walk=walk, url=demo.url, prefix=prefix, look=look, people=make_people(demo))
        demo.terminate()
        demo.wait_exit()  # a killed server's database would still write into the folder


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(scenes.WALKS))
