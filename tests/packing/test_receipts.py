"""Receipts of a store from elsewhere: exactly what a conversion writes, of the shard that their name numbers, or none."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

import tiering
from tests.trees import picture, put
from tiering.packing.receipts import BadImage, Receipt, read_receipt, receipt_location, write_receipt
from tiering.storage.location import Location
from tiering.store.index import COLUMNS
from tiering.store.manifest import Shard


def receipt(number=3, name=None, **columns):
    ours = {name: np.zeros(2, dtype=dtype) for name, dtype in COLUMNS.items()}
    ours |= {"key": np.frombuffer(b"a.jpgb.jpg", np.uint8), "key_end": np.array([5, 10]), "size": np.array([7, 8])}
    shard = Shard(name=name or f"shard-{number:05d}.mdb", samples=2, bytes=4096, crc32c=1)
    return Receipt("plan", shard, ours | columns, [BadImage(b"\xff", "damaged", 0, "it is empty")])


def written(work, receipt, number=3):
    write_receipt(receipt_location(Location.of(work), number), receipt)
    return receipt_location(Location.of(work), number)


def rezip(path, *, compression=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path) as packed:
        held = {name: packed.read(name) for name in packed.namelist()} | members
    with zipfile.ZipFile(path, "w", compression) as packed:
        for name, data in held.items():
            packed.writestr(name, data)


def test_a_receipt_comes_back_as_it_was_written(tmp_path):
    found = read_receipt(written(tmp_path, receipt()))
    assert (found.plan, found.shard, found.bad) == ("plan", receipt().shard, receipt().bad)
    for name, column in receipt().columns.items():
        np.testing.assert_array_equal(found.columns[name], column)
        assert found.columns[name].dtype == COLUMNS[name]


@pytest.mark.parametrize("name", ["shard-00003.mdb", "data/c/3", "images/c/3/0/0/0"])
def test_any_shard_of_its_number_or_the_one_expected(tmp_path, name):
    place = written(tmp_path, receipt(name=name))
    assert read_receipt(place).shard.name == name
    assert read_receipt(place, expected=name).shard.name == name
    assert read_receipt(place, expected="shard-00004.mdb") is None


@pytest.mark.parametrize("name", ["shard-00004.mdb", "data/c/03", "shard-3.mdb", "index/size/c/0", "manifest.json"])
def test_a_receipt_that_names_another_file_is_none(tmp_path, name):
    assert read_receipt(written(tmp_path, receipt(name=name))) is None


@pytest.mark.parametrize("name", ["../victim", "/etc/passwd"])
def test_a_receipt_that_leads_out_of_the_store_is_none(tmp_path, name):
    place = written(tmp_path, receipt())
    with np.load(str(place)) as arrays:
        about = json.loads(bytes(arrays["about"]))
    about["shard"]["name"] = name
    packed = io.BytesIO()
    np.save(packed, np.frombuffer(json.dumps(about).encode(), np.uint8))
    rezip(str(place), **{"about.npy": packed.getvalue()})
    assert read_receipt(place) is None


@pytest.mark.parametrize(
    "columns",
    [
        {"size": np.zeros(3, "<i8")},
        {"size": np.array([-1, 8])},
        {"size": np.array([1 << 62, 1 << 62])},
        {"label": np.zeros(2, "<i8")},
        {"offset": np.zeros((2, 1), "<i8")},
        {"key_end": np.array([9, 5])},
        {"key_end": np.array([5, 11])},
        {"crc32c": np.array(["a", "b"])},
    ],
)
def test_columns_that_are_no_rows_of_the_shard_make_no_receipt(tmp_path, columns):
    assert read_receipt(written(tmp_path, receipt(**columns))) is None


def test_what_is_compressed_claims_too_much_or_holds_objects_is_no_receipt(tmp_path):
    place = written(tmp_path, receipt())
    rezip(str(place), compression=zipfile.ZIP_DEFLATED)
    assert read_receipt(place) is None
    place = written(tmp_path, receipt())
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (100000000000000000,), }\n"
    rezip(str(place), **{"size.npy": b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header})
    assert read_receipt(place) is None
    packed = io.BytesIO()
    np.save(packed, np.array([print, print]), allow_pickle=True)
    rezip(str(place), **{"size.npy": packed.getvalue()})
    assert read_receipt(place) is None


def test_a_cut_receipt_a_sparse_one_and_a_link_to_a_device_are_none(tmp_path):
    place = written(tmp_path, receipt())
    whole = (tmp_path / place.name).read_bytes()
    for end in range(0, len(whole), 97):
        (tmp_path / place.name).write_bytes(whole[:end])
        assert read_receipt(place) is None
    with (tmp_path / place.name).open("wb") as file:
        file.truncate(1 << 40)
    assert read_receipt(place) is None
    (tmp_path / place.name).unlink()
    (tmp_path / place.name).symlink_to("/dev/zero")
    assert read_receipt(place) is None
    assert read_receipt(Location.of(tmp_path / "3.npz")) is None


def test_a_conversion_reads_each_receipt_twice(tmp_path, monkeypatch):
    """A receipt holds its shard's part of the index: reading it is what finishing costs."""
    for number in range(4):
        put(tmp_path / "photos", f"{number}.jpg", picture() if number else b"damaged")
    reads = []

    def counted(place, expected=None):
        found = read_receipt(place, expected)
        reads.append(found)
        return found

    monkeypatch.setattr("tiering.packing.workspace.read_receipt", counted)
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1, on_error="quarantine")
    assert len([found for found in reads if found is not None]) == 2
