"""The example in the help of each verb runs; what it prints fits the terminal, with the answer first and no odd number."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import typer

from tests import warm
from tests.conftest import FIXTURES
from tiering.cli.app import app

#: In an order in which each finds what it needs, with what its first five lines must say.
ANSWERS = {
    "profile": "40, 206 kB in all",
    "trace": "Wrote train.parquet: .* read",
    "watch": "the job read .* and wrote",
    "classify": "re-read-heavy",
    "survey": "class folders",
    "model show": "macro F1",
    "model card": "Wrote model.md",
    "estimate": "An epoch reads 140.8 GB",
    "recommend": "USD a.month",
    "report": "Wrote report.html",
    "place": "on nvme and 7 files",
    "tiers list": "GB/s",
    "tiers show": "local NVMe SSD",
    "tiers check": "9 tiers, 0 warnings",
    "convert": "40 samples, 206 kB, 1 shard",
    "append": "0 added",
    "relabel": "1 label and 0 splits changed",
    "remove": "1 removed, 39 samples left",
    "log": "convert",
    "repair": "no shard is missing or damaged",
    "verify": "every CRC-32C right",
    "info": "the original files",
    "export": "39 samples",
    "bench": "samples",
    "cache warm": "203 kB fetched",
    "cache info": "203 kB",
    "cache verify": "0 damaged",
    "cache size": "sets the pace",
    "cache clear": "Removed",
}
#: Take minutes, or as long as they are told to.
LONG = {"model train": "", "model evaluate": "", "probe": "reads .* in flight .* bandwidth"}

#: What nobody says: 3.45e+03, "1 files", units that are none, nan.
ODD = [
    re.compile(r"(?<![0-9a-f])\d+(?:\.\d+)?[eE][+-]\d+"),
    re.compile(r"(?<![\d.,:/x-])\b1 (?!class\b|process\b|less\b)[a-z]+[^s\W]s\b"),
    re.compile(r"\d (?:MIB|Mib|mib|KB|Kb|gb|mb|Bs)\b"),
    re.compile(r"\d{4}\.\d"),
    re.compile(r"\b(?:nan|None|inf)\b"),
]


def commands(command, name=""):
    """Yield each command with its name: `cache warm`, and so on."""
    for word, each in getattr(command, "commands", {}).items():
        yield from commands(each, f"{name} {word}".strip())
    if not hasattr(command, "commands"):
        yield name, command


COMMANDS = dict(commands(typer.main.get_command(app)))


def example_of(name):
    """Return the words of the example in a command's help."""
    (line,) = re.findall(r"Example: `(.*?)`", COMMANDS[name].help)
    return line.split()[1:]


@pytest.fixture
def place(few_photos, monkeypatch):
    """A directory that holds what the examples name; the current one. Its path is short, for lines hold it whole."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        monkeypatch.chdir(made)
        monkeypatch.setenv("XDG_CACHE_HOME", f"{made}/cache")
        # The examples run `python`.
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        _fill(few_photos)
        yield


def _fill(few_photos):
    shutil.copytree(few_photos, "photos")
    shutil.copytree(few_photos, "scans")
    traced = gzip.decompress((FIXTURES / "traces" / "train_loop.strace.gz").read_bytes())
    Path("train.strace").write_bytes(traced)
    Path("traces/re-read-heavy/loop").mkdir(parents=True)
    Path("traces/re-read-heavy/loop/train.strace").write_bytes(traced)
    keys = sorted(str(path.relative_to("photos")) for path in Path("photos").rglob("*.*"))
    Path("corrected.csv").write_text(f"key,label\n{keys[0]},cat\n")
    Path("opted-out.txt").write_text(f"{keys[1]}\n")
    Path("train.py").write_text(
        "import pathlib\nfor path in pathlib.Path('photos').rglob('*.*'):\n    path.read_bytes()\n"
    )
    Path("mine.toml").write_text("[tier.nvme]\nprice = 0.1\n")


def check(name, width):
    code, lines = warm.on_terminal(*example_of(name), width=width)
    said = f"tiering {' '.join(example_of(name))}\n" + "\n".join(lines)
    assert code == 0, said
    assert [line for line in lines if len(line.rstrip()) > width] == [], said
    assert re.search(ANSWERS.get(name) or LONG[name], " ".join(lines[:5])), said
    assert [found[0] for odd in ODD for line in lines if (found := odd.search(line))] == [], said


@pytest.mark.parametrize("width", [80, pytest.param(120, marks=pytest.mark.slow)])
def test_every_example_runs_and_fits(place, width):
    assert {*ANSWERS, *LONG} == {*COMMANDS}
    assert warm.run("convert", "photos/", "photos.zarr", "--to", "zarr").returncode == 0
    for name in ANSWERS:
        check(name, width)


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_every_long_example_runs_and_fits(place, name):
    check(name, 80)
