"""The profile of a store has the figures of the images that it was packed from, in every format and place."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import tiering
from tests.trees import picture, put
from tiering.cli.app import app
from tiering.dataset.profile import DatasetProfile
from tiering.errors import StoreError
from tiering.store import field_distributions
from tiering.store.open import is_store
from tiering.workload.profile import read_profile

KINDS = {"lmdb": ("lmdb", "none"), "zarr": ("zarr", "none"), "zstd": ("zarr", "zstd")}

#: What a profile says of the files and their place, not of the images.
OF_FILES = {"root", "layout", "arrangement", "notes", "account", "other_files", "other_bytes", "skipped", "extensions"}


def figures(profile: DatasetProfile) -> dict[str, object]:
    found = profile.model_dump(exclude=OF_FILES)
    found["shapes"].sort(key=lambda shape: shape["width"])
    return found


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Images with fields of all kinds of columns, some without a value, and a file that is no image."""
    rows = ["path,label,split,stars,score,caption"]
    for number in range(60):
        put(tmp_path / "photos", f"{number:02d}.jpg", picture(16 + number % 7, 12))
        stars, caption = ("", "") if number % 4 == 0 else (number % 5, "\u00e4" * (number % 9))
        split = "train" if number < 45 else "val"
        rows.append(f"{number:02d}.jpg,c{number % 3},{split},{stars},{number / 7},{caption}")
    put(tmp_path / "photos", "bad.jpg", b"no image")
    rows.append("bad.jpg,c0,train,1,1.0,bad")
    (tmp_path / "photos" / "list.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "photos" / "list.csv"


@pytest.mark.parametrize("place", ["here", "bucket"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_that_of_the_source(table, tmp_path, s3, kind, place):
    to, codec = KINDS[kind]
    store = f"{s3}/store" if place == "bucket" else tmp_path / "store"
    assert not is_store(store)
    tiering.convert(table, store, to, codec=codec, on_error="skip", workers=1)
    assert is_store(store)
    found, whole = tiering.profile_store(store), tiering.profile_dataset(table)
    assert found.is_packed
    # The source's damaged image is left out of the store, so the profile of the rest is to be compared.
    assert found.account.left_out == whole.account.left_out
    (table.parent / "bad.jpg").unlink()
    table.write_text(table.read_text().rpartition("bad.jpg")[0])
    whole = tiering.profile_dataset(table)
    assert figures(found) == figures(whole)
    assert {each.name: (each.kind, each.count) for each in found.fields} == {
        "stars": ("integer", 45), "score": ("float", 60), "caption": ("string", 40)
    }  # fmt: skip
    # Sizes of text are bytes of UTF-8: eight letters of two bytes.
    assert next(each for each in found.fields if each.name == "caption").distribution.quantiles["1"] == 16
    assert "Splits: train 45, val 15." in found.arrangement


def test_parts_of_columns_add_up(table, tmp_path, monkeypatch):
    tiering.convert(table, tmp_path / "store", "lmdb", on_error="skip", workers=1)
    whole = tiering.profile_store(tmp_path / "store")
    for module in (field_distributions, tiering.store.profile):
        monkeypatch.setattr(module, "ROWS", 7)
    assert tiering.profile_store(tmp_path / "store") == whole


def test_selections_and_several_stores_together_have_figures_of_their_own(table, tmp_path):
    for name, to in (("a", "lmdb"), ("b", "zarr")):
        tiering.convert(table, tmp_path / name, to, on_error="skip", workers=1)
    store = tiering.open_store(tmp_path / "a")
    chosen = tiering.profile_store(store.select("stars >= 3", split="val"))
    numbers = [n for n in range(45, 60) if n % 4 and n % 5 >= 3]
    assert (chosen.files, chosen.account) == (len(numbers), None)
    assert chosen.fields[0].distribution.quantiles["0"] == 3
    assert chosen.arrangement.startswith(f"{len(numbers)} samples of an LMDB store of 1 shard")
    both = tiering.profile_store(tiering.concat(tmp_path / "a", tmp_path / "b"))
    assert (both.files, both.labels["c1"]) == (120, 40)
    assert [each.count for each in both.fields] == [90, 120, 80]
    assert both.estimates["duplicate_share"].value == pytest.approx(1 - len({n % 7 for n in range(60)}) / 120)


def test_an_earlier_generation_is_profiled_as_it_was(table, tmp_path):
    tiering.convert(table, tmp_path / "store", "lmdb", on_error="skip", workers=1)
    before = tiering.profile_store(tmp_path / "store")
    tiering.remove(tmp_path / "store", where="stars = 1")
    assert tiering.profile_store(tmp_path / "store").files < 60
    first = tiering.profile_store(tiering.open_store(tmp_path / "store", generation=1))
    assert first == before


def test_vectors_are_counted_and_pixels_have_no_format(tmp_path):
    for number in range(6):
        put(tmp_path / "photos", f"{number}.png", picture(8, 8, "PNG"))
    rows = [f'{{"file_name": "{n}.png"' + (f', "box": [{n}, 1.5]' if n else "") + "}" for n in range(6)]
    (tmp_path / "photos" / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    tiering.convert(tmp_path / "photos", tmp_path / "store", "zarr", pixels=tiering.Pixels(), workers=1)
    found = tiering.profile_store(tmp_path / "store")
    assert [(each.name, each.kind, each.count, each.distribution) for each in found.fields] == [
        ("box", "vector", 5, None)
    ]
    assert found.is_decoded
    assert [(each.width, each.height, each.mode) for each in found.shapes] == [(8, 8, "RGB")]
    twice = tiering.profile_store(tiering.concat(tmp_path / "store", tmp_path / "store"))
    assert [each.count for each in twice.fields] == [10]


def test_a_damaged_image_is_counted_and_a_missing_shard_is_an_error(table, tmp_path):
    tiering.convert(table, tmp_path / "store", "zarr", on_error="skip", workers=1)
    with tiering.open_store(tmp_path / "store") as store:
        (at,) = np.array(store.byte_ranges(np.array([3])).offset)
        (shard,) = store.files()
    with shard.open("r+b") as file:
        file.seek(int(at))
        file.write(b"none")
    found = tiering.profile_store(tmp_path / "store")
    assert found.damaged_count == 1
    assert "no known image format" in found.damaged[0]
    shard.unlink()
    with pytest.raises(StoreError):
        tiering.profile_store(tmp_path / "store")


def test_probes_limit_the_images_that_are_looked_at(table, tmp_path):
    tiering.convert(table, tmp_path / "store", "lmdb", on_error="skip", workers=1)
    found = tiering.profile_store(tmp_path / "store", probes=10, seed=1)
    assert (found.probed, found.files, found.labels["c2"]) == (10, 60, 20)
    assert found == tiering.profile_store(tmp_path / "store", probes=10, seed=1)
    with pytest.raises(ValueError, match="probes"):
        tiering.profile_store(tmp_path / "store", probes=0)


def test_a_directory_with_a_manifest_of_its_own_is_no_store(tmp_path):
    put(tmp_path, "photos/1.jpg")
    put(tmp_path, "photos/manifest.json", b'{"format": "mine"}')
    assert not is_store(tmp_path / "photos")
    assert not is_store(tmp_path / "photos" / "1.jpg")
    (tmp_path / "photos" / "manifest.json").unlink()
    (tmp_path / "photos" / "manifest.json").mkdir()
    assert not is_store(tmp_path / "photos")


def test_the_report_of_a_store_shows_its_fields_and_gives_no_advice(table, tmp_path):
    store, page, profile = tmp_path / "store", tmp_path / "report.html", tmp_path / "profile.json"
    tiering.convert(table, store, "zarr", on_error="skip", workers=1)

    def run(*words: object) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words])
        return f"{done.exit_code} {' '.join(done.output.split())}"

    assert run("profile", store, "-o", profile).startswith("0")
    assert read_profile(profile).dataset == tiering.profile_store(store)
    written = []
    for source in (store, profile):
        assert run("report", source, "-o", page, "--force").startswith("0")
        written.append(re.sub(r"[0-9-]{10}T[0-9:]{8}Z", "when", page.read_text()))
    assert written[0] == written[1]
    for words in ("Thumbnail of 0", "61 files met: 60 packed, 1 left out", "caption: sizes", "No recommendations: "):
        assert words in written[0]
    assert "Recommendations" not in written[0]
    refused = run("recommend", profile)
    assert refused.startswith("2")
    assert "a profile of images that are not packed" in refused
    shutil.rmtree(store)
    assert run("report", profile, "-o", page, "--force").startswith("0")
    assert "No thumbnails" in page.read_text()
