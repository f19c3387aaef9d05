"""Every path and every name in CONTRIBUTING.md exists."""

from __future__ import annotations

import re
from pathlib import Path

import tiering

ROOT = Path(tiering.__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
QUOTED = re.findall(r"`([^`\n]+)`", PAGE)


def test_every_path_exists():
    paths = [
        words for words in QUOTED if re.fullmatch(r"[.\w-]+(/[.\w-]*)+|[.\w-]+\.(md|toml|yaml|yml)|Makefile", words)
    ]
    wanted = [path for path in paths if "NAME" not in path]
    assert len(wanted) > 50
    assert [path for path in wanted if not (ROOT / path).exists()] == []


def test_every_name_of_the_code_exists():
    code = "\n".join(path.read_text() for path in [*(ROOT / "tiering").rglob("*.py"), ROOT / "tests/conftest.py"])
    names = [words for words in QUOTED if re.fullmatch(r"[A-Z_]{4,}|_[A-Z]+|[a-z]+_[a-z_]+", words)]
    names = [name for name in names if name != "NAME"]
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []


def test_every_target_of_make_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", PAGE)) - {"conditional"} <= targets | {"in", "lint"}


def test_every_verb_is_on_the_list_of_steps():
    titles = set(re.findall(r"^## (.*)", PAGE, re.MULTILINE))
    wanted = {
        "a trace format",
        "a codec",
        "a tier",
        "a cloud",
        "an image source",
        "a store format",
        "a verb",
        "a cause",
    }
    assert {f"Add {each}" for each in wanted} | {
        "Set up",
        "Find your way",
        "Write a page",
        "Write a test",
        "Retrain the model",
    } == titles
