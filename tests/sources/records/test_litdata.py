"""LitData's chunks."""

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

import tiering
from tests.examples import examples
from tests.fields import LABELS, PACKED, PHOTOS, Listed, with_changed_index
from tiering.dataset.profile import profile_dataset
from tiering.errors import DatasetError


@pytest.mark.parametrize("place", ["litdata", "litdata-zstd"])
def test_a_dataset_that_litdata_wrote_is_read_with_all_its_leaves(tmp_path, place):
    listed = Listed(PACKED / place, tmp_path)
    assert listed.source.compressed == (place == "litdata-zstd")
    assert listed.keys[0] == b"chunk-0-0/00000000.jpg"
    assert listed.labels == [str(label) for label in LABELS]
    assert listed.kinds == {"caption": "string", "score": "float", "box": "array"}
    originals = {path.read_bytes() for path in PHOTOS if path.suffix == ".jpg"}
    assert originals <= set(listed.images())
    assert listed.images([11, 2]) == [listed.images()[at] for at in (11, 2)]
    assert listed.values("score")[:2] == [b"0.0", b"0.25"]
    assert np.load(io.BytesIO(listed.values("box")[1] or b"")).tolist() == [1, 2, 31, 40]
    assert listed.values("caption")[0] == "ein Bild für flower-0, Nummer 0".encode()


@pytest.mark.parametrize("place", ["litdata", "litdata-zstd"])
def test_convert_profile_and_verify_take_it(tmp_path, place):
    manifest = tiering.convert(PACKED / place, tmp_path / "store", "zarr", workers=1)
    assert (manifest.samples, manifest.labels) == (12, ["0", "1"])
    assert tiering.verify(tmp_path / "store", source=PACKED / place).ok
    assert profile_dataset(PACKED / place, sample="all").account == manifest.account


def changed(folder: Path, change) -> Path:
    return with_changed_index(PACKED / "litdata", folder / "litdata", change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda index: index["chunks"][0].update(chunk_size=11), "number of samples"),
        (lambda index: index["chunks"][0].update(filename="../chunk.bin"), "index of a dataset.*relative path"),
        (lambda index: index["chunks"][0].update(chunk_bytes=1), "and 1 by the index"),
        (lambda index: index["chunks"].clear(), "index of a dataset.*chunks"),
        (lambda index: index["config"].update(encryption={"algorithm": "fernet"}), "encrypted ones"),
        (lambda index: index["config"].update(compression="zstd", compression_level="batch"), "within the chunks"),
        (lambda index: index["config"].update(item_loader="TokensLoader"), "index of a dataset.*item_loader"),
        (lambda index: index["config"].update(data_format=["int"] * 5), "a column of images"),
    ],
)  # fmt: skip
def test_an_index_that_does_not_fit_is_refused(tmp_path, change, said):
    with pytest.raises(DatasetError, match=said):
        Listed(changed(tmp_path, change))


def test_leaves_without_names_are_numbered(tmp_path):
    leaf = {"type": None, "context": None, "children_spec": []}
    spec = [1, {"type": "builtins.tuple", "context": "null", "children_spec": [leaf] * 5}]
    listed = Listed(changed(tmp_path, lambda index: index["config"].update(data_spec=json.dumps(spec))))
    assert list(listed.kinds) == ["1", "2", "3", "4"]


@settings(max_examples=examples(60))
@given(
    name=st.sampled_from(["index.json", "chunk-0-0.bin"]),
    cut=st.integers(0, 40_000),
    flips=st.lists(st.tuples(st.integers(0, 900), st.integers(1, 255)), max_size=4),
)
def test_damaged_datasets_are_an_error_of_the_dataset(tmp_path_factory, name, cut, flips):
    folder = tmp_path_factory.mktemp("damaged") / "litdata"
    shutil.copytree(PACKED / "litdata", folder)
    data = bytearray((folder / name).read_bytes())
    for at, flip in flips:
        data[at] ^= flip
    (folder / name).write_bytes(data[:cut])
    with suppress(DatasetError):
        Listed(folder, folder.parent / "out").images()
