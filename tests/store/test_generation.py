"""A reader keeps the generation that it opened: other bytes than those are never read, whatever lies there by then."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest
from PIL import Image

import tiering
from tiering.errors import StoreError
from tiering.store import generation
from tiering.store import mapped_files as mapped
from tiering.store.columns import descriptor_crc
from tiering.store.open import open_damaged
from tiering.system.file_calls import exchange

KINDS = {
    "lmdb": {"to": "lmdb"},
    "zarr": {"to": "zarr", "codec": "none"},
    "zstd": {"to": "zarr", "codec": "zstd", "pixels": tiering.Pixels(12, 12)},
    "pixels": {"to": "zarr", "codec": "none", "pixels": tiering.Pixels(12, 12)},
}


def draw(folder, names, seed):
    """Bitmaps of one size, so that stores of other images have shards of the same names and sizes."""
    (folder / "cat").mkdir(parents=True)
    for number in names:
        noise = np.random.default_rng([seed, number]).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "cat" / f"{number:03}.bmp")
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two datasets of the same names and sizes, and each with some images more."""
    root = tmp_path_factory.mktemp("sources")
    return {(seed, count): draw(root / f"{seed}-{count}", range(count), seed) for seed in (1, 2) for count in (60, 72)}


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture(scope="module", params=KINDS)
def stores(request, sources, pool, tmp_path_factory):
    """A store of either dataset, in ten shards of the same sizes; never written to."""
    root = tmp_path_factory.mktemp("stores")
    for seed in (1, 2):
        store = root / f"{seed}"
        tiering.convert(sources[seed, 60], store, shards=tiering.Shards(6 * 500), workers=pool, **KINDS[request.param])
    return root


@pytest.fixture
def place(stores, tmp_path):
    return shutil.copytree(stores / "1", tmp_path / "store")


def contents(store):
    return [bytes(image) for image in store.read(np.arange(len(store)))]


def by_exchange(new, place):
    exchange(new, place)
    shutil.rmtree(new)


def by_renames(new, place):
    place.rename(place.with_name("old"))
    new.rename(place)
    shutil.rmtree(place.with_name("old"))


def by_copying(new, place):
    """As rsync does: file by file, each put in its place when it is whole."""
    for name in sorted(str(path.relative_to(new)) for path in new.rglob("*") if path.is_file()):
        shutil.copy2(new / name, place / "incoming")
        os.replace(place / "incoming", place / name)


REPLACE = [by_exchange, by_renames, by_copying]


@pytest.mark.parametrize("replace", REPLACE)
def test_a_store_that_was_replaced_raises_where_a_shard_is_mapped_later(stores, place, tmp_path, replace):
    store = tiering.open_store(place)
    first = np.arange(3)
    right = list(map(bytes, store.read(first)))
    replace(shutil.copytree(stores / "2", tmp_path / "new"), place)
    assert list(map(bytes, store.read(first))) == right
    with pytest.raises(StoreError, match=r"It was replaced or removed while it was open\. Open it again"):
        store.read(np.arange(len(store)))
    store.close()
    with pytest.raises(StoreError, match="replaced"):
        store.read(first)


@pytest.mark.parametrize("replace", REPLACE)
def test_a_worker_refuses_a_store_that_was_replaced_before_it_began(stores, place, tmp_path, replace):
    travelling = pickle.dumps(tiering.open_store(place))
    replace(shutil.copytree(stores / "2", tmp_path / "new"), place)
    with pytest.raises(StoreError, match="replaced"):
        pickle.loads(travelling)


def _sum(store, results):
    try:
        results.put(contents(store))
    except StoreError as error:
        results.put(str(error))


@pytest.mark.parametrize(
    "stores", [pytest.param(kind, marks=() if kind in ("lmdb", "pixels") else pytest.mark.slow) for kind in KINDS],
    indirect=True,
)  # fmt: skip
def test_a_spawned_worker_reads_what_its_parent_opened(place):
    store = tiering.open_store(place)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_sum, args=(store, results))
    process.start()
    assert results.get(timeout=60) == contents(store)
    process.join()


def test_an_append_changes_nothing_for_a_reader_nor_for_workers_that_it_starts_then(place, sources, pool):
    store = tiering.open_store(place)
    right = contents(tiering.open_store(place))
    tiering.append(sources[1, 72], place, workers=pool)
    assert len(tiering.open_store(place)) == 72
    assert contents(store) == right
    assert contents(pickle.loads(pickle.dumps(store))) == right


def test_a_repair_changes_nothing_for_a_reader_nor_for_its_workers(place, sources, pool):
    store = tiering.open_store(place)
    right = contents(tiering.open_store(place))
    shard = place / store.manifest.shards[4].name
    other = bytes(byte ^ 1 for byte in shard.read_bytes())
    shard.unlink()
    shard.write_bytes(other)
    with pytest.raises(StoreError, match="CRC-32C"):
        contents(store)
    travelling = pickle.dumps(store)
    assert tiering.repair(place, source=sources[1, 60], workers=pool) == [store.manifest.shards[4].name]
    assert contents(store) == right
    assert contents(pickle.loads(travelling)) == right


def test_a_copy_elsewhere_of_the_same_store_is_the_same_store(place, tmp_path):
    """A worker on a machine with its own copy has other inodes and times: the bytes decide."""
    store = tiering.open_store(place)
    right = contents(store)
    travelling = pickle.dumps(store)
    place.rename(tmp_path / "old")
    shutil.copytree(tmp_path / "old", place, copy_function=shutil.copyfile)
    assert contents(pickle.loads(travelling)) == right


def test_a_worker_does_not_take_the_labels_of_another_index(place):
    travelling = pickle.dumps(tiering.open_store(place))
    column = place / "index" / "label" / "c" / "0"
    other = np.frombuffer(column.read_bytes(), dtype="<i4") + 1
    column.unlink()
    column.write_bytes(other.tobytes())
    with pytest.raises(StoreError, match="the column label with the manifest's CRC-32C"):
        pickle.loads(travelling)


def test_opening_compares_lengths(place):
    shard = place / tiering.open_store(place).manifest.shards[-1].name
    os.truncate(shard, shard.stat().st_size - 1)
    with pytest.raises(StoreError, match=rf"{shard.name}: expected [\d,]+ bytes by the manifest"):
        tiering.open_store(place)
    shard.unlink()
    with pytest.raises(StoreError, match="no such file"):
        tiering.open_store(place)
    assert tiering.verify(place).damaged == [str(shard.relative_to(place))]


def test_a_shard_that_is_cut_below_its_map_ends_the_reader_with_sigbus_as_documented(sources, pool, tmp_path):
    tiering.convert(sources[1, 60], tmp_path / "store", "lmdb", workers=pool)
    script = (
        "import os, sys, tiering\n"
        "store = tiering.open_store(sys.argv[1])\n"
        "image = store[0].image\n"
        "os.truncate(os.path.join(sys.argv[1], store.manifest.shards[0].name), 0)\n"
        "bytes(image)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "store"], capture_output=True, check=False)
    assert done.returncode == -signal.SIGBUS


def test_a_store_that_is_gone_says_so(place):
    store = tiering.open_store(place)
    shutil.rmtree(place)
    with pytest.raises(StoreError, match="no store there any more"):
        store[0]


def test_a_cached_store_never_mixes_a_replaced_origin_with_what_it_holds(stores, place, tmp_path):
    right = contents(tiering.open_store(place))
    cached = tiering.cached(place, "16MB", tmp_path / "cache")
    some = np.arange(10)
    assert [bytes(image) for image in cached.read(some)] == right[:10]
    travelling = pickle.dumps(cached)
    by_exchange(shutil.copytree(stores / "2", tmp_path / "new"), place)
    with pytest.raises(StoreError, match="replaced"):
        pickle.loads(travelling)
    wrong = 0
    for at in range(60):
        try:
            wrong += bytes(cached[at].image) != right[at]
        except StoreError:
            continue
    cached.close()
    assert wrong == 0


def test_an_image_of_a_folder_that_changed_its_size_is_not_served(sources, tmp_path):
    folder = shutil.copytree(sources[1, 60], tmp_path / "folder")
    plain, cached = tiering.open_store(folder), tiering.cached(folder, "16MB", tmp_path / "cache")
    grown = folder / "cat" / "007.bmp"
    grown.write_bytes(grown.read_bytes() + b"?")
    (folder / "cat" / "008.bmp").unlink()
    for at in 7, 8:
        with pytest.raises(StoreError, match=f"00{at}.bmp"):
            plain[at]
        with pytest.raises(StoreError, match=r"00[78].bmp"):  # fetched together with its neighbours
            cached[at]
    assert bytes(plain[9].image) == (folder / "cat" / "009.bmp").read_bytes()
    cached.close()


def test_opened_while_it_is_replaced_it_is_the_one_or_the_other(stores, place, tmp_path):
    truth = [contents(tiering.open_store(stores / side)) for side in "12"]
    done = threading.Event()

    def overwrite():
        for number in count():
            by_exchange(shutil.copytree(stores / "21"[number % 2], tmp_path / f"new{number}"), place)
            if done.is_set():
                return

    overwriting = threading.Thread(target=overwrite)
    overwriting.start()
    opened = 0
    try:
        for _ in range(60):
            try:
                found = contents(tiering.open_store(place))
            except StoreError as error:
                assert "replaced" in str(error)  # noqa: PT017 - in most rounds there is none
            else:
                assert found in truth
                opened += 1
    finally:
        done.set()
        overwriting.join()
    assert opened > 10


def test_a_shard_found_amid_two_replacements_is_not_called_damaged(stores, place, tmp_path, monkeypatch):
    store = tiering.open_store(place)
    by_exchange(shutil.copytree(stores / "2", tmp_path / "new"), place)

    def crc_while_it_is_put_back(descriptor):
        found = descriptor_crc(descriptor)
        by_exchange(shutil.copytree(stores / "1", tmp_path / "new"), place)
        return found

    monkeypatch.setattr(generation, "descriptor_crc", crc_while_it_is_put_back)
    with pytest.raises(StoreError, match="replaced"):
        store.read(np.arange(1))


class Campaign:
    """A reader of a store on which other programs are at work at random; counts images that were never packed so."""

    def __init__(self, stores, sources, pool, root, seed):
        self.stores, self.sources, self.pool, self.place, self.root = stores, sources, pool, root / "store", root
        self.random = random.Random(seed)
        self.wrong = self.read = self.refused = 0
        self.truth = {(side, 60): self._truth(stores / f"{side}") for side in (1, 2)}
        shutil.copytree(stores / "1", self.place)
        self.holds = (1, 60)
        self.open()

    def _truth(self, place):
        store = tiering.open_store(place)
        return dict(zip(store.index.keys(np.arange(len(store))), contents(store), strict=True))

    def open(self):
        self.store, self.opened = tiering.open_store(self.place), self.holds

    def look(self, *, may_refuse):
        """Read some samples, now and then after the maps were given up, or as a worker that just began."""
        try:
            reader = self.store
            how = self.random.randrange(4)
            if how == 0:
                reader.close()
            elif how == 1:
                reader = pickle.loads(pickle.dumps(reader))
            at = np.array(self.random.sample(range(len(reader)), 12))
            images, keys = reader.read(at), reader.index.keys(at)
        except StoreError:
            assert may_refuse
            self.refused += 1
            return
        self.read += len(at)
        truth = self.truth[self.opened]
        self.wrong += sum(truth[key] != bytes(image) for key, image in zip(keys, images, strict=True))

    def replace(self):
        side = 3 - self.holds[0]
        new = shutil.copytree(self.stores / f"{side}", self.root / "new")
        replace = self.random.choice(REPLACE)
        if replace is by_copying:
            shutil.rmtree(self.place)
            shutil.copytree(self.stores / f"{self.holds[0]}", self.place)
            self.holds = (self.holds[0], 60)
            self.open()
            half = sorted(str(path.relative_to(new)) for path in new.rglob("*") if path.is_file())
            for name in half[: self.random.randrange(len(half))]:
                shutil.copy2(new / name, self.place / "incoming")
                os.replace(self.place / "incoming", self.place / name)
            self.look(may_refuse=True)
        replace(new, self.place)
        shutil.rmtree(new, ignore_errors=True)
        self.holds = (side, 60)
        self.look(may_refuse=True)
        if self.random.random() < 0.8:
            self.open()

    def append(self):
        side, count = self.holds
        if count == 60:
            tiering.append(self.sources[side, 72], self.place, workers=self.pool)
            self.holds = (side, 72)
            self.truth.setdefault(self.holds, self._truth(self.place))
        if self.opened[0] != side:
            self.look(may_refuse=True)
            self.open()
        self.look(may_refuse=False)

    def repair(self):
        manifest = open_damaged(self.place).manifest
        shard = self.place / self.random.choice(manifest.shards).name
        other = shard.read_bytes()[::-1]
        if self.random.random() < 0.5:
            shard.unlink()
        else:
            (self.root / "damaged").write_bytes(other)
            os.replace(self.root / "damaged", shard)
        self.look(may_refuse=True)
        assert tiering.repair(self.place, source=self.sources[self.holds], workers=self.pool)
        if self.opened[0] != self.holds[0]:
            self.look(may_refuse=True)
            self.open()
        self.look(may_refuse=False)


@pytest.mark.parametrize("events", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_a_reader_open_over_replacements_appends_and_repairs(stores, sources, pool, tmp_path, monkeypatch, events):
    monkeypatch.setattr(mapped, "KEPT", 4)  # so that shards are mapped again and again
    campaign = Campaign(stores, sources, pool, tmp_path, seed=events)
    for _ in range(events):
        campaign.random.choice([campaign.replace, campaign.append, campaign.repair])()
        campaign.look(may_refuse=campaign.opened[0] != campaign.holds[0])
    print(f"{events} events: {campaign.read} images read, {campaign.refused} refusals, {campaign.wrong} wrong")
    assert campaign.wrong == 0
    assert campaign.read > 12 * events
