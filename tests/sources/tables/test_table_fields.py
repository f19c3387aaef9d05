"""Further columns of a table become fields: by themselves, or as they are named."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.trees import put
from tiering.errors import DatasetError, UsageError
from tiering.sources.account import Ledger
from tiering.sources.fields import FieldsWarning, FoundField, place_column, value_column
from tiering.sources.source import TableSource, open_source


def read(source: Any) -> tuple[dict[str, FoundField], pl.DataFrame]:
    """Return the fields that a source announces, and its rows."""
    ledger = Ledger()
    frames = list(open_source(source).batches(ledger))
    return ledger.fields, pl.concat(frames, how="diagonal")


def values(frame: pl.DataFrame, name: str) -> list[bytes | None]:
    return frame[value_column(name)].to_list()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for key in ("0.jpg", "1.jpg", "m/0.png", "m/1.png"):
        put(tmp_path, key)
    return tmp_path


def test_every_column_of_a_csv_table_becomes_a_field_by_its_own_name(folder):
    path = put(folder, "t.csv", b'path,label,caption,Image Score\n0.jpg,a,"two, cats",0.5\n1.jpg,b,,7\n')
    fields, frame = read(path)
    assert fields == {
        "caption": FoundField("caption", "cell"),
        "Image_Score": FoundField("Image_Score", "cell", description="column Image Score"),
    }
    assert values(frame, "caption") == [b"two, cats", None]
    assert values(frame, "Image_Score") == [b"0.5", b"7"]


def test_columns_choose_the_fields_and_their_names_and_the_rest_is_named_in_a_note(folder):
    path = put(folder, "t.csv", b"path,class,text,width,height\n0.jpg,a,x,1,2\n")
    with pytest.warns(
        FieldsWarning, match=r"2 columns are left out, because `columns` does not name them: width, height\."
    ):
        fields, frame = read(TableSource(path, "image=path,label=class,caption=text"))
    assert list(fields) == ["caption"]
    assert values(frame, "caption") == [b"x"]
    assert frame["label"].to_list() == ["a"]


def test_a_column_of_paths_of_images_becomes_places_in_files(folder):
    path = put(folder, "t.csv", b"path,mask,name\n0.jpg,m/0.png,gone.png\n1.jpg,,gone.png\n")
    fields, frame = read(path)
    assert {name: each.kind for name, each in fields.items()} == {"mask": "image", "name": "cell"}
    assert frame[place_column("mask", "key")].to_list() == [b"m/0.png", None]
    assert frame[place_column("mask", "size")].to_list() == [(folder / "m/0.png").stat().st_size, None]
    assert frame[place_column("mask", "file")].to_list() == [-1, -1]


def test_a_kind_that_is_given_decides(folder):
    path = put(folder, "t.csv", b"path,mask,n\n0.jpg,m/0,1\n1.jpg,nowhere,2\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error", FieldsWarning)
        fields, frame = read(TableSource(path, "image=path,mask:image=mask,n:string=n"))
    assert {name: each.kind for name, each in fields.items()} == {"mask": "image", "n": "string"}
    assert frame[place_column("mask", "key")].to_list() == [b"m/0.png", b"nowhere"]
    assert frame[place_column("mask", "size")].to_list()[1] == -1


def test_a_mask_outside_the_root_is_refused(folder):
    path = put(folder, "t.csv", b"path,mask\n0.jpg,m/0.png\n1.jpg,../1.png\n")
    with pytest.raises(DatasetError, match=r"column of mask: expected a path below .*found '\.\./1\.png'"):
        read(path)


def test_types_of_parquet_decide_the_kinds(folder):
    pl.DataFrame(
        {
            "path": ["0.jpg", "1.jpg"],
            "n": [1, None],
            "f": pl.Series([0.1, None], dtype=pl.Float32),
            "yes": [True, None],
            "text": ["1", "x"],
            "raw": [b"\xff", None],
            "box": pl.Series([[1.0, 2.0], [3.0, 4.0]], dtype=pl.Array(pl.Float32, 2)),
            "even": [[1, 2], [3, 4]],
            "odd": [[1], [2, 3]],
            "gap": [[1, None], [3, 4]],
            "none": pl.Series([None, None], dtype=pl.Array(pl.Float32, 2)),
            "about": [{"a": 1, "b": [float("nan")]}, {"a": 2, "b": None}],
        }
    ).write_parquet(folder / "t.parquet")
    fields, frame = read(folder / "t.parquet")
    assert {name: each.kind for name, each in fields.items()} == {
        "n": "integer", "f": "float", "yes": "integer", "text": "string", "raw": "bytes", "box": "vector",
        "even": "vector", "odd": "json", "gap": "json", "none": "json", "about": "json",
    }  # fmt: skip
    assert values(frame, "n") == [b"1", None]
    assert np.float32(values(frame, "f")[0]) == np.float32(0.1)  # type: ignore[arg-type]
    assert values(frame, "yes") == [b"1", None]
    assert values(frame, "raw") == [b"\xff", None]
    box = np.load(io.BytesIO(values(frame, "box")[1] or b""))
    assert (box.dtype, box.tolist()) == (np.float32, [3.0, 4.0])
    assert np.load(io.BytesIO(values(frame, "even")[0] or b"")).dtype == np.int64
    assert [json.loads(each or b"") for each in values(frame, "about")] == [{"a": 1, "b": [None]}, {"a": 2, "b": None}]


def test_nested_values_of_json_lines_are_json_and_equal_lists_of_numbers_are_vectors(folder):
    lines = [
        {"path": "0.jpg", "boxes": [{"x": 1.5}], "point": [1, 2.5], "odd": [1], "labels": ["a", "b"], "mixed": [1]},
        {"path": "1.jpg", "boxes": [], "point": None, "odd": [1, 2], "labels": ["é"], "mixed": "plain", "late": 3},
    ]
    fields, frame = read(put(folder, "t.jsonl", "\n".join(map(json.dumps, lines)).encode()))
    assert {name: each.kind for name, each in fields.items()} == {
        "boxes": "json", "point": "vector", "odd": "json", "labels": "json", "mixed": "cell", "late": "cell"
    }  # fmt: skip
    assert frame["label"].null_count() == 2
    assert [json.loads(each or b"") for each in values(frame, "labels")] == [["a", "b"], ["é"]]
    assert np.load(io.BytesIO(values(frame, "point")[0] or b"")).tolist() == [1, 2.5]
    assert values(frame, "point")[1] is None
    assert values(frame, "mixed")[1] == b"plain"
    assert values(frame, "late") == [None, b"3"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=examples(30))
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), _JSON), min_size=1, max_size=4))
@example([{"a": [9007199254740993, 0.0]}])
def test_any_json_lines_give_back_their_nested_values(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("lines")
    lines = [{"path": f"{number}.jpg", **row} for number, row in enumerate(rows)]
    fields, frame = read(put(folder, "t.jsonl", "\n".join(map(json.dumps, lines)).encode()))
    for name, field in fields.items():
        for row, value in zip(rows, values(frame, name), strict=True):
            given = row.get(name)
            if given is None:
                assert value is None
            elif field.kind == "json":
                assert json.loads(value or b"") == given
            elif field.kind == "vector":
                assert np.load(io.BytesIO(value or b"")).tolist() == given


def test_columns_whose_names_differ_in_case_become_fields_of_their_own(folder):
    path = put(folder, "t.csv", b"path,id,ID,Key,x y,x_y\n0.jpg,1,2,3,4,5\n")
    fields, frame = read(path)
    assert list(fields) == ["id", "ID_2", "Key_2", "x_y", "x_y_2"]
    assert [values(frame, name)[0] for name in fields] == [b"1", b"2", b"3", b"4", b"5"]
    with pytest.raises(UsageError, match="differ in more than upper and lower case, found A"):
        read(TableSource(path, "image=path,a=id,A=ID"))
