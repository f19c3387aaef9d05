"""A loader, a dataset or a cache records what it reads, as a trace that is read like any other."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from torch.utils.data import DataLoader

import tiering
from tiering.errors import UsageError
from tiering.serve.torch import EpochDataset, EpochSampler, StoreDataset


def recorded(trace: Path) -> pl.DataFrame:
    """The reads of a trace. Beside them, there are only opens and closes of the same files."""
    events = pl.concat(list(tiering.read_trace(trace).batches))
    counts = Counter(events["op"])
    assert counts["open"] == counts["close"] == events["flags"].count()
    assert counts.total() == counts["read"] + 2 * counts["open"]
    return events.filter(op="read")


def reads_of(events: pl.DataFrame) -> Counter[bytes]:
    """The bytes that the events say were read, as the files have them now, and how often."""
    found: Counter[bytes] = Counter()
    for path, offset, size in events.select("path", "offset", "size").iter_rows():
        with open(path, "rb") as file:
            file.seek(offset)
            found[file.read(size)] += 1
    return found


def images_of(store: tiering.Store, times: int) -> Counter[bytes]:
    return Counter([bytes(image) for image in store.read(np.arange(len(store)))] * times)


def served(loader: tiering.Loader, *epochs: int) -> None:
    for epoch in epochs:
        for _ in loader.epoch(epoch):
            pass


@pytest.fixture(params=["lmdb", "zarr", "folder"])
def whole(request, photos, tmp_path_factory) -> Path:
    if request.param == "folder":
        return photos
    from tests.once import made_once  # noqa: PLC0415

    return made_once(
        tmp_path_factory, f"recorded.{request.param}",
        lambda place: tiering.convert(photos, place, request.param, shards=tiering.Shards(1 << 20)),
    )  # fmt: skip


def test_every_sample_is_in_the_trace_once_an_epoch_with_its_bytes(whole, tmp_path):
    with tiering.open_store(whole) as store:
        loader = tiering.Loader(store, 64, trace=tmp_path / "run.parquet")
        served(loader, 0, 1, 2)
        loader.close()
        events = recorded(tmp_path / "run.parquet")
        assert reads_of(events) == images_of(store, 3)
        profile = tiering.profile_trace(tmp_path / "run.parquet", dataset_bytes=store.manifest.image_bytes)
    assert events["time"].is_sorted()
    assert (profile.epochs, profile.coverage, profile.whole, profile.processes) == (3.0, 1.0, True, 1)
    if whole.suffix:  # shards stay open, and samples within them are read at random
        assert (profile.opens, profile.sequentiality) == (0, pytest.approx(0, abs=0.05))
    else:
        assert (profile.opens, profile.whole_file_share, profile.sequentiality) == (900, 1.0, 1.0)
        assert profile.order_randomness > 0.9
    assert tiering.classify(profile).workload == "re-read-heavy"


def test_other_stores_are_recorded_where_their_samples_are(photos, store, tmp_path):
    """A selection, a concatenation, and pixels whose chunks are compressed."""
    some = store.select(np.arange(0, len(store), 3))
    both = tiering.concat(some, photos)
    with tiering.Loader(both, 50, trace=tmp_path / "both") as loader:
        served(loader, 0)
    assert reads_of(recorded(tmp_path / "both")) == images_of(both, 1)
    tiering.convert(photos, tmp_path / "pixels.zarr", "zarr", pixels=tiering.Pixels(16, 16), codec="zstd")
    with tiering.Loader(tmp_path / "pixels.zarr", 50, trace=tmp_path / "pixels") as loader:
        served(loader, 0, 1)
    events = recorded(tmp_path / "pixels")
    assert len(events) == 2 * len(store) == 2 * events["offset"].n_unique()
    assert set(events["size"]) == {16 * 16 * 3}


def test_fields_that_are_files_are_reads_of_their_own(photos, tmp_path):
    tree = tmp_path / "tree"
    for number, photo in enumerate(sorted(photos.rglob("*.jpg"))[:60]):
        for name in ("images", "masks"):
            (tree / name).mkdir(parents=True, exist_ok=True)
        (tree / f"images/{number}.jpg").write_bytes(photo.read_bytes())
        if number % 3:  # some images have none
            Image.fromarray(np.full((4, 4 + number), number, np.uint8)).save(tree / f"masks/{number}.png")
    tiering.convert(tree, tmp_path / "photos.lmdb", "lmdb", fields={"mask": "masks/{stem}.png"})
    with tiering.Loader(tmp_path / "photos.lmdb", 50, fields=["mask"], trace=tmp_path / "trace") as loader:
        served(loader, 0)
        store = loader.store
        expected = images_of(store, 1) + images_of(store.runs["mask"], 1)
        assert expected.pop(b"") == 20
    assert reads_of(recorded(tmp_path / "trace")) == expected


def test_an_epoch_left_early_and_one_after_an_exception_are_recorded_as_far_as_they_came(store, tmp_path):
    def fail(sample: tiering.Sample) -> bytes:
        if sample.epoch == 1 and sample.index == 5:
            raise ValueError("sample 5")
        return bytes(sample.image)

    loader = tiering.Loader(store, 8, shuffle=False, transform=fail, trace=tmp_path / "trace")
    batches = loader.epoch(0)
    next(batches)
    batches.close()
    again = loader.epoch(1)
    with pytest.raises(ValueError, match="sample 5"):
        next(again)
    handed_out = 8 + sum(len(batch.indices) for batch in again)
    loader.close()
    assert len(recorded(tmp_path / "trace")) == handed_out == len(store)
    served(loader, 2)
    loader.close()
    assert len(recorded(tmp_path / "trace")) == 2 * len(store)
    assert tiering.read_trace(tmp_path / "trace").gaps == []


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_write_files_of_their_own_that_are_one_trace(store, tmp_path, context):
    pl.DataFrame({"a": [1, 2]}).lazy().sort("a").collect()  # Polars has threads now, which no fork has
    epochs = EpochDataset(store, 16, trace=tmp_path / "run.parquet")
    for _ in range(2):
        list(DataLoader(epochs, batch_size=None, num_workers=2, multiprocessing_context=context, timeout=60))
    samples = StoreDataset(store, trace=tmp_path / "run.parquet")
    list(
        DataLoader(
            samples,
            batch_size=16,
            sampler=EpochSampler(samples),
            num_workers=1,
            multiprocessing_context=context,
            timeout=60,
        )
    )
    events = recorded(tmp_path / "run.parquet")
    assert reads_of(events) == images_of(store, 3)
    profile = tiering.profile_trace(tmp_path / "run.parquet")
    # All processes are one job, so what one worker reads after another was read again.
    assert (profile.processes, profile.epochs, profile.whole) == (5, 3.0, True)
    assert len(list((tmp_path / "run.parquet").iterdir())) == 5


def test_ranks_share_the_samples_of_a_trace(store, tmp_path):
    for rank in range(2):
        ranks = tiering.Ranks(rank, 2)
        with tiering.Loader(store, 16, ranks=ranks, even="drop", trace=tmp_path / "run.parquet") as loader:
            served(loader, 0)
    assert len(recorded(tmp_path / "run.parquet")) == len(store) // 2 * 2


SCRIPT = """
import glob, os, sys, tiering
loader = tiering.Loader(sys.argv[1], 16, trace=sys.argv[2])
for epoch in range(2):
    for batch in loader.epoch(epoch):
        pass
{end}
"""


@pytest.mark.parametrize(
    ("end", "whole", "gap"),
    [
        ("", True, []),
        ("raise KeyError(1)", False, ["it ended with KeyError"]),
        ("while not glob.glob(sys.argv[2] + '/*.parquet'): pass\nos.kill(os.getpid(), 9)", False, []),
    ],
)
def test_a_trace_says_whether_the_run_ended_by_itself(store, tmp_path, end, whole, gap):
    trace = tmp_path / "run.parquet"
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(end=end), str(store.location), str(trace)],
        capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert ended.returncode == (-signal.SIGKILL if "kill" in end else 1 if "raise" in end else 0)
    profile = tiering.profile_trace(trace)
    assert (profile.whole, profile.gaps) == (whole, gap)
    # What a killed process had told less than half a minute before is lost; its first batch is written at once.
    assert profile.reads == (16 if "kill" in end else 2 * len(store))


def test_a_recording_in_several_parts_is_read_in_order(store, tmp_path, monkeypatch):
    monkeypatch.setattr("tiering.trace.recording._WAITING", 100)
    monkeypatch.setattr("tiering.trace.recording._PART_BYTES", 3000)
    with tiering.Loader(store, 16, trace=tmp_path / "trace") as loader:
        served(loader, *range(4))
    parts = sorted((tmp_path / "trace").iterdir())
    assert len(parts) > 2
    trace = tiering.read_trace(tmp_path / "trace")
    events = pl.concat(list(trace.batches))
    assert events["time"].is_sorted()
    assert reads_of(events) == images_of(store, 4)
    assert trace.complete
    (tmp_path / "trace" / f".{parts[0].name}.0.tmp").write_bytes(b"PAR1")  # a killed process may leave one
    parts[1].unlink()
    trace = tiering.read_trace(tmp_path / "trace")
    list(trace.batches)
    assert not trace.complete
    assert trace.gaps == [f"the part before {parts[2].name} is missing"]


def test_a_trace_that_cannot_be_written_stops_nothing(store, tmp_path, caplog):
    loader = tiering.Loader(store, 16, trace=tmp_path / "trace")
    (tmp_path / "trace").rmdir()
    (tmp_path / "trace").write_text("in the way")
    with caplog.at_level(logging.WARNING, "tiering"):
        served(loader, 0)
        loader.close()
    (warning,) = caplog.records
    assert "incomplete from here on" in warning.message


@pytest.mark.parametrize("name", ["s3://bucket/run", "a.parquet"])
def test_a_name_that_cannot_be_a_directory_is_refused(store, tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.parquet").write_bytes(b"an earlier trace")
    with pytest.raises(UsageError, match="trace"):
        tiering.Loader(store, 16, trace=name)
    assert Path("a.parquet").read_bytes() == b"an earlier trace"


@pytest.mark.parametrize("kind", ["lmdb", "folder", "chunks"])
def test_a_cache_records_what_it_reads_of_its_origin(store, photos, tmp_path, kind):
    origin = {"lmdb": str(store.location), "folder": photos}.get(kind)
    if kind == "chunks":
        origin = tmp_path / "pixels.zarr"
        tiering.convert(photos, origin, "zarr", pixels=tiering.Pixels(16, 16), codec="zstd")
    with tiering.cached(origin, "64MB", tmp_path / "cache", trace=tmp_path / "origin") as cache:
        loader = tiering.Loader(pickle.loads(pickle.dumps(cache)), 16, trace=tmp_path / "served")
        with loader.store:
            served(loader, 0, 1, 2)
            stats = loader.stats()
            loader.close()
    events, all_served = recorded(tmp_path / "origin"), recorded(tmp_path / "served")
    assert len(all_served) == 3 * len(store)
    if kind != "chunks":  # the chunks are read by the store
        assert events["size"].sum() == stats.origin_bytes
        assert len(events) == stats.origin_requests
    # Each byte came from the origin once, and the loader had it three times.
    profile = tiering.profile_trace(tmp_path / "origin")
    assert profile.epochs == pytest.approx(1.0, abs=0.01)  # the gaps between packed samples may be read again
    assert profile.bytes_read >= tiering.profile_trace(tmp_path / "served").bytes_read / 3
    assert profile.whole
    assert events["duration"].min() > 0
    assert set(events["path"]) == set(all_served["path"])
    assert time.time() - 600 < events["time"].min() <= events["time"].max() < time.time()
    assert os.getpid() == events["pid"][0]
