"""The vendored modules are those that were published, and import nothing that a browser cannot find."""

import re
from hashlib import sha256

from server.web.assets import HERE, load_assets

VENDOR = HERE / "vendor"
SUMS = VENDOR / "SHA256SUMS"
OURS = {"SHA256SUMS", "README.md"}


def test_each_file_has_the_digest_with_which_it_was_published() -> None:
    lines = [line.split() for line in SUMS.read_text().splitlines()]
    listed = {name: digest for digest, name in lines}
    found = {
        file.relative_to(VENDOR).as_posix(): sha256(file.read_bytes()).hexdigest()
        for file in VENDOR.rglob("*")
        if file.is_file() and file.name not in OURS
    }
    assert found == listed


def test_each_package_has_its_licence_and_a_line_with_its_version() -> None:
    packages = sorted(each.name for each in VENDOR.iterdir() if each.is_dir())
    assert packages == sorted(re.findall(r"^\| `([\w-]+)` \|", (VENDOR / "README.md").read_text(), re.MULTILINE))
    assert all((VENDOR / package / "LICENSE").read_text() for package in packages)


def test_served_modules_import_by_path_alone() -> None:
    for asset in load_assets():
        if asset.path.endswith(".js"):
            names = re.findall(r"""(?:^|[;\s}])(?:from|import)\s*["']([^"']+)["']""", asset.body.decode())
            assert all(name.startswith((".", "/")) for name in names), (asset.path, names)
