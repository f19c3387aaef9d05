"""A profile shows the fields that a conversion takes: counted, sampled, in folders, tars and trees of their own."""

from __future__ import annotations

import json

import polars as pl
import pytest
from typer.testing import CliRunner

import tiering
from tests.packing.test_field_layouts import ade20k, imagefolder
from tests.sources.test_tar_samples import pack
from tests.sources.trees.test_remote import upload
from tests.trees import picture, put
from tiering.cli.app import app
from tiering.dataset.counting import count_remote, count_tree
from tiering.sources.scan import scan
from tiering.sources.trees import entries


def fields(profile):
    return {each.name: (each.kind, each.count, each.suffix) for each in profile.fields}


@pytest.fixture
def photos(tmp_path):
    for number in range(30):
        put(tmp_path / "photos", f"c{number % 3}/{number}.jpg", picture(16 + number, 12))
        put(tmp_path / "photos", f"c{number % 3}/{number}.mask.png", picture(8, 8, "PNG"))
        if number % 2:
            put(tmp_path / "photos", f"c{number % 3}/{number}.txt", b"words")
    return tmp_path / "photos"


FOUND = {"mask": ("image", 30, "mask.png"), "txt": ("string", 15, "txt")}


def test_a_profile_of_few_and_of_many_files_shows_the_same_fields(photos, monkeypatch):
    assert fields(tiering.profile_dataset(photos)) == FOUND
    assert fields(tiering.profile_dataset(photos, sample="all")) == FOUND
    monkeypatch.setattr("tiering.dataset.gathering.ALL_HEADERS", 5)
    counted = tiering.profile_dataset(photos)
    assert fields(counted) == FOUND
    assert (counted.files, counted.account.field_files, counted.extensions) == (30, 45, {"jpg": 30})
    sampled = tiering.profile_dataset(photos, sample=10)
    assert fields(sampled) == FOUND
    assert round(sampled.estimates["field files"].value) == sampled.account.field_files == 45


def test_in_a_bucket_and_in_tars_they_are_the_same(photos, tmp_path, s3):
    upload(photos, s3)
    for sample in ("auto", "all", 20):
        assert fields(tiering.profile_dataset(s3, sample=sample)) == FOUND
    members = [(str(path.relative_to(photos)), path.read_bytes()) for path in sorted(photos.rglob("*.*"))]
    assert fields(tiering.profile_dataset(pack(tmp_path / "x.tar", members))) == FOUND
    local, remote = count_tree(photos), count_remote(s3)
    for totals in (local, remote):
        assert (totals.sizes.count, totals.left_out.field_files, totals.left_out.suffixes) == (
            30, 45, {b"mask.png": 30, b"txt": 15},
        )  # fmt: skip
    assert local.left_out.field_bytes == remote.left_out.field_bytes


@pytest.mark.parametrize("shared", [1 << 20, 0], ids=["whole", "in parts"])
@pytest.mark.parametrize("processes", [1, 3])
def test_masks_are_no_images_however_a_directory_is_counted(tmp_path, monkeypatch, shared, processes):
    monkeypatch.setattr(entries, "SHARED_BYTES", shared)
    for number in range(300):
        put(tmp_path, f"{number:03d}.jpg", b"1" * number)
        if number < 150:
            put(tmp_path, f"{number:03d}.mask.png", b"1" * (number + 1))
    put(tmp_path, "299.png", b"1")
    put(tmp_path, "300.png", b"1" * 300)
    (tmp_path / "400.jpg").symlink_to("nowhere")
    put(tmp_path, "400.txt", b"12")
    found, walked = count_tree(tmp_path, keep=1000, processes=processes), scan(tmp_path)
    assert found.kept == list(walked.files.select("key", "size").iter_rows())
    assert (found.sizes.count, found.sizes.total) == (301, sum(range(301)))
    assert found.extensions == {"jpg": 300, "png": 1}
    assert found.folders == {b"": 301}
    assert (found.left_out.field_files, found.left_out.suffixes) == (151, {b"mask.png": 150, b"png": 1})
    counts = {kind: tally.count for kind, tally in found.left_out.kinds.items()}
    assert counts == {"broken link": 1, "sidecar": 1}
    assert (walked.account.field_files, walked.account.field_bytes) == (151, found.left_out.field_bytes)


def test_trees_and_metadata_are_shown_on_the_command_line_with_kinds_and_counts(tmp_path):
    pattern = ade20k(tmp_path / "ade")["mask"]
    command = ["profile", str(tmp_path / "ade"), "--field", f"mask={pattern}"]
    done = CliRunner().invoke(app, command)
    assert "fields" in done.stdout
    assert "mask (image): all images" in done.stdout
    (shown,) = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["dataset"]["fields"]
    assert sum(shown.pop("distribution")["counts"]) == 6
    assert shown == {"name": "mask", "kind": "image", "count": 6, "suffix": "mask.png"}
    imagefolder(tmp_path / "hf", "csv")
    (tmp_path / "hf" / "test" / "metadata.csv").unlink()
    profile = tiering.profile_dataset(tmp_path / "hf", sample=2)
    assert fields(profile) == {"text": ("string", 4, ""), "score": ("float", 4, "")}


def test_convert_takes_patterns_on_the_command_line_and_refuses_what_is_none(tmp_path):
    pattern = ade20k(tmp_path / "ade")["mask"]
    words = ["convert", str(tmp_path / "ade"), str(tmp_path / "store"), "--to", "lmdb", "--workers", "1"]
    done = CliRunner().invoke(app, [*words, "--field", f"mask={pattern}"])
    assert done.exit_code == 0, done.output
    assert "13 files met: 6 packed, 6 as their fields, 1 left out" in done.stdout
    assert list(tiering.open_store(tmp_path / "store").fields) == ["label", "mask"]
    for given, said in ((["mask"], "NAME=PATTERN"), ([f"a={pattern}", f"a={pattern}"], "NAME=PATTERN"),
                        (["mask=x/{stem}.png"], "--field: needs files like x/{stem}.png")):  # fmt: skip
        flags = [flag for each in given for flag in ("--field", each)]
        done = CliRunner().invoke(app, [*words[:2], str(tmp_path / "other"), *words[3:], *flags])
        assert done.exit_code in (2, 3)
        assert said in " ".join(done.stderr.split())
        assert not (tmp_path / "other").exists()


def test_a_scan_of_many_images_of_which_the_last_have_captions_has_its_columns_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("tiering.sources.trees.walk.BATCH", 2)
    for number in range(5):
        put(tmp_path, f"{number}.jpg", b"x")
    put(tmp_path, "4.txt", b"four")
    assert scan(tmp_path).files.schema == pl.Schema({"key": pl.Binary, "size": pl.Int64, "mtime_ns": pl.Int64})
