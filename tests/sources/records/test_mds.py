"""MDS shards, as MosaicML Streaming writes them."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tiering
from tests.examples import examples
from tests.fields import LABELS, PACKED, PHOTOS, Listed, with_changed_index
from tiering.dataset.profile import profile_dataset
from tiering.errors import DatasetError
from tiering.sources.fields import FieldsWarning
from tiering.sources.records.encoded_columns import png

MDS = PACKED / "mds"


def jpegs() -> list[bytes | None]:
    """The photographs, None for those that are PNG, which the writer encoded anew."""
    return [path.read_bytes() if path.suffix == ".jpg" else None for path in PHOTOS]


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_that_streaming_wrote_is_read_with_all_its_columns(tmp_path, split):
    listed = Listed(MDS / split, tmp_path)
    assert listed.source.compressed == (split == "val")
    assert listed.keys[0] == b"shard.00000/00000000.jpg"
    assert listed.labels == [str(label) for label in LABELS]
    assert listed.kinds == {
        "about": "json", "area": "array", "box": "vector", "caption": "string", "raw": "bytes", "score": "float",
        "thumbnail": "image",
    }  # fmt: skip
    for found, wanted in zip(listed.images(), jpegs(), strict=True):
        assert wanted in (None, found)
        assert found[:3] == b"\xff\xd8\xff"
    assert [json.loads(each or b"") for each in listed.values("about")] == [{"number": at} for at in range(12)]
    assert np.load(io.BytesIO(listed.values("area")[4] or b"")).tolist() == [0, 1, 2, 3, 4]
    assert np.load(io.BytesIO(listed.values("box")[1] or b"")).tolist() == [1, 2, 31, 40]
    assert listed.values("caption")[0] == "ein Bild für flower-0, Nummer 0".encode()
    assert listed.values("score")[:2] == [b"0.0", b"0.25"]
    assert listed.files("raw") == [b"\xff" * at + b"\0" for at in range(12)]
    thumbnails = listed.files("thumbnail") if split == "val" else listed.values("thumbnail")
    with Image.open(PHOTOS[3]) as photo, Image.open(io.BytesIO(thumbnails[3])) as thumbnail:
        assert np.array_equal(np.asarray(photo.convert("RGB").resize((4, 3))), np.asarray(thumbnail))


def test_two_splits_side_by_side_are_one_dataset(tmp_path):
    manifest = tiering.convert(MDS, tmp_path / "store", "lmdb", workers=1)
    assert (manifest.samples, manifest.splits) == (24, ["train", "val"])
    assert tiering.verify(tmp_path / "store", source=MDS).ok
    profile = profile_dataset(MDS, sample="all")
    assert profile.account == manifest.account
    assert profile.arrangement == "MDS shards: 4 files, with 2 labels."


def test_samples_are_read_in_any_order():
    for split in ("train", "val"):
        listed = Listed(MDS / split)
        order = [11, 3, 0, 7]
        assert listed.images(order) == [listed.images()[at] for at in order]


def changed(folder: Path, change, split: str = "train") -> Path:
    """A copy of a split whose index has every shard changed."""
    return with_changed_index(MDS / split, folder / "mds", lambda index: list(map(change, index["shards"])))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda shard: shard.update(samples=shard["samples"] + 1), "number of samples"),
        (lambda shard: shard["raw_data"].update(basename="../shard.mds"), "index of a dataset.*relative path"),
        (lambda shard: shard["raw_data"].update(basename="shard.9.mds"), "a file of the dataset is missing"),
        (lambda shard: shard["raw_data"].update(bytes=7), "and 7 by the index"),
        (lambda shard: shard.update(column_sizes=[-1] * 9), "index of a dataset.*column_sizes"),
        (lambda shard: shard.update(column_sizes=[1 << 30] * 9), "lead out of it"),
        (lambda shard: shard.update(column_names=["a"] * 9), "columns without a name or an encoding"),
        (lambda shard: shard.update(column_encodings=["str"] * 9), "a column of images"),
        (lambda shard: shard.update(format="json"), "index of a dataset.*format"),
    ],
)  # fmt: skip
def test_an_index_that_does_not_fit_is_refused(tmp_path, change, said):
    with pytest.raises(DatasetError, match=said):
        Listed(changed(tmp_path, change))


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_a_compressed_shard_of_another_size_is_refused(tmp_path, size):
    place = changed(tmp_path, lambda shard: shard["raw_data"].update(bytes=size), "val")
    with pytest.raises(DatasetError, match="by the index"):
        Listed(place)


def test_a_compression_that_is_not_read_is_refused_with_what_to_do(tmp_path):
    place = changed(tmp_path, lambda shard: shard.update(compression="br:11"), "val")
    with pytest.raises(DatasetError, match=r"br:11.*keep_zip=True"):
        Listed(place)


def test_pickles_are_left_out_and_never_read(tmp_path):
    def pickled(shard):
        shard["column_encodings"][shard["column_names"].index("about")] = "pkl"

    with pytest.warns(FieldsWarning, match="the column about is left out: it is pickled"):
        listed = Listed(changed(tmp_path, pickled))
    assert "about" not in listed.kinds


@settings(max_examples=examples(60))
@given(
    split=st.sampled_from(["train", "val"]),
    name=st.sampled_from(["index.json", "shard.00000.mds"]),
    cut=st.integers(0, 40_000),
    flips=st.lists(st.tuples(st.integers(0, 900), st.integers(1, 255)), max_size=4),
)
def test_damaged_datasets_are_an_error_of_the_dataset(tmp_path_factory, split, name, cut, flips):
    folder = tmp_path_factory.mktemp("damaged") / "mds"
    shutil.copytree(MDS / split, folder)
    path = folder / (name if (folder / name).exists() else f"{name}.zstd")
    data = bytearray(path.read_bytes())
    for at, flip in flips:
        data[at] ^= flip
    path.write_bytes(data[:cut])
    with suppress(DatasetError):
        Listed(folder, folder.parent / "out").images()


@given(st.binary(max_size=60))
def test_any_bytes_are_pixels_or_a_value_error(data):
    with suppress(ValueError):
        assert png(data).startswith(b"\x89PNG")
