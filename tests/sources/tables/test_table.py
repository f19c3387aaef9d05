"""A table says which files are samples, what they are called and in which order they come."""

from __future__ import annotations

import os
import re
from pathlib import Path

import polars as pl
import pytest

from tests.trees import put
from tiering.errors import DatasetError
from tiering.sources.repeated_keys import RepeatedKeys
from tiering.sources.source import SOURCE_SCHEMA, open_source, read_samples


def listed(place: Path) -> pl.DataFrame:
    return pl.concat(list(open_source(place).batches()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for key in ("b/1.jpg", "a/2.jpg", "a/x, y.jpg", "ä.jpg"):
        put(tmp_path, key, key.encode())
    return tmp_path


def table(folder: Path, text: str, name: str = "train.csv") -> Path:
    return put(folder, name, text.encode())


def test_rows_keep_their_order_their_labels_and_their_splits(folder):
    path = table(folder, 'path,label,split\nb/1.jpg,007,train\n"a/x, y.jpg",,val\nä.jpg,cat,\n')
    samples = listed(path)
    assert dict(samples.schema) == SOURCE_SCHEMA
    assert samples["key"].to_list() == [b"b/1.jpg", b"a/x, y.jpg", "ä.jpg".encode()]
    assert samples["label"].to_list() == ["007", None, "cat"]
    assert samples["split"].to_list() == ["train", "val", None]
    assert samples["size"].to_list() == [7, 10, 6]
    assert samples["version"][0] == (folder / "b/1.jpg").stat().st_mtime_ns
    columns = (samples[name].to_numpy() for name in ("file", "offset", "size"))
    assert list(read_samples(open_source(path), samples["key"].to_list(), *columns)) == samples["key"].to_list()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "Image,CLASS,fold\r\na/2.jpg,1.0,0\r\n"),
        ("t.tsv", "id\tfile_name\ttarget\tsubset\n7\ta/2.jpg\t1.0\t0\n"),
        ("t.CSV", "\ufefffilename,key,category, Split \na/2.jpg,zzz,1.0,0\n\n"),
    ],
)
def test_columns_go_by_several_names_in_any_case(folder, name, text):
    rows = listed(table(folder, text, name)).select("key", "label", "split").rows()
    assert rows == [(b"a/2.jpg", "1.0", "0")]


def test_parquet_columns_of_any_type_are_read_as_text(folder):
    frame = pl.DataFrame(
        {"key": ["a/2.jpg", "b/1.jpg"], "label": [7, 8], "split": pl.Series(["x", "y"], dtype=pl.Categorical)}
    )
    frame.write_parquet(folder / "t.parquet")
    rows = listed(folder / "t.parquet").select("key", "label", "split").rows()
    assert rows == [(b"a/2.jpg", "7", "x"), (b"b/1.jpg", "8", "y")]


def test_json_lines_have_labels_of_any_type_that_begin_in_any_row(tmp_path):
    late = [b'{"path": "a"}'] * 200 + [b'{"path": "b", "label": 1, "more": [1]}', b'{"path": "c", "label": "cat"}', b""]
    lines = [line.replace(b'"a"', b'"%d"' % row) for row, line in enumerate(late)]
    samples = listed(put(tmp_path, "t.jsonl", b"\n".join(lines)))
    assert samples["label"].to_list() == [None] * 200 + ["1", "cat"]
    values = ["1", "0.5", "true", "null", "12345678901234567", '" cat "']
    rows = "".join(f'{{"file": "{row}", "label": {value}, "more": 1}}\n' for row, value in enumerate(values))
    samples = listed(put(tmp_path, "u.ndjson", rows.encode()))
    assert samples["label"].to_list() == ["1", "0.5", "true", None, "12345678901234567", "cat"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"path": "b", "label": ["cat"]}', "column label.*lists"),
        (b'{"path": "b"', "line 201: expected a JSON object"),
    ],
)
def test_json_lines_that_are_no_table_are_refused_wherever_they_are(tmp_path, line, said):
    with pytest.raises(DatasetError, match=said):
        listed(put(tmp_path, "t.jsonl", b'{"path": "a", "label": "cat"}\n' * 200 + line))


def test_a_table_without_a_column_of_paths_names_what_it_has(folder):
    with pytest.raises(DatasetError, match="found the columns id, label"):
        listed(table(folder, "id,label\n1,2\n"))


def test_a_missing_file_has_no_size_and_is_reported_when_it_is_read(folder):
    os.mkfifo(folder / "pipe.jpg")
    path = table(folder, "path\nnowhere.jpg\na/2.jpg\npipe.jpg\na\n")
    samples = listed(path)
    assert samples.select("size", "version").rows()[0] == (-1, 0)
    assert samples["size"].to_list() == [-1, 7, -1, -1]
    columns = [samples[name].to_numpy() for name in ("file", "offset", "size")]
    put(folder, "nowhere2.jpg", b"")
    missing, whole, pipe, directory = read_samples(open_source(path), samples["key"].to_list(), *columns)
    assert isinstance(missing, FileNotFoundError)
    assert whole == b"a/2.jpg"
    assert isinstance(pipe, FileNotFoundError)
    assert isinstance(directory, FileNotFoundError)
    put(folder, "nowhere.jpg", b"late")
    late = next(read_samples(open_source(path), samples["key"].to_list(), *columns))
    assert "it was missing" in str(late)


@pytest.mark.parametrize("bad", ["/abs.jpg", "s3://b/1.jpg", "../1.jpg", "a/../1.jpg", "a/..", '""', "nul\0.jpg"])
def test_paths_that_do_not_lie_below_the_table_are_refused_with_their_row(folder, bad):
    path = table(folder, f"path,label\na/2.jpg,x\n..x/1..jpg,y\n{bad},z\n")
    with pytest.raises(DatasetError, match=re.escape(f"{path}, row 3: expected a path below")):
        listed(path)


def test_a_row_without_a_path_is_refused(folder):
    with pytest.raises(DatasetError, match=r"row 2.*no path"):
        listed(table(folder, "path,label\na/2.jpg,x\n,y\n"))


def test_a_row_with_nothing_but_a_number_is_no_empty_line(folder):
    with pytest.raises(DatasetError, match=r"row 2.*no path"):
        listed(table(folder, "id,path,label\n7,a/2.jpg,x\n8,,\n"))
    assert len(listed(table(folder, "id,path,label\n7,a/2.jpg,x\n\n,,\n"))) == 1


@pytest.mark.parametrize("again", ["a/2.jpg", "./a/2.jpg", "a//2.jpg", "a/././2.jpg", "././a/2.jpg"])
def test_a_file_listed_twice_is_refused(folder, again):
    with pytest.raises(DatasetError, match=re.escape("found a/2.jpg twice")):
        listed(table(folder, f"path\na/2.jpg\nb/1.jpg\n{again}\n"))


def test_the_first_of_many_duplicates_is_named():
    keys = [pl.Series([b"%d" % (number % 70_000) for number in range(begin, begin + 50_000)]) for begin in (0, 50_000)]
    duplicates = RepeatedKeys()
    for series in keys:
        duplicates.add(series)
    assert duplicates.first(lambda: keys) == b"0"
    assert RepeatedKeys().first(list) is None


def test_a_table_of_many_batches_is_whole_and_in_order(tmp_path):
    path = table(tmp_path, "path,label\n" + "".join(f"{n}.jpg,{n % 7}\n" for n in range(120_000)))
    frames = list(open_source(path).batches())
    assert max(map(len, frames)) <= 50_000
    samples = pl.concat(frames)
    assert samples["key"].to_list() == [b"%d.jpg" % n for n in range(120_000)]
    assert samples["label"].to_list() == [str(n % 7) for n in range(120_000)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"path,label\n", "an empty table"),
        (b"path,label\na.jpg,1,2\n", "more fields"),
        (b"path\na\xff.jpg\n", "utf-8"),
    ],
)
def test_a_csv_file_that_is_none_is_refused(tmp_path, data, said):
    with pytest.raises(DatasetError, match=said):
        listed(put(tmp_path, "t.csv", data))


def test_a_parquet_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="expected a table"):
        listed(put(tmp_path, "t.parquet", b"PAR1 but no more"))
