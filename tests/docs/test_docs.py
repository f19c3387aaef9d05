"""The readers of stores in the documentation work, and verbs, commands and links in it are those that there are."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest
import typer

import tiering
from tests.conftest import FIXTURES
from tiering.cli.app import app

ROOT = FIXTURES.parent
VERBS = sorted(typer.main.get_command(app).commands)


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "fixtures").symlink_to(FIXTURES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_plain_readers_reproduce_every_sample(place, photos):
    codes = blocks("docs/formats.md", "python")[:3]
    stores = {"photos.lmdb": {}, "photos.zarr": {}, "pixels.zarr": {"pixels": tiering.Pixels(24, 32)}}
    for (name, how), code in zip(stores.items(), codes, strict=True):
        assert sum(bool(line.strip()) for line in code.splitlines()) <= 5
        tiering.convert(photos, place / name, name.split(".")[1], shards=tiering.Shards(400_000), **how)
        names = {"pathlib": pathlib}
        exec(compile(code, "docs/formats.md", "exec"), names)
        store = tiering.open_store(place / name)
        assert len(store.manifest.shards) > 1
        assert [bytes(image) for image in names["images"]] == [bytes(store[i].image) for i in range(len(store))]


def test_plain_readers_reproduce_every_mask_and_caption(place):
    subprocess.run([sys.executable, FIXTURES / "make_shapes.py", "--count", "50", "shapes"], check=True)
    tiering.convert("shapes", "shapes.lmdb", "lmdb", fields={"mask": "masks/{stem}.png"}, workers=1)
    tiering.convert("shapes/pairs.tar", "pairs.zarr", "zarr", workers=1)
    names = {}
    for code in blocks("docs/formats.md", "python")[-2:]:
        assert sum(bool(line.strip()) for line in code.splitlines()) <= 5
        exec(compile(code, "docs/formats.md", "exec"), names)
    with tiering.open_store("shapes.lmdb") as shapes, tiering.open_store("pairs.zarr") as pairs:
        assert names["masks"] == [bytes(mask) for mask in shapes.read_field("mask", range(50))]
        assert names["captions"] == pairs.read_field("txt", range(50))
    assert None in names["captions"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_readme(verb):
    assert f"| `tiering {verb}` |" in (ROOT / "README.md").read_text()


def test_the_command_line_reference_is_current(tmp_path):
    made = tmp_path / "cli.md"
    command = [sys.executable, "-m", "typer", "tiering.cli.app", "utils", "docs", "--name", "tiering", "--output", made]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    assert made.read_text() == (ROOT / "docs/reference/cli.md").read_text(), f"remake it: {' '.join(map(str, command))}"


def test_every_link_leads_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"
