"""Whatever samples come from, they are listed in one form and read by it."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.trees import FIXTURES, put
from tiering.errors import DatasetError
from tiering.sources.byte_ranges import read_parts
from tiering.sources.scan import scan
from tiering.sources.source import SOURCE_SCHEMA, Source, open_source, read_samples


def listed(source: Source) -> pl.DataFrame:
    return pl.concat(list(source.batches()))


def contents(source: Source, samples: pl.DataFrame) -> list[bytes | OSError | DatasetError]:
    columns = (samples[name].to_numpy() for name in ("file", "offset", "size"))
    return list(read_samples(source, samples["key"].to_list(), *columns))


def pack(path: Path, *files: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        for file in files:
            tar.add(file, file.name)
    return path


def test_a_folder_lists_what_a_scan_finds():
    source = open_source(FIXTURES)
    assert (source.url, source.kind, source.files) == (str(FIXTURES), "folder", ())
    samples = listed(source)
    assert dict(samples.schema) == SOURCE_SCHEMA
    assert samples.select("key", "size", mtime_ns="version").equals(scan(FIXTURES).files)
    assert samples.select("label", "split").null_count().row(0) == (300, 300)
    assert samples["file"].unique().to_list() == [-1]
    assert samples["offset"].unique().to_list() == [0]


def test_samples_come_in_the_order_asked_for():
    source = open_source(FIXTURES)
    samples = listed(source).sample(fraction=0.5, shuffle=True, seed=1)
    assert contents(source, samples) == [(FIXTURES / os.fsdecode(key)).read_bytes() for key in samples["key"]]


def test_a_source_travels_and_works_elsewhere(tmp_path, monkeypatch):
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    put(root, b"\xff/1.jpg", b"one")
    monkeypatch.chdir(tmp_path)
    source = open_source(Path(root.name))
    assert source.url == str(root), "absolute"
    sent = pickle.dumps(source)
    assert len(sent) < 400
    assert contents(pickle.loads(sent), listed(source)) == [b"one"]


def test_a_folder_without_images_says_what_it_saw(tmp_path):
    put(tmp_path, "cat/notes.txt", b"text")
    with pytest.raises(DatasetError, match="found none, but not an image: 1"):
        list(open_source(tmp_path).batches())


def test_kinds_are_known_by_what_is_there(tmp_path):
    image = put(tmp_path, "photos/cat/1.jpg")
    assert open_source(tmp_path / "photos").kind == "folder"
    shards = tmp_path / "shards"
    put(shards, "readme.txt", b"text")
    put(shards, ".hidden.tar.gz", b"")
    (shards / "empty").mkdir()
    for name in ("b.tar", "a.TAR", "a-1.tar"):
        pack(shards / name, image)
    source = open_source(f"{shards}/")
    assert source == Source(str(shards), "tar", tuple(f"{shards}/{name}" for name in ("a-1.tar", "a.TAR", "b.tar")))
    assert open_source(shards / "b.tar") == Source(str(shards / "b.tar"), "tar", (str(shards / "b.tar"),))
    assert open_source(put(tmp_path, "photos/train.CSV", b"path\ncat/1.jpg\n")).kind == "table"


def test_an_archive_beside_class_folders_does_not_hide_them(tmp_path):
    image = put(tmp_path, "photos/cat/1.jpg")
    pack(tmp_path / "photos" / "photos.tar", image)
    put(tmp_path, "photos/photos.tar.gz", b"")
    put(tmp_path, "photos/thumb.png")
    assert open_source(tmp_path / "photos").kind == "folder"


@pytest.mark.parametrize("names", [("n1.tar", "n2.tar"), ("n1.tar.gz",)])
def test_images_and_tar_files_side_by_side_are_refused(tmp_path, names):
    image = put(tmp_path, "1.jpg")
    put(tmp_path, "shards/thumb.png")
    (tmp_path / "shards" / "notes").mkdir()
    for name in names:
        pack(tmp_path / "shards" / name, image)
    with pytest.raises(DatasetError, match=r"thumb\.png beside n1\.tar.*Move one kind elsewhere"):
        open_source(tmp_path / "shards")


def test_what_is_no_source_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="nothing at that path"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="a file of another kind"):
        open_source(put(tmp_path, "1.jpg"))
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(DatasetError, match="found a FIFO"):
        open_source(tmp_path / "pipe.tar")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar.zst", "A.TAR.XZ", "a.tar.bz2"])
def test_compressed_tars_are_refused_with_advice(tmp_path, name):
    path = put(tmp_path, f"shards/{name}", b"")
    for place in (path, path.parent):
        with pytest.raises(DatasetError, match="Decompress it first"):
            open_source(place)


def test_files_that_change_vanish_or_may_not_be_read_are_reported_without_stopping(tmp_path):
    for name in ("grown", "shrunk", "emptied", "gone", "fifo", "folder", "whole"):
        put(tmp_path, f"{name}.jpg", b"0123456789")
    put(tmp_path, "filled.jpg", b"")
    source = open_source(tmp_path)
    samples = listed(source)
    put(tmp_path, "grown.jpg", b"0123456789+")
    put(tmp_path, "shrunk.jpg", b"012345678")
    put(tmp_path, "emptied.jpg", b"")
    put(tmp_path, "filled.jpg", b"0")
    for name in ("gone", "fifo", "folder"):
        (tmp_path / f"{name}.jpg").unlink()
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "folder.jpg").mkdir()
    found = dict(zip(samples["key"].to_list(), contents(source, samples), strict=True))
    assert found[b"whole.jpg"] == b"0123456789"
    for key, how in ((b"grown", "grew"), (b"shrunk", "shrank"), (b"emptied", "shrank"), (b"filled", "grew")):
        assert f"changed while it was being packed: it {how}" in str(found[key + b".jpg"])
    gone = found[b"gone.jpg"]
    assert isinstance(gone, FileNotFoundError)
    assert gone.filename == str(tmp_path / "gone.jpg")
    assert isinstance(found[b"fifo.jpg"], FileNotFoundError)
    assert isinstance(found[b"folder.jpg"], OSError)
    assert found[b"folder.jpg"].errno == errno.EISDIR


def test_a_file_without_permission_is_told_too(tmp_path, without_privilege):
    put(tmp_path, "1.jpg", b"one").chmod(0)
    put(tmp_path, "2.jpg", b"two")
    script = (
        "import sys\nfrom tests.sources.test_source import *\n"
        "source = open_source(sys.argv[1])\nprint([type(one).__name__ for one in contents(source, listed(source))])"
    )
    command = [*without_privilege, sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "['PermissionError', 'bytes']"


def test_few_of_many_tar_files_are_open_at_once(tmp_path):
    image = put(tmp_path, "1.jpg")
    for number in range(40):
        pack(tmp_path / "shards" / f"{number:02d}.tar" if number else put(tmp_path, "shards/00.tar", b""), image)
    source = open_source(tmp_path / "shards")
    samples = listed(source)
    before = len(os.listdir("/proc/self/fd"))
    columns = (np.tile(samples[name].to_numpy(), 3) for name in ("file", "offset", "size"))
    most = 0
    for found in read_samples(source, samples["key"].to_list() * 3, *columns):
        assert found == image.read_bytes()
        most = max(most, len(os.listdir("/proc/self/fd")) - before)
    assert most == 16
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_tar_that_vanished_or_was_cut_is_told_for_each_of_its_samples(tmp_path):
    image = put(tmp_path, "1.jpg")
    (tmp_path / "shards").mkdir()
    for name in "abc":
        pack(tmp_path / "shards" / f"{name}.tar", image)
    source = open_source(tmp_path / "shards")
    samples = listed(source)
    (tmp_path / "shards" / "a.tar").unlink()
    os.truncate(tmp_path / "shards" / "b.tar", 600)
    gone, cut, whole = contents(source, samples)
    assert isinstance(gone, FileNotFoundError)
    assert "it shrank" in str(cut)
    assert whole == image.read_bytes()


@settings(max_examples=examples(50))
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 300)), max_size=30))
def test_parts_of_a_file_are_its_bytes(tmp_path_factory, places):
    path = tmp_path_factory.mktemp("parts") / "file"
    data = np.random.default_rng(0).bytes(4300)
    path.write_bytes(data)
    found = list(read_parts([(str(path), offset, size) for offset, size in places]))
    assert found == [data[offset : offset + size] for offset, size in places]
