"""The SDK by its own tests in Node, its size, and its declarations by the TypeScript compiler."""

import gzip
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.server.peers.absent import leave_out
from tests.support.npm import install_modules
from tests.web.node import SDK, require_node, run_node

HERE = Path(__file__).parent / "sdk"
TESTS = sorted(HERE.glob("*.test.mjs"))
MODULES = sorted(SDK.glob("*.js"))
SECONDS_MAX = 300
GZIPPED_BYTES_MAX = 15 * 1024  # of all modules, as they are served
FILES_MAX = 12
LINES_MAX = 350
STRICT = {
    "compilerOptions": {
        "strict": True,
        "noEmit": True,
        "target": "es2022",
        "module": "nodenext",
        "lib": ["es2022", "dom", "dom.asynciterable"],
        "jsx": "react-jsx",
    },
    "files": ["example.ts", "example_react.tsx"],
}


@pytest.mark.parametrize("test", TESTS, ids=lambda path: path.name.removesuffix(".test.mjs"))
def test_the_sdk_passes_its_tests_in_node(test: Path) -> None:
    require_node()
    printed = run_node("--test", "--test-reporter=tap", test, seconds=SECONDS_MAX)
    assert re.search(r"^# pass [1-9]", printed, re.MULTILINE), printed
    assert "# skipped 0" in printed


def test_all_modules_are_below_the_promised_size() -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9, mtime=0)) for path in MODULES}
    print(f"{sum(sizes.values())} bytes gzipped: {sizes}")
    assert 0 < sum(sizes.values()) < GZIPPED_BYTES_MAX, sizes


def test_the_folder_is_small_and_its_modules_depend_on_nothing_else() -> None:
    files = [path for path in SDK.iterdir() if path.is_file()]
    assert len(files) <= FILES_MAX
    assert {path.name: lines for path in files if (lines := len(path.read_text().splitlines())) > LINES_MAX} == {}
    for path in MODULES:
        text = path.read_text()
        imported = re.findall(r'from "([^"]+)"', text)
        assert all((SDK / name).is_file() and name.startswith("./") for name in imported), path.name
        assert "console.log" not in text
    package = json.loads((SDK / "package.json").read_text())
    assert "dependencies" not in package and package["exports"]["."]["default"] == "./halfminute.js"


def test_the_guide_has_the_reason_of_each_limit() -> None:
    guide = (SDK / "README.md").read_text().partition("## Limits")[2]
    limits = [
        found
        for path in MODULES
        for found in re.findall(r"^const (\w+_(?:MAX|MIN|MS)) = ([0-9_]+);", path.read_text(), re.M)
    ]
    assert len(limits) > 25
    for name, digits in limits:
        value = int(digits.replace("_", ""))
        text = f"{value / 1000:g} s" if name.endswith("_MS") else f"{value:,}"
        assert re.search(rf"(?<![\d.]){text}(?![\d.])", guide), f"{name}: {text}"


@pytest.mark.long
def test_the_declarations_and_two_applications_are_strict_typescript(tmp_path: Path) -> None:
    require_node()
    if (missing := install_modules(tmp_path, ("typescript@5.9.3", "@types/react@19.2.2"), SECONDS_MAX)) is not None:
        leave_out(missing)
    shutil.copytree(SDK, tmp_path / "node_modules" / "halfminute")
    for name in STRICT["files"]:
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "package.json").write_text(json.dumps({"type": "module", "private": True}))
    (tmp_path / "tsconfig.json").write_text(json.dumps(STRICT))
    run_node("node_modules/typescript/bin/tsc", "-p", ".", seconds=SECONDS_MAX, cwd=tmp_path)
