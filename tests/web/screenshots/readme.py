"""Takes the pictures of the README on a fresh demo: `python -m tests.web.screenshots.readme .github/pictures`."""

import sys
import tempfile
from pathlib import Path

from tests.web import readme_scenes
from tests.web.browser import play
from tests.web.demo import Demo
from tests.web.screenshots.__main__ import SETTINGS


def main(out: Path) -> None:
    """Write the pictures over the former ones."""
    with (
        tempfile.TemporaryDirectory(prefix="halfminute-pictures-") as folder,
        Demo(Path(folder) / "data", "--demo", settings=SETTINGS) as demo,
    ):
        play(readme_scenes.take, url=f"{demo.url}/", out=str(out.absolute()))
        demo.terminate()
        demo.wait_exit()  # a killed server's database would still write into the folder


if __name__ == "__main__":
    main(Path(sys.argv[1]))
