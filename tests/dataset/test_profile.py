"""A dataset's profile counts exactly what a walk sees, and samples what only headers tell."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from tests.trees import FIXTURES, picture, put
from tiering.dataset.counting import count_remote
from tiering.dataset.profile import DatasetProfile, profile_dataset
from tiering.dataset.totals import QUANTILES
from tiering.sources.trees.remote import connect
from tiering.sources.trees.remote_folder import RemoteFolder


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
    assert profile.skipped == {"special file": 1}
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


def test_everything_counted_is_exact_and_says_so():
    profile = profile_dataset(FIXTURES, sample="all")
    assert not profile.sampled
    assert profile == profile_dataset(FIXTURES)
    for name in ("files", "bytes", "size_mean", "labels", "label_imbalance", "damaged_share", "duplicate_share"):
        assert profile.estimates[name].exact, name
    assert profile.estimates["files"].value == 300
    assert profile.estimates["label_imbalance"].value == 1
    assert profile.estimates["format JPEG"].value == pytest.approx(profile.formats["JPEG"] / 300)
    assert sum(profile.modes.values()) == 300
    assert profile.size_intervals == {}


def test_a_sample_of_headers_has_intervals_though_files_are_counted():
    profile = profile_dataset(FIXTURES, probes=100)
    assert not profile.sampled
    assert profile.estimates["bytes"].exact
    jpeg = profile.estimates["format JPEG"]
    assert jpeg.low < 0.9 < jpeg.high
    assert jpeg.sample == 100


@pytest.fixture(scope="module")
def unequal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 labels of 3 to 162 images, with some damage and some copies."""
    root = tmp_path_factory.mktemp("unequal")
    images = [picture(16 + number, 12, "JPEG" if number % 5 else "PNG") for number in range(40)]
    for label in range(80):
        for number in range(3 + 2 * label):
            data = images[(label + number) % 40]
            if (label + number) % 20 == 0:
                data = data[: len(data) // 2]
            # A JPEG or PNG is still whole with something before its end, which makes it no copy.
            put(root, f"c{label:02d}/{number}.jpg", data[:-2] + b"%03d%03d" % (label, number) + data[-2:])
    return root


def test_a_sampled_profile_holds_the_truth(unequal: Path):
    true = profile_dataset(unequal, sample="all")
    found = profile_dataset(unequal, sample=400, seed=1)
    assert found.sampled
    assert true.files == sum(3 + 2 * label for label in range(80))
    assert found.probed == found.estimates["bytes"].sample < true.files / 8
    outside = [
        name
        for name, estimate in found.estimates.items()
        if name in true.estimates and not estimate.low <= true.estimates[name].value <= estimate.high
    ]
    # Of some forty intervals two may miss; of those for totals none does with this seed.
    assert len(outside) <= 4
    assert not {"files", "bytes", "size_mean", "label_imbalance"} & set(outside)
    for name, (low, high) in found.size_intervals.items():
        assert low <= found.size_quantiles[name] <= high
    assert found.labels.keys() == true.labels.keys()
    assert sum(found.labels.values()) == pytest.approx(true.files, rel=0.25)
    assert "Estimated from" in found.notes[0]
    assert DatasetProfile.model_validate_json(found.model_dump_json()) == found
    assert found == profile_dataset(unequal, sample=400, seed=1)


def test_a_sample_as_large_as_the_dataset_is_exact(unequal: Path):
    true = profile_dataset(unequal, sample="all")
    found = profile_dataset(unequal, sample=10**6)
    assert not found.sampled
    same = {"files", "bytes", "size_mean", "damaged_share", "duplicate_share", "pixel_bytes_mean"}
    assert {name: found.estimates[name].value for name in same} == pytest.approx(
        {name: true.estimates[name].value for name in same}
    )
    assert found.labels == true.labels
    assert found.size_quantiles["0.5"] == true.size_quantiles["0.5"]


def test_copies_are_counted(tmp_path: Path):
    for number in range(6):
        put(tmp_path, f"{number}.jpg", picture(16 + number // 2, 12))
    profile = profile_dataset(tmp_path)
    assert profile.estimates["duplicate_share"].value == pytest.approx(0.5)


def test_a_profile_written_before_there_were_estimates_is_still_read():
    profile = profile_dataset(FIXTURES)
    new = {"arrangement", "sampled", "modes", "extensions", "estimates", "size_intervals"}
    old = DatasetProfile.model_validate_json(profile.model_dump_json(exclude=new))
    assert (old.files, old.estimates) == (300, {})


@pytest.mark.parametrize("sample", [1, 0, -5])
def test_a_sample_of_less_than_two_is_a_mistake(sample: int):
    with pytest.raises(ValueError, match="at least 2"):
        profile_dataset(FIXTURES, sample=sample)


@pytest.mark.parametrize("sample", [pytest.param("auto", marks=pytest.mark.slow), "all", 60])
def test_a_bucket_has_the_profile_of_the_directory_it_was_copied_from(s3: str, unequal: Path, tmp_path: Path, sample):
    for label in range(0, 24, 4):
        shutil.copytree(unequal / f"c{label:02d}", tmp_path / "some" / f"c{label:02d}")
    put(tmp_path, "some/c00/words.txt", b"words")
    put(tmp_path, "some/.hidden/1.jpg")
    system, path = connect(s3)
    files = [file for file in (tmp_path / "some").rglob("*") if file.is_file()]
    system.put([str(file) for file in files], [f"{path}/{file.relative_to(tmp_path / 'some')}" for file in files])
    here, there = (profile_dataset(place, sample=sample) for place in (tmp_path / "some", s3))
    assert there.root == s3
    exact = {"files", "bytes", "labels", "layout", "arrangement", "size_quantiles", "other_files"}
    if sample == 60:
        estimate = there.estimates["bytes"]
        assert estimate.low <= profile_dataset(tmp_path / "some").bytes <= estimate.high
        exact = {"files", "labels", "layout", "arrangement", "other_files"}
    else:
        exact |= {"damaged_count", "formats", "shapes", "modes", "other_bytes", "extensions"}
        assert sorted(here.damaged) == sorted(there.damaged)
    assert here.model_dump(include=exact) == there.model_dump(include=exact)


@pytest.mark.slow
def test_a_bucket_is_listed_page_by_page(s3: str):
    """S3 lists a thousand names at a time."""
    system, path = connect(s3)
    for number in range(1100):
        system.pipe_file(f"{path}/flat/{number:05d}.jpg", b"x" * (number % 7))
    top = RemoteFolder.top(s3)
    assert [len(part) for part in top.below(b"flat/").parts()] == [1000, 100]
    totals = count_remote(s3, keep=10)
    assert totals.sizes.count == 1100
    assert totals.sizes.total == sum(number % 7 for number in range(1100))
    assert len(totals.kept) == 10
    assert totals.folders == {b"flat/": 1100}


def test_a_web_server_s_listing_is_profiled(unequal: Path):
    """It tells no sizes: each file that counts is asked for."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(unequal))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = profile_dataset(f"http://127.0.0.1:{server.server_port}/c10")
        server.shutdown()
    here = profile_dataset(unequal / "c10")
    same = {"files", "bytes", "formats", "damaged_count", "size_quantiles", "shapes"}
    assert found.model_dump(include=same) == here.model_dump(include=same)
