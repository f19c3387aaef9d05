"""Files beside images whose endings promise numbers (.cls, .id, .index), and what becomes of other texts in them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.examples import examples
from tests.sources.test_tar_samples import pack
from tests.sources.trees.test_remote import upload
from tests.trees import picture, put
from tiering.errors import DatasetError


def folder(root: Path, values: list[bytes], ending: str = "id", classes: str = "") -> Path:
    for number, value in enumerate(values):
        put(root, f"{classes}{number}.jpg", picture())
        put(root, f"{classes}{number}.{ending}", value)
    return root


def packed(source: Path | str, store: Path, name: str) -> tuple[str, dict[str, object]]:
    """Pack a folder; return the kind of a field, and its values by key."""
    tiering.convert(source, store, "zarr", workers=1)
    with tiering.open_store(store) as opened:
        values = opened.read_field(name, np.arange(len(opened)))
        values = values.tolist() if isinstance(values, np.ndarray) else values
        keys = opened.index.keys(np.arange(len(opened)))
        return opened.fields[name].kind, dict(zip((key.decode() for key in keys), values, strict=True))


@pytest.mark.parametrize("ending", ["id", "cls2", "index", "inx", "cls"])
def test_text_makes_a_string_field_and_no_sample_fails(tmp_path, ending):
    source = folder(tmp_path / "photos", [b"7\n", b"n01440764\n", b"8"], ending)
    kind, values = packed(source, tmp_path / "store", ending)
    assert (kind, values) == ("string", {"0.jpg": "7\n", "1.jpg": "n01440764\n", "2.jpg": "8"})
    assert tiering.verify(tmp_path / "store", source=source).problems == []
    tiering.export(tmp_path / "store", tmp_path / "again")
    for path in source.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_text_in_a_bucket_and_in_a_tar_makes_a_string_field(tmp_path, s3):
    source = folder(tmp_path / "photos", [b"7", b"x7"])
    upload(source, s3)
    tar = pack(tmp_path / "some.tar", [(path.name, path.read_bytes()) for path in sorted(source.iterdir())])
    for number, place in enumerate((s3, tar)):
        assert packed(place, tmp_path / f"{number}", "id") == ("string", {"0.jpg": "7", "1.jpg": "x7"})


@settings(max_examples=examples(12))
@given(
    st.lists(
        st.one_of(
            st.integers(-(10**17), 10**17).map(str),
            st.floats(allow_nan=False, allow_infinity=False).map(repr),
            st.text(max_size=4),
            st.sampled_from(["007", "+7", "", " ", "nan", "x" * 5000, "9" * 30, "-"]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["", "\n", " \r\n"]),
)
def test_any_texts_are_packed(texts, end):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        source = folder(root / "photos", [(text + end).encode("utf-8") for text in texts])
        kind, values = packed(source, root / "store", "id")
        for number, text in enumerate(texts):
            found = values[f"{number}.jpg"]
            if kind == "string":
                assert found == text + end
            elif text.strip():
                expected = int(text) if kind == "integer" else float(text)
                assert found == expected or (np.isnan(found) and np.isnan(expected))
            else:
                assert found is None
        assert tiering.verify(root / "store", source=source).problems == []


def test_numbers_stay_numbers(tmp_path):
    assert packed(folder(tmp_path / "a", [b"1\n", b"02", b""]), tmp_path / "a.zarr", "id")[1] == {
        "0.jpg": 1, "1.jpg": 2, "2.jpg": None,
    }  # fmt: skip
    assert packed(folder(tmp_path / "b", [b"1", b"2.5"]), tmp_path / "b.zarr", "id")[1] == {"0.jpg": 1.0, "1.jpg": 2.5}


def test_a_cls_file_of_text_is_the_class_in_a_folder_as_in_a_tar(tmp_path):
    names = [b"cat\n", b"dog", b" cat", b"K\xc3\xa4se"]
    source = folder(tmp_path / "photos", names, "cls")
    members = [(path.name, path.read_bytes()) for path in sorted(source.iterdir())]
    of_folder = tiering.convert(source, tmp_path / "folder", "lmdb")
    of_tar = tiering.convert(pack(tmp_path / "some.tar", members), tmp_path / "tar", "lmdb")
    assert of_folder.labels == of_tar.labels == ["K\u00e4se", "cat", "dog"]
    with tiering.open_store(tmp_path / "folder") as one, tiering.open_store(tmp_path / "tar") as other:
        labels = [{sample.key: sample.label for sample in map(each.__getitem__, range(4))} for each in (one, other)]
    assert labels[0] == labels[1]
    assert tiering.verify(tmp_path / "folder", source=source).problems == []
    put(source, "4.jpg", picture())
    put(source, "4.cls", b"bird")
    assert tiering.append(source, tmp_path / "folder").labels == ["K\u00e4se", "cat", "dog", "bird"]
    assert tiering.verify(tmp_path / "folder", source=source).problems == []


def test_a_cls_file_of_text_has_precedence_over_folders_which_stay_splits(tmp_path):
    folder(tmp_path / "photos", [b"cat", b"dog"], "cls", "train/animals/")
    folder(tmp_path / "photos", [b"cat", b"cat"], "cls", "val/animals/")
    manifest = tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb")
    assert (manifest.labels, manifest.splits) == (["cat", "dog"], ["train", "val"])


def test_a_cls_file_of_a_number_stays_a_field_beside_the_class_of_the_folder(tmp_path):
    source = folder(tmp_path / "photos", [b"1", b"2"], "cls", "cat/")
    folder(source, [b"3"], "cls", "dog/")
    manifest = tiering.convert(source, tmp_path / "store", "lmdb")
    assert (manifest.labels, manifest.fields[0].kind) == (["cat", "dog"], "integer")


def test_a_store_with_numbers_names_the_sample_whose_file_has_text(tmp_path):
    source = folder(tmp_path / "photos", [b"1", b"2"])
    tiering.convert(source, tmp_path / "store", "lmdb")
    put(source, "x.jpg", picture())
    put(source, "x.id", b"five")
    with pytest.raises(DatasetError, match=r"x\.jpg.*id.*five"):
        tiering.append(source, tmp_path / "store")
