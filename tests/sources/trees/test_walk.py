"""A walk comes in sorted order, whatever the tree, and holds one directory at a time."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import fsspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.trees import put
from tiering.errors import InputError
from tiering.sources.account import Ledger
from tiering.sources.scan import scan
from tiering.sources.trees.local_folder import LocalFolder, sorted_names
from tiering.sources.trees.remote_folder import RemoteFolder
from tiering.sources.trees.walk import BATCH, WALK_SCHEMA, Walk

# Bytes on both sides of "/" decide where a directory belongs among files.
names = st.text(alphabet=".-/0aA!\xe9\xff", min_size=1, max_size=6).map(lambda text: text.encode("latin-1"))
parts = names.filter(lambda name: not name.startswith(b".") and b"/" not in name)
paths = st.lists(parts, min_size=1, max_size=4).map(b"/".join)


def walked(root: Path, *, images_only: bool | None = False) -> list[bytes]:
    frames = list(Walk(Ledger(images_only=images_only)).batches(LocalFolder.top(os.fsencode(root))))
    return pl.concat(frames)["key"].to_list() if frames else []


def fields(root: Path) -> list[bytes]:
    """Return the files that are fields of images."""
    frames = Walk().batches(LocalFolder.top(os.fsencode(root)))
    columns = (frame[name] for frame in frames for name in frame.columns if name.endswith(":key"))
    return [key for column in columns for key in column.drop_nulls()]


@settings(max_examples=examples(150))
@given(st.sets(paths, min_size=1, max_size=25))
def test_keys_come_sorted_bytewise_from_any_tree(tmp_path_factory, tree):
    root = tmp_path_factory.mktemp("tree")
    expected = [path + b".jpg" for path in tree]
    for key in expected:
        put(root, key, b"x")
    assert walked(root, images_only=None) == sorted(expected)
    samples = walked(root)
    assert samples == sorted(samples) == scan(root).files["key"].to_list()
    # A suffix that cannot name a field leaves its file out.
    left_out = scan(root).account.left_out.get("sidecar")
    assert len({*samples, *fields(root)}) + (left_out.count if left_out else 0) == len(expected)


def test_a_root_that_vanished_is_named(tmp_path):
    folder = LocalFolder(os.fsencode(tmp_path / "gone"))
    with pytest.raises(InputError, match=f"^{tmp_path}/gone/: no such file"):
        list(Walk().batches(folder))


def test_a_file_a_directory_and_a_longer_name_stand_in_order_of_their_keys(tmp_path):
    expected = [b"a-b/1.jpg", b"a.jpg", b"a/1.jpg", b"a/b-c.jpg", b"a/b/1.jpg", b"a0.jpg"]
    for key in reversed(expected):
        put(tmp_path, key, b"x")
    assert walked(tmp_path) == expected == sorted(expected)


def test_more_names_than_a_batch_are_sorted_as_a_column(tmp_path):
    many = [b"%d\xff.jpg" % (number * 7919 % 120_011) for number in range(2 * BATCH + 1)]
    assert list(sorted_names(many)) == sorted(many)
    assert list(sorted_names(many[:BATCH])) == sorted(many[:BATCH])
    assert list(sorted_names([])) == []


def test_batches_have_up_to_fifty_thousand_rows_across_directories(tmp_path):
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        for number in range(20_000):
            os.mknod(tmp_path / folder / f"{number}.jpg")
    frames = list(Walk().batches(LocalFolder.top(os.fsencode(tmp_path))))
    assert [len(frame) for frame in frames] == [BATCH, 10_000]
    assert all(dict(frame.schema) == WALK_SCHEMA for frame in frames)
    keys = pl.concat(frames)["key"].to_list()
    assert keys == sorted(keys)


def test_a_directory_that_vanishes_during_the_walk_is_skipped(tmp_path):
    put(tmp_path, "a/1.jpg")
    put(tmp_path, "b/1.jpg")
    walk = Walk()
    images = walk.images(LocalFolder.top(os.fsencode(tmp_path)))
    assert next(images)[0] == b"a/1.jpg"
    (tmp_path / "b" / "1.jpg").unlink()
    (tmp_path / "b").rmdir()
    assert list(images) == []
    tally = walk.ledger.left_out.kinds["missing file"]
    assert (tally.count, tally.examples) == (1, ["b/ (it vanished during the walk)"])


@pytest.mark.parametrize(
    ("files", "store"),
    [
        ({"b/zarr.json": b'{"zarr_format": 3}', "b/2.png": b"x", "b/3.png": b"x"}, False),
        ({"b/.zgroup": b"", "b/2.png": b"x"}, False),
        ({"b/.zarray": b"[1]", "b/c/2.png": b"x"}, False),
        ({"b/zarr.json": b"{}", "b/c/2.png": b"x"}, False),
        ({"b/.zgroup": b'{"zarr_format": 2}', "b/c/2.png": b"x"}, True),
    ],
)
def test_a_stray_file_does_not_make_a_directory_a_zarr_store(tmp_path, files, store):
    bucket = f"memory://{uuid.uuid4().hex}"
    for name, data in {"a/1.png": b"x", **files}.items():
        put(tmp_path, name, data)
        fsspec.filesystem("memory").pipe(f"{bucket}/{name}", data)
    images = [b"a/1.png", *(name.encode() for name in sorted(files) if name.endswith(".png") and not store)]
    assert walked(tmp_path) == images
    assert scan(tmp_path).files["key"].to_list() == images
    assert [key for key, _, _ in Walk().images(RemoteFolder.top(bucket))] == images
