"""The shape of the house: who may import whom, and how long a module may grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import tiering

ROOT = Path(tiering.__file__).parent


#: Programs that load a module of tiering, which so finds them; tiering runs without them.
HOSTS = {"dlio_benchmark", "hatchling"}


def top_names(name: str) -> set[str]:
    """Return what can be imported of a distribution."""
    lines = distribution(name).read_text("RECORD").splitlines()
    return {re.split(r"[/.,]", line)[0] for line in lines}


def test_every_package_that_is_imported_is_a_dependency():
    """A newcomer's environment has no package that only the tests or another package bring."""
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]
    extras = [each for name, those in project["optional-dependencies"].items() if name != "dev" for each in those]
    declared = {re.split(r"[^\w-]", each)[0].lower().replace("_", "-") for each in [*project["dependencies"], *extras]}
    brought = set().union(*map(top_names, declared))
    missing = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for package in {name.partition(".")[0] for name in names} - {"tiering", *HOSTS, *sys.stdlib_module_names}:
                if package not in brought:
                    missing.add((package, str(path.relative_to(ROOT))))
    assert missing == set()


def test_nobody_imports_to_the_right_of_itself():
    lint = Path(sysconfig.get_path("scripts")) / "lint-imports"
    done = subprocess.run([lint], capture_output=True, text=True, cwd=ROOT.parent, check=False)
    assert done.returncode == 0, done.stdout


def test_no_module_is_longer_than_about_three_hundred_lines():
    lengths = {path: len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    assert {path: lines for path, lines in lengths.items() if lines > 310} == {}


def test_every_public_name_is_there():
    for name in tiering.__all__:
        assert getattr(tiering, name) is not None
