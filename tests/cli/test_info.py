"""`tiering info`: a folder and the store that is made from it are told alike."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

import tiering
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
