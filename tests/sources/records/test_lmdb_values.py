"""LMDB databases of encoded images, as LSUN's are."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.examples import examples
from tests.fields import PHOTOS, Listed
from tests.trees import picture
from tiering.dataset.profile import profile_dataset
from tiering.errors import DatasetError
from tiering.store.lmdb_library import _ENGINE


def database(path: Path, values: dict[bytes, bytes], *, subdir: bool = True) -> Path:
    """Write a database as LSUN's script does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(path), map_size=1 << 26, subdir=subdir, **_ENGINE) as environment:
        for key, value in values.items():
            with environment.begin(write=True) as transaction:
                transaction.put(key, value)
    return path


def lsun() -> dict[bytes, bytes]:
    return {hashlib.sha1(path.read_bytes()).hexdigest().encode(): path.read_bytes() for path in PHOTOS}


@pytest.mark.parametrize("subdir", [True, False])
def test_an_lsun_database_is_read(tmp_path, subdir):
    values = lsun()
    place = database(tmp_path / ("church_train_lmdb" if subdir else "church.lmdb"), values, subdir=subdir)
    listed = Listed(place)
    assert listed.source.kind == "lmdb"
    assert [key.rpartition(b".")[0] for key in listed.keys] == sorted(values)
    assert {key.rpartition(b".")[2] for key in listed.keys} <= {b"jpg", b"png"}
    assert listed.images() == [values[key] for key in sorted(values)]
    assert listed.images([5, 1]) == [values[sorted(values)[at]] for at in (5, 1)]
    manifest = tiering.convert(place, tmp_path / "store", "lmdb", workers=1)
    assert tiering.verify(tmp_path / "store", source=place).ok
    assert profile_dataset(place, sample="all").account == manifest.account


def test_several_databases_are_one_dataset_with_a_folder_each(tmp_path):
    for name in ("church_train", "church_val"):
        database(tmp_path / "lsun" / name, {b"a.jpg": picture()})
    assert Listed(tmp_path / "lsun").keys == [b"church_train/data/a.jpg", b"church_val/data/a.jpg"]


def test_small_values_and_many_levels_are_read_and_other_values_counted(tmp_path):
    image = picture(8, 8)
    values = {b"%06d" % number: image + b"%d" % number for number in range(3000)} | {b"__len__": b"3000"}
    listed = Listed(database(tmp_path / "x", values))
    assert listed.images() == [values[b"%06d" % number] for number in range(3000)]
    assert "__len__ (the value is no encoded image)" in listed.ledger.left_out.kinds["not an image"].examples


def test_keys_that_are_no_names_are_written_in_hexadecimal(tmp_path):
    values = {b"\0\1": picture(), b"../up": picture(), b"plain.jpg": picture()}
    assert Listed(database(tmp_path / "x", values)).keys == [b"0001.jpg", b"2e2e2f7570.jpg", b"plain.jpg"]


def test_two_keys_that_become_one_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"each name once, found a\.jpg twice"):
        Listed(database(tmp_path / "x", {b"a": picture(), b"a.jpg": picture()}))


@pytest.mark.parametrize("dupsort", [False, True])
def test_other_databases_are_refused(tmp_path, dupsort):
    path = tmp_path / "x"
    with lmdb.open(str(path), map_size=1 << 24, max_dbs=2, **_ENGINE) as environment:
        named = environment.open_db(b"named", dupsort=dupsort)
        with environment.begin(write=True) as transaction:
            transaction.put(b"a", b"b", db=named)
    with pytest.raises(DatasetError, match="with one encoded image for each key, found named databases"):
        Listed(path)


def test_an_empty_database_and_one_without_images_are_refused(tmp_path):
    for values in ({}, {b"a": b"text"}):
        with pytest.raises(DatasetError, match="no record has an image"):
            Listed(database(tmp_path / f"x{len(values)}", values))


@settings(max_examples=examples(80))
@given(
    cut=st.integers(0, 40_000),
    flips=st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 255)), max_size=6),
)
def test_damaged_databases_are_an_error_of_the_dataset(tmp_path_factory, cut, flips):
    folder = tmp_path_factory.mktemp("damaged")
    database(folder, {b"%d" % number: picture(9 + number, 9) * (1 + number * 4) for number in range(5)})
    data = bytearray((folder / "data.mdb").read_bytes())
    for at, flip in flips:
        if at < len(data):
            data[at] ^= flip
    (folder / "data.mdb").write_bytes(data[:cut])
    with suppress(DatasetError):
        Listed(folder).images()
