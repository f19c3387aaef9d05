"""`tiering info`: a folder and the store that is made from it are told alike."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

import tiering
from tests.trees import picture, put
from tiering.cli.app import app

LAYOUTS = {
    "class folders": ["cat/1.jpg", "dog/2.jpg", "dog/deep/3.jpg"],
    "split and class folders": ["train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg"],
    "splits": ["train/1.jpg", "test/2.jpg"],
    "flat": ["1.jpg", "2.jpg"],
}


def told(place):
    done = CliRunner().invoke(app, ["info", str(place), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    return {name: said[name] for name in ("samples", "image_bytes", "layout", "labels", "splits", "source", "account")}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_and_its_store_agree(photos, tmp_path, layout):
    pictures = iter(sorted(photos.rglob("*.jpg")))
    for name in LAYOUTS[layout]:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(next(pictures), tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    (tmp_path / "photos" / ".hidden.jpg").write_text("not looked at")
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1)
    assert told(tmp_path / "photos")["layout"] == layout
    assert told(tmp_path / "photos") == told(tmp_path / "store")
    shown = CliRunner().invoke(app, ["info", str(tmp_path / "store")]).stdout
    assert "account" in shown
    assert "hidden: 1" in shown
    assert "\\n" not in shown


def test_the_fields_of_a_folder_are_shown_as_those_of_a_store(tmp_path):
    for number in range(3):
        put(tmp_path, f"images/{number}.jpg", picture(16, 12))
        put(tmp_path, f"masks/{number}.png", picture(8, 8, "PNG"))
    (tmp_path / "images" / "metadata.csv").write_text("file_name,stars\n0.jpg,5\n1.jpg,3\n")
    done = CliRunner().invoke(app, ["info", str(tmp_path), "--field", "mask=masks/{stem}.png"])
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["stars", "integer,", "or", "none", "5", "3", "-"] in lines
    assert any(line[:2] == ["mask", "image"] for line in lines)
    for words in (["info", str(tmp_path)], ["bench", str(tmp_path), "--epochs", "2", "--batch-size", "2"]):
        done = CliRunner().invoke(app, [*words, "--json"])
        assert '"samples": 6' in done.stdout
        done = CliRunner().invoke(app, [*words, "--json", "--field", "mask=masks/{stem}.png"])
        assert '"samples": 3' in done.stdout
