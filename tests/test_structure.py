"""The shape of the house: who may import whom, and how long a module may grow."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import tiering

ROOT = Path(tiering.__file__).parent


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
