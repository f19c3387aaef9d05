"""What must be unpacked lies in the workspace: for workers, for a conversion that goes on, and behind a URL."""

from __future__ import annotations

import shutil
from pathlib import Path

import fsspec
import pytest

import tiering
from tests.fields import PACKED, PHOTOS, Listed
from tiering.dataset.profile import profile_dataset
from tiering.errors import DatasetError, UsageError

SMALL = tiering.Shards(bytes=16_000)

DATASETS = ["huggingface", "tfrecord", "tfrecord-gzip", "mds", "litdata", "litdata-zstd"]
ONE_OFTEN = [DATASETS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in DATASETS[1:])]


def images(store: Path | str) -> list[bytes]:
    return sorted(bytes(sample.image) for sample in tiering.open_store(store))


@pytest.mark.parametrize("name", ONE_OFTEN)
def test_worker_processes_find_what_was_unpacked(tmp_path, name):
    alone = tiering.convert(PACKED / name, tmp_path / "alone", "lmdb", shards=SMALL, workers=1)
    many = tiering.convert(PACKED / name, tmp_path / "many", "lmdb", shards=SMALL, workers=2)
    assert len(many.shards) > 1
    assert (many.shards, many.columns) == (alone.shards, alone.columns)
    assert not (tmp_path / "many/.tiering").exists()


def test_a_conversion_that_was_interrupted_goes_on_with_what_it_unpacked(tmp_path):
    source = PACKED / "huggingface"

    def stop(samples: int, *_: int) -> None:
        if samples:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiering.convert(source, tmp_path / "store", "lmdb", shards=SMALL, workers=1, progress=stop)
    unpacked = tmp_path / "store.partial/.tiering/unpacked"
    before = {path.name: path.stat().st_ino for path in unpacked.iterdir()}
    kept: list[dict[str, int]] = []

    def look(*_: int) -> None:
        kept.append({path.name: path.stat().st_ino for path in unpacked.iterdir()})

    tiering.convert(source, tmp_path / "store", "lmdb", shards=SMALL, workers=1, resume="only", progress=look)
    assert kept[-1] == before
    assert images(tmp_path / "store") == sorted(path.read_bytes() for path in PHOTOS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_what_killed_runs_left_half_unpacked_is_removed_before_more_is_written(tmp_path):
    work = tmp_path / "store.partial/.tiering"
    for name in ("unpacked/.00000.0123.tmp", "unpacked/.00001.4567.tmp", "tiering-abc/listing/key"):
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")

    def look(*_: int) -> None:
        assert sorted(path.name for path in (work / "unpacked").iterdir()) == [
            "00000", "00000.version", "00001", "00001.version",
        ]  # fmt: skip
        assert not (work / "tiering-abc").exists()

    tiering.convert(PACKED / "huggingface", tmp_path / "store", "lmdb", workers=1, progress=look)
    assert images(tmp_path / "store") == sorted(path.read_bytes() for path in PHOTOS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_append_repair_and_a_source_that_grew(tmp_path):
    source = tmp_path / "hub"
    shutil.copytree(PACKED / "huggingface/data", source)
    second = source / "train-00001-of-00002.parquet"
    aside = second.rename(tmp_path / "aside.parquet")
    store = tmp_path / "store"
    tiering.convert(source, store, "lmdb", shards=SMALL, workers=1)
    aside.rename(second)
    assert tiering.append(source, store, workers=1).samples == 12
    assert images(store) == sorted(path.read_bytes() for path in PHOTOS)
    shard = store / "shard-00000.mdb"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert tiering.repair(store, source=source, workers=1) == ["shard-00000.mdb"]
    assert tiering.verify(store, source=source).ok
    assert not (store / ".tiering").exists()


@pytest.mark.parametrize("name", ONE_OFTEN)
def test_from_bucket_to_bucket(s3, tmp_path, name):
    there = fsspec.filesystem("s3")
    there.put(f"{PACKED / name}/", f"{s3}/{name}/", recursive=True)
    manifest = tiering.convert(f"{s3}/{name}", f"{s3}/store", "lmdb", shards=SMALL, workers=1)
    assert manifest.samples == (24 if name == "mds" else 12)
    assert tiering.verify(f"{s3}/store", source=f"{s3}/{name}").ok
    here = tiering.convert(PACKED / name, tmp_path / "store", "lmdb", shards=SMALL, workers=1)
    assert here.shards == manifest.shards
    assert profile_dataset(f"{s3}/{name}", sample="all").files == manifest.samples


def test_a_database_behind_a_url_is_refused_with_what_to_do(s3):
    there = fsspec.filesystem("s3")
    with there.open(f"{s3}/lsun/data.mdb", "wb") as file:
        file.write(b"\0" * 8192)
    with pytest.raises((DatasetError, UsageError), match="Copy it to a local disk"):
        Listed(f"{s3}/lsun")


def test_a_source_that_changed_since_is_unpacked_and_refused_as_any_other(tmp_path):
    source = tmp_path / "hub"
    shutil.copytree(PACKED / "huggingface", source)

    def stop(samples: int, *_: int) -> None:
        if samples:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiering.convert(source, tmp_path / "store", "lmdb", shards=SMALL, workers=1, progress=stop)
    shutil.copy(source / "data/train-00000-of-00002.parquet", source / "data/train-00001-of-00002.parquet")
    with pytest.raises(DatasetError, match="changed since"):
        tiering.convert(source, tmp_path / "store", "lmdb", shards=SMALL, workers=1)
    assert tiering.convert(source, tmp_path / "store", "lmdb", shards=SMALL, workers=1, resume="never").samples == 12
    assert images(tmp_path / "store") == sorted([path.read_bytes() for path in PHOTOS[:6]] * 2)
