"""A dataset's profile counts exactly what a walk sees, and samples what only headers tell."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from PIL import Image

from tests.dataset.trees import FIXTURES, picture, put
from tiering.dataset.profile import QUANTILES, DatasetProfile, profile_dataset


def test_counts_sizes_and_labels_of_the_fixture_images():
    profile = profile_dataset(FIXTURES)
    paths = [path for path in FIXTURES.rglob("*") if path.is_file()]
    sizes = sorted(path.stat().st_size for path in paths)
    assert (profile.files, profile.bytes) == (300, sum(sizes))
    assert profile.size_mean == pytest.approx(sum(sizes) / 300)
    assert tuple(profile.size_quantiles) == QUANTILES
    assert profile.size_quantiles["0"] == sizes[0]
    assert profile.size_quantiles["1"] == sizes[-1]
    assert profile.size_quantiles["0.25"] == sizes[75]
    assert list(profile.size_quantiles.values()) == sorted(profile.size_quantiles.values())
    assert profile.labels == dict(Counter(path.parent.name for path in sorted(paths)))
    assert profile.layout == "class folders"
    assert profile.probed == 300
    images = [Image.open(path) for path in paths]
    assert profile.formats == dict(Counter(image.format for image in images))
    assert profile.distinct_shapes == len({(image.size, image.mode) for image in images})
    assert profile.pixel_bytes_mean == pytest.approx(sum(3 * image.width * image.height for image in images) / 300)
    assert not profile.damaged
    assert not profile.notes
    assert DatasetProfile.model_validate_json(profile.model_dump_json()) == profile


def test_the_sample_depends_on_the_seed_alone():
    first, again, other = (profile_dataset(FIXTURES, probes=40, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.probed == sum(first.formats.values()) == 40
    assert first.shapes != other.shapes
    assert first.size_quantiles == other.size_quantiles


def test_one_image_has_a_profile(tmp_path):
    put(tmp_path, "one.jpg")
    profile = profile_dataset(tmp_path)
    assert profile.layout == "flat"
    assert profile.labels == {}
    assert set(profile.size_quantiles.values()) == {profile.bytes}
    assert [(shape.width, shape.height, shape.mode, shape.count) for shape in profile.shapes] == [(16, 12, "RGB", 1)]


def test_damaged_images_are_listed_with_their_reason(tmp_path):
    put(tmp_path, "train/cat/good.jpg")
    put(tmp_path, "train/cat/empty.jpg", b"")
    put(tmp_path, "train/cat/cut.jpg", picture(64, 64)[:-50])
    put(tmp_path, "test/dog/garbage.jpg", b"<html>404 Not Found</html>")
    put(tmp_path, "test/dog/readme.txt", b"words")
    os.mkfifo(tmp_path / "pipe")
    profile = profile_dataset(tmp_path)
    assert profile.layout == "split and class folders"
    assert profile.labels == {"cat": 3, "dog": 1}
    assert profile.damaged == [
        "test/dog/garbage.jpg: no known image format (begins with 3c 68 74 6d)",
        "train/cat/cut.jpg: a truncated JPEG",
        "train/cat/empty.jpg: zero bytes",
    ]
    assert (profile.probed, profile.damaged_count) == (4, 3)
    assert profile.formats == {"JPEG": 1}
    assert (profile.other_files, profile.other_bytes) == (1, 5)
    assert profile.skipped == {"FIFO": 1}
    assert any("zero bytes" in note for note in profile.notes)


def test_a_dataset_of_nothing_but_damage_still_has_a_profile(tmp_path):
    put(tmp_path, "a.jpg", b"")
    profile = profile_dataset(tmp_path)
    assert profile.pixel_bytes_mean == 0
    assert profile.damaged_count == 1


def test_names_that_are_not_utf8_can_be_written_as_json(tmp_path):
    put(tmp_path, b"photos\xff/caf\xe9/\xff.jpg", b"broken")
    profile = profile_dataset(os.fsdecode(os.fsencode(tmp_path) + b"/photos\xff"))
    assert profile.root.endswith(r"photos\xff")
    assert profile.labels == {r"caf\xe9": 1}
    assert profile.damaged[0].startswith(r"caf\xe9/\xff.jpg: ")
    assert "not UTF-8" in profile.notes[0]
    assert DatasetProfile.model_validate_json(profile.model_dump_json()) == profile


def test_no_probe_is_a_mistake():
    with pytest.raises(ValueError, match="at least 1"):
        profile_dataset(FIXTURES, probes=0)
