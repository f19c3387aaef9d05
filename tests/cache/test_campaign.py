"""A campaign of faults against a cache: no wrong byte, no deadlock, never above the bound; done, or a named error.

Each fault befalls a cache once in the ordinary run, and fifty times in the slow one, at random moments.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import s3fs

import tiering
from tests.once import FIXTURES, made_once, photographs
from tests.s3 import FaultyProxy, s3_environment
from tiering.errors import TieringError

CONTEXT = multiprocessing.get_context("forkserver")
BOUND = 3_500_000
EPOCHS = 3

#: How a process ended: killed, well, with a wrong byte, or with an error of ours.
WELL, WRONG, NAMED = 0, 3, 4

#: s; far above what any run here takes, far below a deadlock.
PATIENCE = 120


def repeated(scenario):
    """Run a scenario once by default, and the other 49 times under `make test-all`."""
    return pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 50))])(
        scenario
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """700 photographs as a store, and beside it the same number under the same names, each another one."""
    source = photographs(tmp_path_factory, 700)

    def pack(path: Path) -> None:
        files = sorted(source.rglob("*.*"))
        for file, other in zip(files, files[1:] + files[:1], strict=True):
            place = path / "others" / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(other, place)
        for number, images in enumerate((source, path / "others")):
            tiering.convert(images, path / f"{number}.lmdb", "lmdb", shards=tiering.Shards(2 << 20), workers=1)

    return made_once(tmp_path_factory, "campaign", pack)


def read_epochs(origin: str, truth: str, cache: Path, seed: int, epochs: int = EPOCHS) -> None:
    """Read shuffled epochs and compare every byte with the plain store's; exit with how it ended."""
    plain = tiering.open_store(truth)
    try:
        store = tiering.cached(origin, BOUND, cache)
        for epoch in range(epochs):
            loader = tiering.Loader(store, 32, seed=seed, prefetch=1 << 20)
            loader.set_epoch(epoch)
            for batch in loader:
                if list(map(bytes, batch.images)) != list(map(bytes, plain.read(batch.indices))):
                    os._exit(WRONG)
        store.close()
    except TieringError:
        os._exit(NAMED)


def begun(*arguments: object) -> multiprocessing.Process:
    process = CONTEXT.Process(target=read_epochs, args=arguments)
    process.start()
    return process


def ended(process: multiprocessing.Process) -> int | None:
    """How a process ended; None where it did not."""
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        return None
    return process.exitcode


@contextmanager
def within_bound(cache: Path) -> Iterator[None]:
    """Look every 10 ms whether the cache keeps its bound."""
    largest, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            size = 0
            for at, _, names in os.walk(cache):
                for name in names:
                    with suppress(FileNotFoundError):
                        found = (Path(at) / name).stat()
                        size += max(found.st_size, found.st_blocks * 512)
            largest[0] = max(largest[0], size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    assert 0 < largest[0] <= BOUND


@repeated
def test_a_process_that_fills_is_killed(photos, tmp_path, seed):
    arguments = (photos / "0.lmdb", photos / "0.lmdb", tmp_path / "cache")
    with within_bound(tmp_path / "cache"):
        filling, other = begun(*arguments, seed), begun(*arguments, seed + 1)
        time.sleep(random.Random(seed).uniform(0, 1.0))
        filling.kill()
        assert ended(other) == WELL
        assert ended(filling) in (-9, WELL)


@repeated
def test_a_process_that_reads_is_killed(photos, tmp_path, seed):
    arguments = (photos / "0.lmdb", photos / "0.lmdb", tmp_path / "cache")
    with within_bound(tmp_path / "cache"):
        assert ended(begun(*arguments, seed, 1)) == WELL
        reading, other = begun(*arguments, seed, 30), begun(*arguments, seed + 1)
        time.sleep(random.Random(seed).uniform(0.2, 0.8))
        reading.kill()
        assert ended(other) == WELL
        assert ended(reading) in (-9, WELL)


@repeated
def test_all_are_killed(photos, tmp_path, seed):
    arguments = (photos / "0.lmdb", photos / "0.lmdb", tmp_path / "cache")
    with within_bound(tmp_path / "cache"):
        processes = [begun(*arguments, seed + number) for number in range(3)]
        time.sleep(random.Random(seed).uniform(0, 1.0))
        for process in processes:
            process.kill()
        assert all(ended(process) in (-9, WELL) for process in processes)
        assert ended(begun(*arguments, seed)) == WELL


@repeated
def test_others_fill_the_disk(photos, in_small_tmpfs, seed):
    draw = random.Random(seed)
    script = (
        "import sys, threading, time, warnings\n"
        "from pathlib import Path\n"
        "from tests.cache.test_campaign import read_epochs\n"
        "warnings.simplefilter('ignore')\n"
        "def fill():\n"
        "    time.sleep(float(sys.argv[2]))\n"
        "    with open('small/others', 'wb', 0) as file:\n"
        "        try:\n"
        "            while file.write(bytes(65536)): pass\n"
        "        except OSError: pass\n"
        "threading.Thread(target=fill).start()\n"
        "read_epochs(sys.argv[1], sys.argv[1], Path('small/cache'), 0)\n"
    )
    command = ["env", f"PYTHONPATH={FIXTURES.parent}", sys.executable, "-c", script, photos / "0.lmdb"]
    done = in_small_tmpfs(draw.randint(1_500, 6_000), [*command, draw.uniform(0, 1.0)])
    assert done.returncode in (WELL, NAMED), done.stderr


@repeated
@pytest.mark.parametrize(
    "fault", ["down", *(pytest.param(each, marks=pytest.mark.slow) for each in ("refused", "cut")), "flipped"]
)
def test_the_origin_fails(photos, tmp_path, s3_endpoint, s3, fault, seed):
    """Down for 20 s (2 s in the ordinary run), or 10 % of the answers are 503, break off or have a wrong bit."""
    bucket = s3fs.S3FileSystem(use_listings_cache=False)
    bucket.put(str(photos / "0.lmdb"), f"{s3}/photos.lmdb", recursive=True)
    with FaultyProxy(s3_endpoint, 0.0, seed) as proxy, s3_environment(proxy.endpoint), within_bound(tmp_path / "cache"):
        plain = tiering.open_store(photos / "0.lmdb")
        store = tiering.cached(f"{s3}/photos.lmdb", BOUND, tmp_path / "cache")
        proxy.share, proxy.broken_off, proxy.flipped = (0.1 * (fault == name) for name in ("refused", "cut", "flipped"))
        down_at = random.Random(seed).randrange(40) if fault == "down" else -1
        for number, batch in enumerate(tiering.Loader(store, 32, seed=seed, prefetch=1 << 20)):
            assert list(map(bytes, batch.images)) == list(map(bytes, plain.read(batch.indices)))
            if number == down_at:
                proxy.dead = True
                threading.Timer(2 if seed < 2 else 20, lambda: setattr(proxy, "dead", False)).start()
        assert number == -(-len(plain) // 32) - 1
        store.close()
    assert proxy.failures or fault == "down"


@repeated
def test_the_origin_is_replaced_between_epochs(photos, tmp_path, seed):
    origin, cache = tmp_path / "photos.lmdb", tmp_path / "cache"
    shutil.copytree(photos / "0.lmdb", origin)
    old, new = tiering.open_store(photos / "0.lmdb"), tiering.open_store(photos / "1.lmdb")
    with within_bound(cache):
        store = tiering.cached(origin, BOUND, cache)
        for epoch in range(3):
            if epoch == 1 + seed % 2:
                shutil.rmtree(origin)
                shutil.copytree(photos / "1.lmdb", origin)
            try:
                for batch in tiering.Loader(store, 32, seed=seed + epoch):
                    assert list(map(bytes, batch.images)) == list(map(bytes, old.read(batch.indices)))
            except TieringError:
                assert epoch >= 1 + seed % 2
                break
        store.close()
        store = tiering.cached(origin, BOUND, cache)
        for batch in tiering.Loader(store, 32, seed=seed):
            assert list(map(bytes, batch.images)) == list(map(bytes, new.read(batch.indices)))
        store.close()
