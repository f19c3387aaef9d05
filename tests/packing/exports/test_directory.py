"""Export: every sample a file of its own, all of them or none, and nothing of anybody else's touched."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
import tracemalloc

import pytest

import tiering
from tests.trees import picture, put
from tiering.errors import MachineError, StoreError, TieringError, UsageError
from tiering.packing.exports.names import check_names
from tiering.testing import tree


def packed_tar(place, keys, kind="lmdb", **how):
    """Pack images under keys that no directory could hold beside each other."""
    with tarfile.open(place / "photos.tar", "w") as archive:
        for key in keys:
            member = tarfile.TarInfo(key)
            data = picture(format="PNG")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    tiering.convert(place / "photos.tar", place / "store", kind, **how)
    return place / "store"


@pytest.fixture
def store(tmp_path):
    for number in range(6):
        put(tmp_path / "photos", f"class{number % 2}/{number}.png", picture(16 + number, format="PNG"))
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb")
    return tmp_path / "store"


def refused(store, place, *words, kind=StoreError):
    before = sorted(os.listdir(place))
    with pytest.raises(kind) as raised:
        tiering.export(store, place / "out")
    for word in words:
        assert word in str(raised.value)
    assert sorted(os.listdir(place)) == before


def test_pixels_of_a_jpg_and_a_jpg_png_are_not_one_file(tmp_path):
    for name in ("a.jpg", "a.jpg.png", "b.jpg"):
        put(tmp_path / "photos", name, picture(format="PNG" if name.endswith("png") else "JPEG"))
    tiering.convert(tmp_path / "photos", tmp_path / "store", "zarr", pixels=tiering.Pixels())
    refused(tmp_path / "store", tmp_path, "a.jpg and a.jpg.png", "one file", "Nothing was written")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["a.png", "a.png/b.png"], "a.png and a.png/b.png, which would be a file and a directory"),
        (["x/a.png/b/c/d.png", "x/a.png"], "x/a.png and x/a.png/b/c/d.png"),
        (["labels.csv/a.png"], "labels.csv and labels.csv/a.png"),
        (["a" * 256 + ".png"], "255 bytes"),
    ],
)
def test_samples_that_cannot_all_be_files_are_both_named(tmp_path, keys, words):
    refused(packed_tar(tmp_path, ["z.png", *keys]), tmp_path, words)


def test_a_sample_called_as_the_table_of_labels_is_named(tmp_path):
    put(tmp_path / "photos", "labels.csv", picture())
    put(tmp_path / "photos", "a.png", picture())
    put(tmp_path / "photos", "list.csv", b"path,label\nlabels.csv,x\na.png,y\n")
    tiering.convert(tmp_path / "photos" / "list.csv", tmp_path / "store", "lmdb")
    refused(tmp_path / "store", tmp_path, "labels.csv and labels.csv")


@pytest.mark.parametrize("key", [b"../x.png", b"/xx.png", b"a//x.png", b"a/./x.png"])
def test_a_key_that_leads_elsewhere_is_refused_before_anything_is_written(tmp_path, key):
    store = packed_tar(tmp_path, ["good.png", "x" * (len(key) - 4) + ".png"])
    column = store / "index" / "key" / "c" / "0"
    changed = column.read_bytes().replace(b"x" * (len(key) - 4) + b".png", key)
    assert key in changed
    column.write_bytes(changed)
    refused(store, tmp_path, "relative paths", kind=TieringError)


def test_names_that_only_this_file_system_takes_for_one_are_named(tmp_path):
    store = packed_tar(tmp_path, ["Photo.png", "photo.PNG"])
    files = tmp_path / "out.exporting.files"

    def fold(*_):
        (first,) = (name for name in os.listdir(files) if name != "labels.csv")
        os.link(files / first, files / ({"Photo.png": "photo.PNG"}.get(first) or "Photo.png"))

    with pytest.raises(StoreError, match=r"(Photo\.png and photo\.PNG|photo\.PNG and Photo\.png), .*this file system"):
        tiering.export(store, tmp_path / "out", progress=fold)
    assert not (tmp_path / "out").exists()
    assert sorted(os.listdir(tmp_path)) == ["photos.tar", "store"]


def test_any_name_comes_out_byte_for_byte(tmp_path):
    for name in (
        b"new\nline.png",
        b"caf\xe9.png",
        b"\x1b[31m.png",
        b" sp ace/- x.png",
        b"files/tiering x/export.json.png",
    ):
        put(tmp_path / "photos", name, picture(format="PNG"))
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb")
    tiering.export(tmp_path / "store", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "photos")


def test_what_stands_in_the_way_is_left_alone(store, tmp_path):
    put(tmp_path / "out", "mine", b"mine")
    refused(store, tmp_path, "not empty", kind=UsageError)
    (tmp_path / "out" / "mine").unlink()
    put(tmp_path / "out.exporting.files", "mine", b"mine")
    refused(store, tmp_path, "nor an unfinished export", kind=UsageError)
    assert (tmp_path / "out.exporting.files" / "mine").read_bytes() == b"mine"
    (tmp_path / "out.exporting.files").rename(tmp_path / "elsewhere")
    (tmp_path / "out.exporting").write_bytes(b"mine")
    refused(store, tmp_path, "nor an unfinished export", kind=UsageError)
    assert (tmp_path / "out.exporting").read_bytes() == b"mine"
    (tmp_path / "out.exporting").unlink()
    (tmp_path / "out.exporting").symlink_to(tmp_path / "elsewhere" / "mine")
    refused(store, tmp_path, "link")
    assert tree(tmp_path / "elsewhere") == {b"mine": b"mine"}


def test_what_appears_during_an_export_is_not_replaced(store, tmp_path):
    with pytest.raises(UsageError, match="appeared"):
        tiering.export(store, tmp_path / "out", progress=lambda *_: put(tmp_path / "out", "mine", b"mine"))
    assert tree(tmp_path / "out") == {b"mine": b"mine"}
    assert sorted(os.listdir(tmp_path)) == ["out", "photos", "store"]


def test_an_empty_directory_keeps_its_mode_and_may_be_reached_by_a_link(store, tmp_path):
    (tmp_path / "real").mkdir(mode=0o710)
    (tmp_path / "out").symlink_to("real")
    tiering.export(store, tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o710
    assert tree(tmp_path / "real") == tree(tmp_path / "photos")


def test_the_current_directory_is_not_taken_away(store, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    refused(store, tmp_path, "the current directory", kind=UsageError)


def test_two_exports_do_not_meet(store, tmp_path):
    def again(done, *_):
        if done == 1:
            with pytest.raises(UsageError, match="another export is running"):
                tiering.export(store, tmp_path / "out")

    assert tiering.export(store, tmp_path / "out", progress=again) == 6
    assert tree(tmp_path / "out") == tree(tmp_path / "photos")


def test_a_file_that_is_locked_elsewhere_is_not_taken_for_another_export(store, tmp_path):
    def locked(*_):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), "a pipe")

    with pytest.raises(MachineError, match="a pipe"):
        tiering.export(store, tmp_path / "out", progress=locked)


def test_damage_found_on_the_way_leaves_nothing(store, tmp_path):
    shard = store / "shard-00000.mdb"
    data = bytearray(shard.read_bytes())
    at = data.find(b"IDAT")
    data[at + 10] ^= 1
    shard.write_bytes(data)
    refused(store, tmp_path, "other bytes")


class Keys:
    """A store of nothing but keys."""

    def __init__(self, n, layout="flat"):
        self.location, self.index, self.n = "made", self, n
        self.manifest = type("Manifest", (), {"layout": layout, "settings": None})()

    def __len__(self):
        return self.n

    def keys(self, rows):
        return [b"class-%04d/%09d.jpg" % (row % 1000, row) for row in rows.tolist()]


@pytest.mark.slow
def test_names_are_checked_without_an_object_for_each():
    def peak(samples):
        tracemalloc.start()
        check_names(Keys(samples))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(200_000) - peak(133_000) < 67_000 * 16
