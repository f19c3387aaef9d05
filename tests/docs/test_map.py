"""The map in docs/architecture.md agrees with the tree, and so do the walks through it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tiering

PACKAGE = Path(tiering.__file__).parent
PAGE = (PACKAGE.parent / "docs/architecture.md").read_text()
WALKS = ("Convert", "A cache miss", "From a trace to a verdict")


def section(title: str) -> str:
    """Return the text below a heading, up to the next heading of its level or above."""
    level, _, rest = re.search(rf"^(##+) ({re.escape(title)})\n(.*)", PAGE, re.DOTALL | re.MULTILINE).groups()
    return re.split(rf"^#{{2,{len(level)}}} ", rest, flags=re.MULTILINE)[0]


def modules() -> set[str]:
    """Return every module by its path below the package; the first file of a room stands for the room."""
    paths = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    return {path for path in paths if not path.endswith("/__init__.py")}


def rooms() -> set[str]:
    return {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*/__init__.py")} - {"."}


def test_the_map_lists_every_module_once_and_no_other():
    listed = re.findall(r"^- `([^`]+\.py)`: \S", section("The map"), re.MULTILINE)
    assert sorted(listed) == sorted(modules())


def test_the_map_lists_every_room_once_and_no_other():
    listed = re.findall(r"^### `tiering/([^`]+)/`: \S", section("The map"), re.MULTILINE)
    assert sorted(listed) == sorted(rooms())


def test_the_map_lists_each_module_in_its_room():
    room = ""
    for line in section("The map").splitlines():
        if heading := re.match(r"### `tiering/(.*)`", line):
            room = heading[1]
        if entry := re.match(r"- `([^`]+\.py)`", line):
            assert entry[1].rpartition("/")[0] == room.rstrip("/")


def test_no_room_or_top_module_has_the_name_of_a_public_function():
    top = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert not (top - {"__init__"}) & set(tiering.__all__)


def test_importing_every_module_changes_no_public_name():
    """Importing a submodule sets it as an attribute of the package: one named as a function would hide it."""
    # Only DLIO imports its data loader, which needs DLIO.
    paths = sorted(modules() - {"__main__.py", "__init__.py", "measure/dlio.py"})
    names = [path.removesuffix(".py").replace("/", ".") for path in paths]
    code = f"""
import importlib, types, tiering
before = {{name: getattr(tiering, name) for name in tiering.__all__}}
for name in {names!r}:
    importlib.import_module("tiering." + name)
for name, value in before.items():
    assert getattr(tiering, name) is value, name
    assert not isinstance(value, types.ModuleType), name
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_names_existing_modules_and_enters_none_twice(title):
    steps = re.findall(r"^\d+\. `([^`]+)`", section(title), re.MULTILINE)
    assert len(steps) >= 5
    assert set(steps) <= modules()
    assert len(set(steps)) == len(steps)


@pytest.mark.parametrize("title", WALKS)
def test_the_diagram_of_a_walk_shows_its_steps(title):
    steps = set(re.findall(r"^\d+\. `([^`]+)`", section(title), re.MULTILINE))
    lines = [line for line in section(title).splitlines() if line.startswith("    ")]
    drawn = re.findall(r"[\w/]+\.py", "\n".join(lines))
    assert set(drawn) == steps
    assert len(drawn) == len(steps)


def test_every_public_name_has_the_home_that_the_package_says():
    for name, home in tiering._homes().items():
        assert getattr(importlib.import_module(home), name) is getattr(tiering, name)


def test_every_module_named_elsewhere_on_the_page_exists():
    decisions = section("Decisions")
    names = {path.rpartition("/")[2] for path in modules()}
    for named in re.findall(r"`([\w/]+\.py)`", decisions):
        assert (
            named in modules()
            or named.removeprefix("tiering/") in modules()
            or named in names
            or (PACKAGE.parent / named).exists()
        ), named


def test_the_order_of_imports_on_the_page_is_the_one_that_is_checked():
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    floors = [layer.replace("tiering.", "") for layer in contract["layers"]]
    assert re.findall(r"`([a-z_| ]+)`", section("Imports").split("From the top:")[1].split("\n\n")[1]) == floors
