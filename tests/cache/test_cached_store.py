"""A cache in front of an origin: the samples it serves, its bound, and faults."""

from __future__ import annotations

import fcntl
import json
import math
import multiprocessing
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import s3fs

import tiering
from tests.once import made_once, photographs
from tests.s3 import FaultyProxy, s3_environment
from tiering.cache.directory import MARKER
from tiering.cache.memory_directory import memory_of
from tiering.cache.stats import CacheStats
from tiering.errors import MachineError, StoreError, UsageError
from tiering.io_sizes import CACHE_UNIT_BYTES


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """2,000 photographs of 6 kB; never written to."""
    return photographs(tmp_path_factory, 2000, classes=5)


@pytest.fixture(scope="module")
def lmdb(folder, tmp_path_factory) -> Path:
    return packed(folder, tmp_path_factory, "lmdb", "lmdb")


def packed(folder, factory, name, kind, **how) -> Path:
    def pack(place: Path) -> None:
        tiering.convert(folder, place, kind, shards=tiering.Shards(4 << 20), **how)

    return made_once(factory, f"cached.{name}", pack)


@pytest.fixture(scope="module", params=["folder", "lmdb", "zarr", "zstd", "pixels"])
def origin(request, folder, lmdb, tmp_path_factory) -> Path:
    if request.param in ("folder", "lmdb"):
        return folder if request.param == "folder" else lmdb
    how = {"zarr": {}, "zstd": {"codec": "zstd"}, "pixels": {"pixels": tiering.Pixels(48, 48), "codec": "zstd"}}[
        request.param
    ]
    return packed(folder, tmp_path_factory, request.param, "zarr", **how)


def served(store: tiering.Store, epoch: int = 0, **settings) -> list[tuple[int, bytes]]:
    loader = tiering.Loader(store, 64, seed=3, **settings)
    loader.set_epoch(epoch)
    return [
        (index, bytes(image))
        for batch in loader
        for index, image in zip(batch.indices.tolist(), batch.images, strict=True)
    ]


def plain(path: Path, epoch: int = 0) -> list[tuple[int, bytes]]:
    return served(tiering.open_store(path), epoch)


def since(store: tiering.CachedStore, before: CacheStats) -> tuple[float, int]:
    """The hit ratio, of bytes, and the bytes fetched since then."""
    now = store.stats()
    hits, misses = now.hit_bytes - before.hit_bytes, now.miss_bytes - before.miss_bytes
    return hits / (hits + misses), now.origin_bytes - before.origin_bytes


def files_bytes(directory: Path) -> int:
    found = [Path(at, name).stat() for at, _, names in os.walk(directory) for name in names]
    return sum(max(each.st_size, each.st_blocks * 512) for each in found)


def test_every_epoch_serves_the_bytes_of_the_origin(origin, tmp_path):
    store = tiering.cached(origin, "64MB", tmp_path / "cache")
    for epoch in range(3):
        before = store.stats()
        assert served(store, epoch) == plain(origin, epoch)
    ratio, fetched = since(store, before)
    assert (ratio, fetched) == (1.0, 0)
    store.close()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_hit_ratio_is_the_share_that_fits_and_nothing_is_written_after_the_first_epoch(lmdb, tmp_path, share):
    origin = tiering.open_store(lmdb)
    size = int(share * origin.manifest.image_bytes)
    store = tiering.cached(origin, size, tmp_path / "cache")
    served(store, 0)
    first = store.stats()
    for epoch in (1, 2):
        before = store.stats()
        served(store, epoch)
        ratio, fetched = since(store, before)
        # Extents of 2 MiB, units of 128 KiB, and 64 KiB of tables weigh in so small a cache.
        assert share - 0.1 < ratio <= share
        assert fetched <= 1.12 * (1 - ratio) * origin.manifest.image_bytes
    assert store.stats().admitted_bytes == first.admitted_bytes
    assert files_bytes(tmp_path / "cache") <= size
    store.close()


def test_nodes_that_keep_their_shares_fetch_nothing_until_the_next_deal(lmdb, tmp_path):
    whole = tiering.open_store(lmdb).manifest.image_bytes
    sticky = tiering.StickyShuffle(epochs=3)
    nodes = [tiering.cached(lmdb, int(0.7 * whole), tmp_path / f"node{rank}") for rank in range(2)]
    for epoch in range(5):
        before = [node.stats().origin_bytes for node in nodes]
        parts = [served(node, epoch, ranks=tiering.Ranks(rank, 2), shuffle=sticky) for rank, node in enumerate(nodes)]
        assert sorted(chain.from_iterable(parts)) == sorted(plain(lmdb))
        fetched = sum(node.stats().origin_bytes for node in nodes) - sum(before)
        assert fetched == 0 if epoch % 3 else whole <= fetched < 1.12 * whole
        assert all(files_bytes(tmp_path / f"node{rank}") <= 0.7 * whole for rank in range(2))
    for node in nodes:
        assert 0.95 * whole < node.stats().admitted_bytes < 1.05 * whole
        node.close()


def test_memory_takes_what_does_not_fit_on_the_disk_and_is_emptied_at_the_end(lmdb, tmp_path):
    origin = tiering.open_store(lmdb)
    size, ram = (int(share * origin.manifest.image_bytes) for share in (0.5, 0.7))
    store = tiering.cached(origin, size, tmp_path / "cache", ram=ram)
    memory = memory_of(tmp_path / "cache")
    served(store, 0)
    before = store.stats()
    assert served(store, 1) == plain(lmdb, 1)
    now = store.stats()
    assert since(store, before) == (1.0, 0)
    # Nothing lies in both.
    assert 0.4 < 1 - (now.ram_bytes - before.ram_bytes) / origin.manifest.image_bytes <= 0.5
    assert now.admitted_bytes == origin.manifest.image_bytes
    assert files_bytes(memory) <= ram
    assert files_bytes(tmp_path / "cache") <= size

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as others:
        hits, fetched = others.submit(_hits_and_bytes, store, 2).result()
    assert (hits, fetched) == (len(origin), 0)

    store.close()
    assert not list((memory / "extents").iterdir())
    assert not list((memory / "datasets").iterdir())


def _hits_and_bytes(store: tiering.CachedStore, epoch: int) -> tuple[int, int]:
    served(store, epoch)
    return store.stats().hits, store.stats().origin_bytes


def test_the_next_process_finds_what_a_killed_one_left_in_memory(lmdb, tmp_path):
    size = tiering.open_store(lmdb).manifest.image_bytes
    script = (
        "import os, signal, sys, tiering\n"
        "store = tiering.cached(sys.argv[1], int(sys.argv[3]), sys.argv[2], ram=int(sys.argv[4]))\n"
        "for _ in tiering.Loader(store, 64): pass\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    sizes = (str(int(0.5 * size)), str(int(0.7 * size)))
    subprocess.run([sys.executable, "-c", script, lmdb, tmp_path / "cache", *sizes], check=False)
    store = tiering.cached(lmdb, int(sizes[0]), tmp_path / "cache", ram=int(sizes[1]))
    assert served(store) == plain(lmdb)
    assert store.stats().origin_bytes < 0.1 * size
    assert store.stats().ram_hits > 0.3 * len(store)
    store.close()


def test_the_size_of_the_slot_table_depends_on_the_cache(lmdb, tmp_path):
    small = tiering.cached(lmdb, "2MB", tmp_path / "small")
    large = tiering.cached(lmdb, "64MB", tmp_path / "large")
    assert len(small.levels[0].slots) <= 8 * math.ceil(4 * 2e6 / CACHE_UNIT_BYTES / 8)
    assert len(large.levels[0].slots) >= len(tiering.open_store(lmdb)) // small._units.samples
    small.close()
    large.close()


def test_another_process_finds_cached_samples(lmdb, tmp_path):
    first = tiering.cached(lmdb, "64MB", tmp_path / "cache")
    served(first)
    again = pickle.loads(pickle.dumps(first))
    first.close()
    assert served(again, 5) == plain(lmdb, 5)
    assert again.stats().hit_ratio == 1.0
    again.close()


def _rank(path: Path, cache: Path, rank: int, results) -> None:
    store = tiering.cached(path, "64MB", cache)
    loader = tiering.Loader(store, 64, seed=1, ranks=tiering.Ranks(rank, 4))
    found = [batch.indices for batch in loader]
    results.put((rank, np.concatenate(found).tolist(), store.stats().origin_bytes))


def test_four_processes_fetch_the_dataset_once(lmdb, tmp_path):
    context = multiprocessing.get_context("forkserver")
    results = context.Queue()
    ranks = [context.Process(target=_rank, args=(lmdb, tmp_path / "cache", rank, results)) for rank in range(4)]
    for rank in ranks:
        rank.start()
    found = [results.get(timeout=120) for _ in ranks]
    for rank in ranks:
        rank.join()
    assert sorted(sample for _, samples, _ in found for sample in samples) == list(range(2000))
    # What lies between samples of an LMDB page is fetched with them.
    shards = sum(path.stat().st_size for path in tiering.open_store(lmdb).files())
    assert sum(fetched for _, _, fetched in found) <= 1.01 * shards


def test_a_fork_can_read_and_fill_independently(lmdb, tmp_path):
    store = tiering.cached(lmdb, "64MB", tmp_path / "cache")
    served(store, 0, limit=500)
    expected = plain(lmdb, 1)
    child = os.fork()
    if child == 0:
        os._exit(0 if served(store, 1) == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert served(store, 1) == expected
    store.close()


def test_damaged_bytes_in_the_cache_are_fetched_again(lmdb, tmp_path):
    store = tiering.cached(lmdb, "64MB", tmp_path / "cache")
    served(store)
    store.close()
    for extent in (tmp_path / "cache" / "extents").iterdir():
        data = bytearray(extent.read_bytes())
        data[1000 :: 1 << 17] = bytes(255 - byte for byte in data[1000 :: 1 << 17])
        extent.write_bytes(data)
    slots = next((tmp_path / "cache" / "datasets").glob("*/slots"))
    table = bytearray(slots.read_bytes())
    table[5::48] = bytes(255 - byte for byte in table[5::48])
    slots.write_bytes(table)
    again = tiering.cached(lmdb, "64MB", tmp_path / "cache")
    assert served(again, 1) == plain(lmdb, 1)
    assert again.stats().origin_bytes > 0
    again.close()


def test_a_changed_origin_is_never_mixed_with_what_was_cached(folder, tmp_path):
    copy = tmp_path / "photos"
    shutil.copytree(folder, copy)
    store = tiering.cached(copy, "64MB", tmp_path / "cache")
    served(store)
    store.close()
    victim = sorted(copy.rglob("*.jpg"))[7]
    data = bytearray(victim.read_bytes())
    data[-10] ^= 1  # the same size
    victim.write_bytes(data)
    again = tiering.cached(copy, "64MB", tmp_path / "cache")
    assert served(again, 1) == plain(copy, 1)
    assert again.stats().hits < 2000
    again.close()


def test_only_an_idle_dataset_is_evicted(folder, lmdb, tmp_path):
    size = int(0.8 * tiering.open_store(lmdb).manifest.image_bytes)
    old = tiering.cached(lmdb, size, tmp_path / "cache")
    served(old)
    admitted = old.stats().admitted_bytes
    kept_out = tiering.cached(folder, size, tmp_path / "cache")
    assert served(kept_out) == plain(folder)
    assert kept_out.stats().admitted_bytes < 0.2 * admitted
    kept_out.close()
    before = old.stats()
    served(old, 1)
    assert since(old, before)[0] > 0.6
    old.close()
    new = tiering.cached(folder, size, tmp_path / "cache")
    served(new)
    assert new.stats().admitted_bytes > 0.8 * admitted
    assert files_bytes(tmp_path / "cache") <= size
    new.close()


def _fill_slowly(path: Path, cache: Path) -> None:
    store = tiering.cached(path, "10MB", cache)
    while True:
        served(store, 0)
        store.disk.forget(store.levels[0].dataset.name)
        store.close()
        store = tiering.cached(path, "10MB", cache)


def test_after_a_kill_at_any_time_it_serves_correct_bytes_within_its_bound(lmdb, tmp_path):
    context = multiprocessing.get_context("spawn")
    expected = plain(lmdb, 1)
    largest = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal largest
        while not done.wait(0.01):
            try:
                largest = max(largest, files_bytes(tmp_path / "cache"))
            except FileNotFoundError:
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for round_ in range(2):
            filling = context.Process(target=_fill_slowly, args=(lmdb, tmp_path / "cache"))
            filling.start()
            time.sleep(1.5 + 0.13 * round_)
            os.kill(filling.pid, signal.SIGKILL)
            filling.join()
            store = tiering.cached(lmdb, "10MB", tmp_path / "cache")
            assert served(store, 1) == expected
            store.close()
    finally:
        done.set()
        watcher.join()
    assert 0 < largest <= 10_000_000


def test_an_extent_of_a_killed_process_is_filled_up(lmdb, tmp_path):
    code = (
        "import tiering, os, sys\n"
        "store = tiering.cached(sys.argv[1], '64MB', sys.argv[2])\n"
        "for batch in tiering.Loader(store, 64, seed=int(sys.argv[3]), limit=100): pass\n"
        "os.kill(os.getpid(), 9)\n"
    )
    for seed in range(4):
        subprocess.run([sys.executable, "-c", code, lmdb, tmp_path / "cache", str(seed)], check=False)
    # 1,200 samples of 7.5 kB: 9 MB at most, in extents of 2 MB.
    extents = list((tmp_path / "cache" / "extents").iterdir())
    assert 1 <= len(extents) <= 7
    store = tiering.cached(lmdb, "64MB", tmp_path / "cache")
    assert served(store) == plain(lmdb)
    assert store.stats().hits > 0
    store.close()


def test_without_working_locks_no_byte_is_wrong(lmdb, tmp_path):
    """As on some network file systems: flock and fcntl's locks succeed, and keep nobody out."""
    code = (
        "import fcntl, sys, tiering\n"
        "fcntl.flock = lambda *arguments: None\n"
        "real = fcntl.fcntl\n"
        "fcntl.fcntl = lambda file, how, *rest: 0 if how == fcntl.F_OFD_SETLK else real(file, how, *rest)\n"
        "store = tiering.cached(sys.argv[1], '10MB', sys.argv[2])\n"
        "plain = tiering.open_store(sys.argv[1])\n"
        "assert not store.disk._locks\n"
        "epochs = 0\n"
        "while epochs < 3 or store.stats().hits < 1000:\n"  # a busy machine fills a cache late
        "    for ours, theirs in zip(tiering.Loader(store, 64, seed=2), tiering.Loader(plain, 64, seed=2)):\n"
        "        assert [bytes(each) for each in ours.images] == [bytes(each) for each in theirs.images]\n"
        "    epochs += 1\n"
    )
    command = [sys.executable, "-c", code, lmdb, tmp_path / "cache"]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
    for each in running:
        _, said = each.communicate(timeout=120)
        assert each.returncode == 0, said.decode()[-2000:]
    assert files_bytes(tmp_path / "cache") <= 10_000_000


def test_abandoned_epochs_do_not_pile_up_samples(lmdb, tmp_path, monkeypatch):
    monkeypatch.setattr("tiering.cache.filler.MOST_AHEAD_BYTES", 1_000_000)  # some 133 samples
    store = tiering.cached(lmdb, "1100kB", tmp_path / "cache")
    for epoch in range(30):
        loader = tiering.Loader(store, 16, seed=epoch, prefetch=500_000)
        next(iter(loader))
    deadline = time.monotonic() + 30
    while store.stats().in_flight and time.monotonic() < deadline:
        time.sleep(0.01)
    assert served(store, 1, limit=64) == plain(lmdb, 1)[:64]
    assert store.stats().ahead <= 400
    store.close()


def test_the_leftovers_of_a_process_killed_while_making_a_table_are_removed(lmdb, folder, tmp_path):
    store = tiering.cached(lmdb, "64MB", tmp_path / "cache")
    store.close()
    left = tmp_path / "cache" / "datasets" / f".new-{0:032x}"
    left.mkdir()
    (left / "slots").write_bytes(bytes(1000))
    tiering.cached(folder, "64MB", tmp_path / "cache").close()
    assert not left.exists()


def test_a_full_disk_freezes_the_cache_and_the_epoch_continues(lmdb, tmp_path, in_small_tmpfs):
    code = (
        "import tiering, warnings, sys\n"
        "warnings.simplefilter('always')\n"
        "store = tiering.cached(sys.argv[1], '64MB', 'small/cache')\n"
        "bytes_ = sum(len(image) for batch in tiering.Loader(store, 64) for image in batch.images)\n"
        "assert bytes_ == store.manifest.image_bytes\n"
    )
    done = in_small_tmpfs(9000, [sys.executable, "-c", code, lmdb])
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("admits nothing more") == 1


def test_a_full_disk_is_an_error_for_a_new_cache_but_not_for_an_existing_one(lmdb, tmp_path, in_small_tmpfs):
    script = (
        "import sys, tiering\n"
        "from tiering.errors import MachineError\n"
        "store = tiering.cached(sys.argv[1], '4MB', 'small/cache')\n"
        "for _ in tiering.Loader(store, 64): pass\n"
        "store.close()\n"
        "with open('small/others', 'wb', 0) as file:\n"
        "    try:\n"
        "        while file.write(bytes(4096)): pass\n"
        "    except OSError: pass\n"
        "try:\n"
        "    tiering.cached(sys.argv[1], '4MB', 'small/new')\n"
        "except MachineError: pass\n"
        "else: sys.exit('no error')\n"
        "store = tiering.cached(sys.argv[1], '4MB', 'small/cache')\n"
        "for _ in tiering.Loader(store, 64): pass\n"
        "assert store.stats().hits > 400\n"
    )
    done = in_small_tmpfs(6000, [sys.executable, "-c", script, lmdb])
    assert done.returncode == 0, done.stderr


def test_invalid_bounds_and_directories_are_refused(lmdb, tmp_path):
    with pytest.raises(UsageError, match="1 MiB to 64 TiB"):
        tiering.cached(lmdb, 1000, tmp_path / "cache")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match=r"thesis\.tex"):
        tiering.cached(lmdb, "64MB", tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    (tmp_path / "others" / "datasets" / "mine").mkdir(parents=True)
    with pytest.raises(UsageError, match="datasets/mine"):
        tiering.cached(lmdb, "64MB", tmp_path / "others")
    store = tiering.cached(lmdb, "64MB", tmp_path / "cache")
    with pytest.raises(UsageError, match="64,000,000"):
        tiering.cached(lmdb, "32MB", tmp_path / "cache")
    store.close()
    smaller = tiering.cached(lmdb, "4MB", tmp_path / "cache")
    assert served(smaller) == plain(lmdb)
    assert files_bytes(tmp_path / "cache") <= 4_000_000
    assert (tmp_path / "cache" / MARKER).exists()
    smaller.close()


def test_a_process_that_hangs_while_it_fetches_delays_others_only_briefly(lmdb, tmp_path, monkeypatch):
    monkeypatch.setattr("tiering.cache.filler.WAIT_SECONDS", 0.1)
    store = tiering.cached(lmdb, "64MB", tmp_path / "cache")
    slots = os.open(store.levels[0].dataset / "slots", os.O_RDWR)
    fcntl.fcntl(slots, fcntl.F_OFD_SETLK, _whole_file())
    assert served(store, 0, limit=200) == plain(lmdb)[:200]
    assert store.stats().admitted_bytes == 0
    os.close(slots)
    assert served(store, 1) == plain(lmdb, 1)
    assert store.stats().admitted_bytes > 0
    store.close()


def _whole_file() -> bytes:
    return struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


@pytest.fixture
def bucket_store(lmdb, s3) -> str:
    s3fs.S3FileSystem(use_listings_cache=False).put(str(lmdb), f"{s3}/photos.lmdb", recursive=True)
    return f"{s3}/photos.lmdb"


def test_a_bucket_is_read_once(bucket_store, lmdb, tmp_path):
    store = tiering.cached(bucket_store, "64MB", tmp_path / "cache")
    assert served(store) == plain(lmdb)
    before = store.stats()
    assert before.origin_bytes >= store.manifest.image_bytes
    assert served(store, 1) == plain(lmdb, 1)
    assert since(store, before) == (1.0, 0)
    store.close()


def test_a_folder_in_a_bucket_is_cached_and_its_changes_are_noticed(folder, tmp_path, s3):
    url, few = f"{s3}/photos", sorted(folder.glob("*/*"))[::50]
    bucket = s3fs.S3FileSystem()
    for path in few:
        bucket.put_file(str(path), f"{url}/{path.relative_to(folder)}")
    origin = tiering.open_store(url)
    expected = [path.read_bytes() for path in few]
    assert origin.read(np.arange(len(few))) == expected
    store = tiering.cached(url, "64MB", tmp_path / "cache")
    assert [image for _, image in sorted(served(store))] == expected
    before = store.stats()
    # A busy server answers late, and a late request is sent a second time.
    assert before.misses == len(few)
    assert before.origin_bytes >= origin.manifest.image_bytes
    assert [image for _, image in sorted(served(store, 1))] == expected
    assert since(store, before) == (1.0, 0)
    store.close()
    # Of the same size and name, but another object.
    other = bytes(reversed(expected[3]))
    bucket.pipe_file(f"{url}/{few[3].relative_to(folder)}", other)
    store = tiering.cached(url, "64MB", tmp_path / "cache")
    assert sorted(served(store))[3][1] == other
    store.close()


@pytest.mark.slow
def test_a_bucket_that_fails_sometimes_delivers_correct_bytes(bucket_store, lmdb, tmp_path, s3_endpoint):
    with FaultyProxy(s3_endpoint, 0.05, broken_off=0.05) as proxy, s3_environment(proxy.endpoint):
        store = tiering.cached(bucket_store, "64MB", tmp_path / "cache")
        assert served(store) == plain(lmdb)
        assert proxy.failures > 0
        assert store.stats().retries > 0
        store.close()


def test_a_missing_bucket_is_an_error_that_says_so(bucket_store, tmp_path, s3_endpoint, monkeypatch):
    with FaultyProxy(s3_endpoint, 0.0) as proxy, s3_environment(proxy.endpoint):
        store = tiering.cached(bucket_store, "64MB", tmp_path / "cache")
        proxy.share = 1.0
        monkeypatch.setenv("TIERING_REMOTE_TIMEOUT", "1")
        with pytest.raises(MachineError, match="times"):
            served(store)
        store.close()


def test_the_commands_fill_list_verify_and_clear_a_cache(lmdb, tmp_path, program):
    cache = tmp_path / "cache"
    done = program("cache", "warm", lmdb, "--cache-size", "64MB", "--cache-dir", cache)
    assert done.returncode == 0, done.stderr
    found = json.loads(program("cache", "info", "--cache-dir", cache, "--json").stdout)
    (dataset,) = found["datasets"]
    assert dataset["cached_bytes"] == dataset["image_bytes"] == tiering.open_store(lmdb).manifest.image_bytes
    assert not dataset["in_use"]
    assert found["used_bytes"] <= 64_000_000
    assert program("cache", "verify", "--cache-dir", cache).returncode == 0
    extent = min((cache / "extents").iterdir())
    data = bytearray(extent.read_bytes())
    data[5000] ^= 1
    extent.write_bytes(data)
    assert json.loads(program("cache", "verify", "--cache-dir", cache, "--json").stdout)["damaged"] == 1
    assert program("cache", "verify", "--cache-dir", cache).returncode == 0
    store = tiering.cached(lmdb, "64MB", cache)
    assert served(store) == plain(lmdb)
    busy = program("cache", "clear", "--cache-dir", cache)
    assert busy.returncode == 2
    assert "a process is using it" in busy.stderr
    store.close()
    assert program("cache", "clear", lmdb, "--cache-dir", cache).returncode == 0
    assert not list((cache / "extents").iterdir())
    nothing = program("cache", "info", "--cache-dir", tmp_path)
    assert nothing.returncode == 2
    assert MARKER in nothing.stderr


def test_bench_shows_the_measured_hit_ratio_beside_the_predicted_one(lmdb, tmp_path, program):
    size = int(0.5 * tiering.open_store(lmdb).manifest.image_bytes)
    done = program("bench", lmdb, "--cache-size", f"{size}B", "--cache-dir", tmp_path / "cache", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["measurements"]
    assert found["predicted_hit_ratio"] == pytest.approx(0.5, abs=1e-6)
    assert 0.35 < found["hit_ratio"] < 0.55
    shown = program("bench", lmdb, "--cache-size", f"{size}B", "--cache-dir", tmp_path / "cache")
    assert "predicted 50 %" in shown.stderr


def test_a_file_missing_from_a_cached_folder_is_named(some_photos, tmp_path):
    store = tiering.cached(some_photos, 8 << 20, tmp_path / "cache")
    gone = sorted(some_photos.rglob("*.*"))[5]
    gone.unlink()
    with pytest.raises(StoreError) as caught:
        store.read(np.arange(len(store)))
    assert gone.name in caught.value.where
    with pytest.raises(StoreError, match=gone.name):
        list(tiering.Loader(store, 8))
    store.close()


def test_a_shard_missing_from_a_cached_store_is_named(some_photos, tmp_path):
    tiering.convert(some_photos, tmp_path / "store", "lmdb")
    store = tiering.cached(tmp_path / "store", 8 << 20, tmp_path / "cache")
    (tmp_path / "store" / "shard-00000.mdb").unlink()
    with pytest.raises(StoreError, match="shard-00000"):
        store.read(np.arange(len(store)))
    store.close()
