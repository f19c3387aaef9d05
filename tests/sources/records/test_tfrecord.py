"""TFRecord files of tf.Examples."""

from __future__ import annotations

import gzip
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tiering
from tests.examples import examples
from tests.fields import CLASSES, LABELS, PACKED, PHOTOS, Listed
from tests.trees import picture, put
from tiering.dataset.profile import profile_dataset
from tiering.errors import DatasetError
from tiering.sources.records.tf_example import Feature, parse_example
from tiering.sources.records.tfrecord import masked_crc

#: The order of the photographs in the two files.
ORDER = [*range(0, 12, 2), *range(1, 12, 2)]


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def feature(values: list[Any], *, packed: bool = True) -> bytes:
    """Encode a feature as protocol buffers do: numbers packed, or one by one."""
    if values and isinstance(values[0], bytes):
        return message(1, b"".join(message(1, value) for value in values))
    if values and isinstance(values[0], float):
        each = [struct.pack("<f", value) for value in values]
        return message(2, message(1, b"".join(each)) if packed else b"".join(varint(1 << 3 | 5) + one for one in each))
    each = [varint(value) for value in values]
    return message(3, message(1, b"".join(each)) if packed else b"".join(varint(1 << 3) + one for one in each))


def example_of(features: dict[str, list[Any]], *, packed: bool = True) -> bytes:
    entries = [
        message(1, name.encode()) + message(2, feature(values, packed=packed)) for name, values in features.items()
    ]
    return message(1, b"".join(message(1, entry) for entry in entries))


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


@pytest.mark.parametrize(("place", "order"), [("tfrecord", ORDER), ("tfrecord-gzip", list(range(12)))])
def test_a_dataset_that_tensorflow_wrote_is_read_with_all_its_features(tmp_path, place, order):
    listed = Listed(PACKED / place, tmp_path)
    assert listed.source.compressed == (place == "tfrecord-gzip")
    assert listed.labels == [str(LABELS[at] + 1) for at in order]
    assert listed.kinds == {
        "image_box": "vector", "image_class_text": "string", "image_filename": "string",
        "image_object_class_label": "json", "image_score": "float",
    }  # fmt: skip
    assert listed.images() == [PHOTOS[at].read_bytes() for at in order]
    assert Listed(PACKED / place).images([7, 2]) == [PHOTOS[order[at]].read_bytes() for at in (7, 2)]
    assert listed.values("image_filename") == [PHOTOS[at].name.encode() for at in order]
    assert listed.values("image_class_text") == [CLASSES[LABELS[at]].encode() for at in order]
    assert np.load(io.BytesIO(listed.values("image_box")[0] or b"")).dtype == np.float32
    boxes = [None if value is None else json.loads(value) for value in listed.values("image_object_class_label")]
    assert boxes == [[None, [-1], [-1, 7]][at % 3] for at in order]


def test_keys_name_the_file_and_the_number_of_the_record():
    listed = Listed(PACKED / "tfrecord")
    assert listed.keys[:2] == [b"train-00000-of-00002/00000000.jpg", b"train-00000-of-00002/00000001.jpg"]
    assert set(listed.rows["split"]) == {"train"}
    alone = Listed(PACKED / "tfrecord-gzip/all.tfrecord")
    assert alone.keys[3] == b"all/00000003.jpg"


@pytest.mark.parametrize("place", ["tfrecord", "tfrecord-gzip", "tfrecord/train-00000-of-00002"])
def test_convert_profile_and_verify_take_it(tmp_path, place):
    manifest = tiering.convert(PACKED / place, tmp_path / "store", "zarr", workers=1)
    count = 6 if place.endswith("of-00002") else 12
    assert (manifest.samples, manifest.labels) == (count, ["1", "2"])
    assert tiering.verify(tmp_path / "store", source=PACKED / place).ok
    assert profile_dataset(PACKED / place, sample="all").account == manifest.account


def test_masks_and_long_bytes_are_ranges_of_the_file(tmp_path):
    rows = [
        {"image": [picture(9, 9)], "mask": [picture(9 + n, 9)], "blob": [b"\xff" * n], "name": [b"a"]} for n in (1, 2)
    ]
    put(tmp_path, "a.tfrecord", b"".join(record(example_of(row)) for row in rows))
    listed = Listed(tmp_path)
    assert listed.kinds == {"blob": "bytes", "mask": "image", "name": "string"}
    assert listed.files("mask") == [row["mask"][0] for row in rows]
    assert listed.files("blob") == [row["blob"][0] for row in rows]


def test_a_record_without_an_image_is_counted(tmp_path):
    rows = [{"image": [picture()], "n": [1]}, {"n": [2]}]
    put(tmp_path, "a.tfrecord", b"".join(record(example_of(row)) for row in rows))
    assert Listed(tmp_path).ledger.left_out.kinds["missing file"].examples == [
        "a/00000001.bin (the record has no image)"
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (record(example_of({"image": [b"raw pixels"]})), "expected a feature that holds encoded images, found image"),
        (record(example_of({"image": [picture()]}))[:-7], "cut at byte 12"),
        (record(example_of({"image": [picture()]})) + b"\0", "cut at byte"),
        (record(b"\xff\xff"), "expected records that are tf.Examples"),
        (record(message(2, b"")), "SequenceExample"),
        (
            record(example_of({"image": [picture()], "a": [1]})) + record(example_of({"a": [b"x"]})),
            "one kind of values",
        ),
        (b"", "a feature that holds encoded images"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_place(tmp_path, data, said):
    put(tmp_path, "a.tfrecord", data)
    with pytest.raises(DatasetError, match=said):
        Listed(tmp_path)


def test_every_flipped_byte_is_found(tmp_path):
    whole = record(example_of({"image": [picture()], "label": [7]}))
    for at in range(len(whole)):
        put(tmp_path, "a.tfrecord", whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(DatasetError):
            Listed(tmp_path / "a.tfrecord")


_VALUES = (
    st.lists(st.binary(max_size=9), min_size=1, max_size=3)
    | st.lists(st.floats(width=32), min_size=1, max_size=3)
    | st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3)
)


@given(st.dictionaries(st.text(max_size=6), _VALUES, max_size=4), st.booleans())
def test_any_example_comes_back(features, packed):
    data = memoryview(example_of(features, packed=packed))
    found = parse_example(data)
    assert found.keys() == features.keys()
    for name, values in features.items():
        if isinstance(values[0], bytes):
            assert [bytes(data[at : at + size]) for at, size in found[name].parts] == values
        else:
            assert np.array_equal(found[name].numbers, values, equal_nan=True)


@given(st.binary(max_size=200))
@example(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\x0a" * 100)
def test_any_bytes_are_an_example_or_a_value_error(data):
    try:
        found = parse_example(memoryview(data))
    except ValueError:
        return
    for each in found.values():
        assert isinstance(each, Feature)
        assert all(at >= 0 and at + size <= len(data) for at, size in each.parts)


@settings(max_examples=examples(60))
@given(st.binary(max_size=80), st.booleans())
def test_any_file_is_a_dataset_or_an_error_of_it(tmp_path_factory, data, compressed):
    folder: Path = tmp_path_factory.mktemp("any")
    put(folder, "a.tfrecord", gzip.compress(data)[: len(data) + 9] if compressed else data)
    with pytest.raises(DatasetError):
        Listed(folder / "a.tfrecord", folder / "out")
