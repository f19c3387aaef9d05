"""Tables are read as people have them, and what cannot be made out is refused with what to do."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.trees import put
from tiering.errors import DatasetError, UsageError
from tiering.sources.labels.classes import LabelsWarning
from tiering.sources.source import open_source, read_samples
from tiering.sources.tables.table import TableForm


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for key in ("0.jpg", "1.jpg", "my cats/2 b.jpg"):
        put(tmp_path, key, key.encode())
    return tmp_path


def rows(place: Path, columns=None, root=None) -> list[tuple]:
    batches = open_source(place, TableForm.of(columns, root)).batches()
    return [(key.decode(), *about) for key, *about in pl.concat(batches).select("key", "label", "split").iter_rows()]


AB = [("0.jpg", "a", None), ("1.jpg", "b", None)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("semicolons.csv", "path;label\n0.jpg;a\n1.jpg;b\n"),
        ("tabs.csv", "path\tlabel\n0.jpg\ta\n1.jpg\tb\n"),
        ("commas.tsv", "path,label\n0.jpg,a\n1.jpg,b\n"),
        ("bars.csv", "label|path\na|0.jpg\nb|1.jpg\n"),
        ("spaced.csv", "path, label\n0.jpg, a\n1.jpg, b\n"),
        ("spaced.csv", "label, path\na, 0.jpg\nb, 1.jpg\n"),
        ("trailing.csv", "path,label\n0.jpg,a \n1.jpg,\tb\n"),
        ("plural.csv", "Image Path,Labels\n0.jpg,a\n1.jpg,b\n"),
        ("kaggle.csv", "image_id,Class-Name,breed\n0.jpg,a,x\n1.jpg,b,y\n"),
        ("quoted.csv", '"File.Name","TARGET"\r\n"0.jpg","a"\r\n"1.jpg","b"\r\n'),
        ("none.csv", "0.jpg,a\n1.jpg,b\n"),
        ("none.tsv", "0.jpg\ta\n1.jpg\tb\n"),
        ("list.txt", "0.jpg a\n1.jpg b\n"),
        ("list.lst", "0.jpg   a\r\n1.jpg\tb\r\n\r\n"),
        ("headed.txt", "path label\n0.jpg a\n1.jpg b\n"),
        ("commas.txt", "0.jpg,a\n1.jpg,b\n"),
    ],
)
def test_tables_as_people_have_them(folder, name, text):
    assert rows(put(folder, name, text.encode())) == AB


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", ["path,label\n0.jpg,a\n1.jpg,ß\n", "0.jpg,a\n1.jpg,ß\n"])
def test_tables_of_spreadsheets_in_any_unicode(folder, encoding, text):
    assert rows(put(folder, "sheet.csv", text.encode(encoding))) == [AB[0], ("1.jpg", "ß", None)]


def test_names_of_files_keep_their_blanks(folder):
    assert rows(put(folder, "list.txt", b"my cats/2 b.jpg 3\n")) == [("my cats/2 b.jpg", "3", None)]
    assert rows(put(folder, "list.csv", b"path\nmy cats/2 b.jpg\n")) == [("my cats/2 b.jpg", None, None)]
    assert rows(put(folder, "alone.csv", b"0.jpg\n1.jpg\n")) == [("0.jpg", None, None), ("1.jpg", None, None)]


def test_a_line_without_a_label_is_a_row(folder):
    assert rows(put(folder, "list.txt", b"0.jpg a\n1.jpg\n\n")) == [AB[0], ("1.jpg", None, None)]


def test_names_without_their_ending_are_found(folder):
    put(folder, "ISIC_0.1.png")
    put(folder, "7.JPG")
    found = rows(put(folder, "t.csv", b"image_id,label\n0,a\n1.jpg,b\nISIC_0.1,c\n7,d\n8,e\n"))
    assert [key for key, *_ in found] == ["0.jpg", "1.jpg", "ISIC_0.1.png", "7.JPG", "8"]
    with pytest.raises(DatasetError, match=r"found 0\.jpg twice"):
        rows(put(folder, "twice.csv", b"image_id\n0.jpg\n0\n"))


def test_paths_of_windows_are_found_but_lead_nowhere_else(folder):
    put(folder, "a\\b.jpg")
    put(folder.parent, "out.jpg")
    text = b"path\nmy cats\\2 b.jpg\na\\b.jpg\n..\\out.jpg\nno\\where.jpg\n"
    found = [key for key, *_ in rows(put(folder, "t.csv", text))]
    assert found == ["my cats/2 b.jpg", "a\\b.jpg", "..\\out.jpg", "no\\where.jpg"]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("17,a,train,0.jpg\n18,b,val,1.jpg\n", "path=3,label=1,split=2"),
        ("17,a,train,0.jpg\n18,b,val,1.jpg\n", "_,label,split,path"),
        ("n,k,s,what\n17,a,train,0.jpg\n18,b,val,1.jpg\n", "path=what,label=k,split=s"),
        ("n,k,s,what\n17,a,train,0.jpg\n18,b,val,1.jpg\n", "path=3,label=1,split=2"),
        ("path,k,s,label\n17,a,train,0.jpg\n18,b,val,1.jpg\n", {"path": "label", "label": "k", "split": "s"}),
        ("17 a train 0.jpg\n18 b val 1.jpg\n", "path=3,label=1,split=2"),
    ],
)
def test_columns_may_be_given(folder, text, columns):
    assert rows(put(folder, "t.csv", text.encode()), columns) == [("0.jpg", "a", "train"), ("1.jpg", "b", "val")]


def test_columns_of_parquet_may_be_given_too(folder):
    pl.DataFrame({"a": ["0.jpg"], "b": [7]}).write_parquet(folder / "t.parquet")
    assert rows(folder / "t.parquet", "path=a,label=b") == [("0.jpg", "7", None)]
    assert rows(folder / "t.parquet", "path=0,label=1") == [("0.jpg", "7", None)]


def test_absolute_paths_below_the_root_are_relative(folder, tmp_path_factory):
    text = f"path,label\n{folder}/0.jpg,a\n1.jpg,b\n".encode()
    assert rows(put(folder, "t.csv", text)) == AB
    (folder / "link").symlink_to(folder, target_is_directory=True)
    assert rows(folder / "link" / "t.csv") == AB
    elsewhere = put(tmp_path_factory.mktemp("lists"), "t.csv", text)
    with pytest.raises(DatasetError, match=r"row 1: expected a path below .* `root` DIRECTORY"):
        rows(elsewhere)
    assert rows(elsewhere, root=folder) == AB
    source = open_source(elsewhere, TableForm.of(None, folder))
    listed = pl.concat(source.batches())
    columns = (listed[name].to_numpy() for name in ("file", "offset", "size"))
    assert list(read_samples(source, listed["key"].to_list(), *columns)) == [b"0.jpg", b"1.jpg"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("foto,klasse\n0.jpg,a\n", "found the columns foto, klasse.*`columns` path=NAME"),
        ("17,a,0.jpg\n", r"found 3 columns without names \(17, a, 0.jpg\).*`columns` path=0,label=1"),
        ("0.jpg,1.jpg\n", "found 2 columns without names"),
        ("1 0.jpg\n2 1.jpg\n", r"found 2 columns without names \(1, 0.jpg\)"),
    ],
)
def test_what_cannot_be_made_out_is_refused_with_what_to_do(folder, text, said):
    with pytest.raises(DatasetError, match=said):
        rows(put(folder, "t.csv", text.encode()))


@pytest.mark.parametrize(
    "columns",
    [
        "path=nowhere",
        "path=9",
        "label=1",
        "colour=2",
        "path=",
        "path=path,a b=label",
        "path=path,mask:film=label",
        "path=path,image=label",
        "path=path,key=label",
    ],
)
def test_columns_that_make_no_sense_are_refused(folder, columns):
    with pytest.raises(UsageError, match="columns"):
        rows(put(folder, "t.csv", b"path,label\n0.jpg,a\n"), columns)


def test_columns_that_are_lists_are_refused(folder):
    pl.DataFrame({"path": ["0.jpg"], "labels": [["a", "b"]]}).write_parquet(folder / "t.parquet")
    with pytest.raises(DatasetError, match="column labels: expected one label in each row, found lists or objects"):
        rows(folder / "t.parquet", "path=path,label=labels")


def test_a_table_whose_labels_have_another_name_is_warned_of(folder):
    path = put(folder, "t.csv", b"path,breed\n0.jpg,a\n")
    with pytest.warns(
        LabelsWarning,
        match="none of the columns breed is known to hold labels; the images have no class.*`columns` path=path,label=NAME",
    ):
        assert rows(path) == [("0.jpg", None, None)]
    assert rows(path, "path=path") == [("0.jpg", None, None)]


def test_text_that_lists_no_images_is_no_table(tmp_path):
    for text in (b"words\n", b"The file list of 2020\n", b"", b"\xff\xfe\0"):
        with pytest.raises(DatasetError, match="a file of another kind"):
            open_source(put(tmp_path, "notes.txt", text))
