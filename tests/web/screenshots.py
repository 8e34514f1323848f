"""Takes pictures of every screen of the web client: `python -m tests.web.screenshots DIRECTORY`.

Each in two sizes, in the light theme in English and in the dark one in German.
"""

import sys
import tempfile
from itertools import product
from pathlib import Path

from tests.support.processes import ServerProcess
from tests.web import screenshot_scenes
from tests.web.browser import play

SIZES = [[390, 844], [1280, 800]]
SCHEMES = [["light", "en"], ["dark", "de"]]
SETTINGS = {"HALFMINUTE_CALLS_RING_COOLDOWN_SECONDS": "1"}  # one fan rings the same creator again and again


def main(out: Path) -> None:
    """Write the pictures; those of an earlier run are replaced."""
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="halfminute-pictures-") as folder,
        ServerProcess(Path(folder) / "data", "--demo", settings=SETTINGS) as server,
    ):
        url = f"http://127.0.0.1:{server.http_port}/"
        for size, scheme in product(SIZES, SCHEMES):  # each has the time of a scene
            play(screenshot_scenes.take_pictures, url=url, out=str(out.absolute()), sizes=[size], schemes=[scheme])
    print(f"{len(list(out.glob('*.png')))} pictures in {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
