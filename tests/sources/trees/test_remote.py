"""What lies in a bucket reads as what lies on a disk, and what goes wrong with a server is said in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import fsspec
import polars as pl
import pytest

from tests.s3 import FaultyProxy, free_port, s3_environment
from tests.trees import FIXTURES, put
from tiering.errors import DatasetError, InputError, MachineError, TieringError, UsageError
from tiering.sources.source import SOURCE_SCHEMA, Source, open_source, read_samples
from tiering.sources.trees.remote import connect, version_of
from tiering.sources.trees.remote_folder import RemoteFolder
from tiering.sources.trees.walk import Walk


def upload(folder: Path, url: str) -> None:
    system, path = connect(url)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    system.put([str(file) for file in files], [f"{path}/{file.relative_to(folder)}" for file in files])


def listed(source: Source) -> pl.DataFrame:
    return pl.concat(list(source.batches()))


def contents(source: Source, samples: pl.DataFrame) -> list[bytes | OSError | DatasetError]:
    columns = (samples[name].to_numpy() for name in ("file", "offset", "size"))
    return list(read_samples(source, samples["key"].to_list(), *columns))


def same_but_for_version(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    return one.drop("version").equals(other.drop("version"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for key in ("b/1.jpg", "a-b/1.jpg", "a/2.jpg", "a/10.jpg", "Z.jpg", "ä/ 1+2 %41?#.jpg", "a/.hidden/1.jpg"):
        put(root, key, key.encode())
    put(root, "a/empty.jpg", b"")
    put(root, "a/notes.txt", b"text")
    put(root, ".hidden.jpg")
    return root


def test_a_folder_in_a_bucket_lists_and_reads_as_one_on_a_disk(s3: str, tree: Path):
    upload(tree, s3)
    here, there = open_source(tree), open_source(s3)
    assert (there.url, there.kind, there.files) == (s3, "folder", ())
    samples = listed(there)
    assert dict(samples.schema) == SOURCE_SCHEMA
    assert same_but_for_version(samples, listed(here))
    assert contents(there, samples) == contents(here, listed(here))
    assert listed(there).equals(samples), "versions stay while files do"
    connect(s3)[0].pipe(f"{s3}/Z.jpg", b"changed")
    changed = listed(open_source(s3)).join(samples, on=["key", "version"], how="anti")
    assert changed["key"].to_list() == [b"Z.jpg"]


def test_a_whole_bucket_is_a_folder_too_and_directory_marks_are_no_images(s3: str, tree: Path):
    system, _ = connect(s3)
    system.mkdir("s3://another")
    system.pipe("s3://another/cats/", b"")
    system.pipe("s3://another/cats/1.jpg", b"cat")
    assert listed(open_source("s3://another"))["key"].to_list() == [b"cats/1.jpg"]


def test_counts_of_a_walk_are_the_same_in_a_bucket(s3: str, tree: Path):
    upload(tree, s3)
    walk = Walk()
    assert sum(map(len, walk.batches(RemoteFolder.top(s3)))) == 7
    counts = {kind: (tally.count, tally.size) for kind, tally in walk.ledger.left_out.kinds.items()}
    hidden = (tree / ".hidden.jpg").stat().st_size
    assert counts == {"not an image": (1, 4), "hidden": (2, hidden)}


def test_tar_files_in_a_bucket_list_and_read_as_on_a_disk(s3: str, tmp_path: Path):
    files = sorted(FIXTURES.rglob("*.jpg"))[:40]
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in range(2):
        with tarfile.open(shards / f"train-{number}.tar", "w") as tar:
            for file in files[number::2]:
                tar.add(file, f"{file.parent.name}/{file.name}")
    upload(shards, s3)
    here, there = open_source(shards), open_source(s3)
    assert there.files == (f"{s3}/train-0.tar", f"{s3}/train-1.tar")
    assert same_but_for_version(listed(there), listed(here))
    assert contents(there, listed(there)) == contents(here, listed(here))
    alone = open_source(f"{s3}/train-1.tar")
    assert contents(alone, listed(alone)) == [file.read_bytes() for file in files[1::2]]


def test_a_table_in_a_bucket_lists_and_reads_as_on_a_disk(s3: str, tree: Path):
    put(tree, "train.csv", b"file,label,subset\nb/1.jpg,007,train\nZ.jpg,x,test\nnowhere.jpg,x,\na,y,\n")
    upload(tree, s3)
    here, there = open_source(tree / "train.csv"), open_source(f"{s3}/train.csv")
    samples = listed(there)
    assert samples["size"].to_list() == [7, 5, -1, -1]
    assert same_but_for_version(samples, listed(here))
    found = contents(there, samples)
    assert found[:2] == [b"b/1.jpg", b"Z.jpg"]
    assert isinstance(found[2], FileNotFoundError)
    assert found[2].filename == f"{s3}/nowhere.jpg"


def test_parquet_tables_are_read_from_a_bucket(s3: str, tree: Path):
    pl.DataFrame({"path": ["b/1.jpg"], "class": [3]}).write_parquet(tree / "t.parquet")
    upload(tree, s3)
    assert listed(open_source(f"{s3}/t.parquet"))["label"].to_list() == ["3"]


def test_objects_that_change_or_vanish_while_they_are_read_are_told_without_stopping(s3: str, tree: Path):
    upload(tree, s3)
    source = open_source(s3)
    samples = listed(source)
    system, path = connect(s3)
    system.pipe(f"{path}/a/10.jpg", b"longer than before")
    system.pipe(f"{path}/a/2.jpg", b"cut")
    system.pipe(f"{path}/b/1.jpg", b"")
    system.pipe(f"{path}/a/empty.jpg", b"no more")
    system.rm(f"{path}/Z.jpg")
    found = dict(zip(samples["key"].to_list(), contents(source, samples), strict=True))
    assert found[b"a-b/1.jpg"] == b"a-b/1.jpg"
    assert isinstance(found[b"Z.jpg"], FileNotFoundError)
    for key, how in ((b"a/10.jpg", "grew"), (b"a/2.jpg", "shrank"), (b"b/1.jpg", "shrank"), (b"a/empty.jpg", "grew")):
        error = found[key]
        assert isinstance(error, DatasetError)
        assert f"changed while it was being packed: it {how}" in error.found


@pytest.mark.slow
def test_a_server_that_says_slow_down_is_asked_again(s3: str, s3_endpoint: str):
    upload(FIXTURES, s3)
    with FaultyProxy(s3_endpoint, share=0.05, seed=1, broken_off=0.02) as proxy, s3_environment(proxy.endpoint):
        source = open_source(s3)
        samples = listed(source)
        found = contents(source, samples)
    assert len(found) == 300
    assert found == [(FIXTURES / os.fsdecode(key)).read_bytes() for key in samples["key"]]
    assert proxy.requests > 300
    assert proxy.failures > 10


def test_a_server_that_only_says_slow_down_is_given_up(s3: str, s3_endpoint: str):
    connect(s3)[0].pipe(f"{s3}/1.jpg", b"x")
    source = open_source(s3)
    samples = listed(source)
    with FaultyProxy(s3_endpoint, share=1.0) as proxy, s3_environment(proxy.endpoint):
        # Fewer attempts than by default, which take 20 seconds.
        fsspec.config.conf["s3"] = {"config_kwargs": {"retries": {"max_attempts": 0}}}
        try:
            (found,) = contents(source, samples)
        finally:
            del fsspec.config.conf["s3"]
    assert isinstance(found, OSError)
    assert not isinstance(found, FileNotFoundError)
    assert found.filename == f"{s3}/1.jpg"


@pytest.mark.parametrize("name", ["tab\there.jpg", "\x01.jpg", "~.jpg", "back\\slash.jpg", " blank .jpg"])
def test_objects_of_unusual_names_are_listed_and_read_beside_others(s3: str, name: str):
    system, path = connect(s3)
    system.pipe({f"{path}/1.jpg": b"one", f"{path}/{name}": b"unusual"})
    source = open_source(s3)
    samples = listed(source)
    found = dict(zip(samples["key"].to_list(), contents(source, samples), strict=True))
    assert found == {b"1.jpg": b"one", name.encode(): b"unusual"}


def test_samples_can_be_left_unread(s3: str, few_photos: Path):
    upload(few_photos, s3)
    source = open_source(s3)
    samples = listed(source)
    columns = (samples[name].to_numpy() for name in ("file", "offset", "size"))
    reading = read_samples(source, samples["key"].to_list(), *columns)
    assert isinstance(next(reading), bytes)
    reading.close()


def test_a_bucket_or_a_prefix_that_is_not_there_is_bad_input(s3: str):
    for url in ("s3://no-such-bucket", "s3://no-such-bucket/cats"):
        with pytest.raises(InputError, match="no bucket of that name"):
            open_source(url)
    fsspec.filesystem("s3").mkdir("s3://empty-bucket")
    with pytest.raises(DatasetError, match="an empty directory"):
        list(open_source("s3://empty-bucket").batches())
    for url in (f"{s3}/nowhere", f"{s3}/nowhere.csv"):
        with pytest.raises(DatasetError, match="nothing at that path"):
            open_source(url)


def test_a_server_that_is_down_is_said_so(s3: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # the pauses between five take up to 15 s
    with s3_environment(f"http://127.0.0.1:{free_port()}"), pytest.raises(MachineError) as caught:
        open_source(s3)
    assert "AWS_ENDPOINT_URL" in caught.value.action


def test_missing_credentials_are_said_so(s3: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(TieringError) as caught:
        open_source(s3)
    assert "credentials" in str(caught.value)


def test_a_missing_driver_says_how_to_install_it():
    script = "import sys; sys.modules['s3fs'] = None\nfrom tiering.sources.source import open_source\nopen_source('s3://photos/cats')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "UsageError" in done.stderr
    assert "pip install 'tiering[s3]'" in done.stderr


def test_an_unknown_scheme_is_a_mistake_in_the_request():
    with pytest.raises(UsageError, match="a URL scheme that fsspec knows"):
        open_source("nonsense://photos")


def test_drivers_without_tasks_and_etags_work_too(tree: Path):
    system = fsspec.filesystem("memory")
    try:
        for file in sorted(tree.rglob("*")):
            if file.is_file():
                system.pipe(f"/photos/{file.relative_to(tree)}", file.read_bytes())
        here, there = open_source(tree), open_source("memory://photos")
        assert same_but_for_version(listed(there), listed(here))
        assert contents(there, listed(there)) == contents(here, listed(here))
    finally:
        system.rm("/photos", recursive=True)


def test_a_file_url_is_a_local_path(tree: Path):
    assert open_source(f"file://{tree}") == open_source(tree)


def test_versions_come_from_the_etag_before_the_time():
    etag = version_of({"ETag": '"abc"', "LastModified": 1})
    assert etag == version_of({"ETag": "abc", "LastModified": 2})
    assert 0 <= etag < 1 << 63
    assert version_of({"LastModified": 1}) != version_of({"LastModified": 2})
    assert version_of({"name": "x"}) == 0
