"""Samples that cannot be decoded while they are served are named or replaced, and no rank waits."""

from __future__ import annotations

import gc
import json
import logging
import subprocess
import sys
import threading

import numpy as np
import pytest
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import tiering
from tests.cache.test_metrics import scraped
from tests.damage import half_a_png, undecodable
from tiering.errors import DatasetError, InputError, StoreError
from tiering.images.image import decode
from tiering.serve.torch import EpochDataset, StoreDataset

KINDS = ["folder", "lmdb", "zarr", "zarr-zstd"]

#: Batch size, ranks, and whether the uneven end is left out.
MORE_WAYS = [(1, 1, False), (8, 1, False), (68, 1, True), (100, 1, False), (1, 3, True), (68, 3, False), (8, 30, False)]


@pytest.fixture(scope="module")
def stores(photos, tmp_path_factory):
    """60 photographs and 8 images that do not decode, as a folder and packed in each way."""
    place = tmp_path_factory.mktemp("faults")
    root = place / "folder"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))[:60]):
        (root / "ab"[number % 2] / f"{number:03}.jpg").write_bytes(path.read_bytes())
    for name, data in undecodable().items():
        (root / "b" / name).write_bytes(data)
    for kind, codec in (("lmdb", "none"), ("zarr", "none"), ("zarr", "zstd")):
        name = kind if codec == "none" else f"{kind}-{codec}"
        tiering.convert(root, place / name, kind, codec=codec, shards=tiering.Shards(60_000), workers=1)
    return place


@pytest.fixture(params=KINDS)
def place(request, stores):
    return stores / request.param


def bad(store):
    keys = store.index.keys(np.arange(len(store)))
    names = [f"b/{name}".encode() for name in undecodable()]
    return {number for number, key in enumerate(keys) if key in names}


def outcomes(iterator):
    """Everything that an iterator hands out or raises, to its end."""
    found = []
    while True:
        try:
            found.append(next(iterator))
        except StopIteration:
            return found
        except Exception as error:  # noqa: BLE001 - whatever it raises
            found.append(error)


def test_an_error_names_sample_key_and_store_and_what_to_do(place):
    store = tiering.open_store(place)
    found = outcomes(iter(tiering.Loader(store, 1, shuffle=False, images="pixels")))
    errors = {number: error for number, error in enumerate(found) if isinstance(error, Exception)}
    assert set(errors) == bad(store)
    for number, error in errors.items():
        assert isinstance(error, DatasetError)
        assert error.where == f"sample {number} ({store[number].key}) of {place}"
        assert '`on_error="skip"`' in error.action
        assert ("tiering verify" in error.action) == (place.name != "folder")
        if place.name != "folder":
            assert f"tiering verify {place} --decode" in error.action


@pytest.mark.parametrize("shuffle", ["global", "block", False])
def test_the_iterator_continues_after_an_error(place, shuffle):
    store = tiering.open_store(place)
    loader = tiering.Loader(store, 8, shuffle=shuffle, seed=3, images="pixels")
    found = outcomes(iter(loader))
    assert len(found) == len(loader)
    orders = [batch.indices.tolist() for batch in tiering.Loader(store, 8, shuffle=shuffle, seed=3)]
    for batch, order in zip(found, orders, strict=True):
        if isinstance(batch, Exception):
            assert bad(store) & set(order)
        else:
            assert batch.indices.tolist() == order
    assert loader.current_epoch == 1


def test_a_transform_that_raises_stop_iteration_does_not_end_the_epoch(stores):
    third = tiering.open_store(stores / "lmdb")[3].key

    def exhausted(sample):
        return next(iter(())) if sample.key == third else 1

    loader = tiering.Loader(tiering.open_store(stores / "lmdb"), 8, seed=3, transform=exhausted)
    found = outcomes(iter(loader))
    assert len(found) == len(loader)
    assert sum(isinstance(each, RuntimeError) for each in found) == 1


def test_the_position_after_an_error_is_behind_the_failed_batch(stores):
    store = tiering.open_store(stores / "lmdb")
    loader = tiering.Loader(store, 8, seed=3, images="pixels")
    iterator = iter(loader)
    before = 0
    while True:
        try:
            next(iterator)
        except DatasetError:
            break
        before += 1
    state = json.loads(json.dumps(loader.state_dict()))
    again = tiering.Loader(store, 8, seed=3, images="pixels")
    again.load_state_dict(state)
    assert len(outcomes(iter(again))) == len(loader) - before - 1


def test_an_iterator_that_is_dropped_after_an_error_leaves_no_thread(stores):
    gc.collect()
    before = set(threading.enumerate())
    with pytest.raises(DatasetError):
        list(tiering.Loader(tiering.open_store(stores / "lmdb"), 68, images="pixels"))
    gc.collect()
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize(
    ("batch_size", "world_size", "drop_last"),
    [(8, 3, False), (7, 3, True), *(pytest.param(*way, marks=pytest.mark.slow) for way in MORE_WAYS)],
)
def test_skipping_changes_neither_the_size_nor_the_number_of_batches(place, batch_size, world_size, drop_last):
    store = tiering.open_store(place)
    undecoded = bad(store)
    skipped = 0
    for rank in range(world_size):
        how = {"seed": 1, "drop_last": drop_last, "ranks": tiering.Ranks(rank, world_size)}
        plain = [batch.indices for batch in tiering.Loader(store, batch_size, **how)]
        loader = tiering.Loader(store, batch_size, images="pixels", on_error="skip", **how)
        batches = list(loader)
        assert len(batches) == len(plain) == len(loader)
        assert [len(batch.images) for batch in batches] == [len(order) for order in plain]
        for batch, order in zip(batches, plain, strict=True):
            lost = [at for at, number in enumerate(order.tolist()) if number in undecoded]
            assert batch.filled.tolist() == lost
            others = np.setdiff1d(np.arange(len(order)), lost)
            assert np.array_equal(batch.indices[others], order[others])
            assert not undecoded & set(batch.indices.tolist())
            assert np.array_equal(batch.labels, store.index.label[batch.indices])
            assert [image.shape[2] for image in batch.images] == [3] * len(order)
            skipped += len(lost)
        assert loader.stats().skipped == sum(len(batch.filled) for batch in batches)
    assert skipped <= len(undecoded) if drop_last else skipped == len(undecoded)


def test_the_replacement_depends_only_on_the_sample(stores):
    """Not on ranks, threads, batches, or where the epoch was interrupted."""
    store = tiering.open_store(stores / "lmdb")
    found = {}
    for how in ({}, {"threads": 1}, {"ranks": tiering.Ranks(1, 2)}, {"ranks": tiering.Ranks(0, 2)}):
        for batch_size in (4, 13):
            loader = tiering.Loader(store, batch_size, seed=2, images="pixels", on_error="skip", **how)
            plain = tiering.Loader(store, batch_size, seed=2, **how)
            for batch, other in zip(loader, plain, strict=True):
                for at in batch.filled.tolist():
                    stand_in = int(batch.indices[at])
                    assert found.setdefault(int(other.indices[at]), stand_in) == stand_in
    assert set(found) == bad(store)


@pytest.mark.parametrize("stop", [1, 4, 8])
def test_an_epoch_with_skipped_samples_resumes_where_it_stopped(stores, stop):
    store = tiering.open_store(stores / "zarr")
    how = {"seed": 5, "images": "pixels", "on_error": "skip"}
    whole = [batch.indices.tolist() for batch in tiering.Loader(store, 8, **how)]
    loader = tiering.Loader(store, 8, **how)
    iterator = iter(loader)
    before = [next(iterator).indices.tolist() for _ in range(stop)]
    again = tiering.Loader(store, 8, **how)
    again.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    assert before + [batch.indices.tolist() for batch in again] == whole


def test_only_samples_that_were_handed_out_are_counted(stores):
    store = tiering.open_store(stores / "lmdb")
    loader = tiering.Loader(store, 8, seed=5, images="pixels", on_error="skip")
    counted = 0
    for batch in loader:
        counted += len(batch.filled)
        assert loader.stats().skipped == counted
    assert counted == len(bad(store))
    assert tiering.Loader(store, 8).stats() is None


def test_only_the_first_skipped_samples_are_logged_by_name(stores, caplog):
    store = tiering.open_store(stores / "lmdb")
    loader = tiering.Loader(store, 8, images="pixels", on_error="skip")
    with caplog.at_level(logging.WARNING, logger="tiering"):
        for _ in range(3):
            list(loader)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 11
    # Several threads skip, so the last line need not be the eleventh.
    assert sum(" of " in line and "served in its place" in line for line in told) == 10
    assert sum("stats()" in line for line in told) == 1


def test_a_sample_whose_transform_raises_is_skipped(stores):
    store = tiering.open_store(stores / "lmdb")

    def transform(sample):
        if sample.key.endswith("7.jpg"):
            raise ZeroDivisionError
        return sample.key

    loader = tiering.Loader(store, 8, transform=transform, on_error="skip")
    keys = [key for batch in loader for key in batch.images]
    assert len(keys) == len(store)
    assert not [key for key in keys if key.endswith("7.jpg")]
    assert keys == [key for batch in _again(loader) for key in batch.keys]
    assert loader.stats().skipped == 12


def _again(loader):
    loader.set_epoch(0)
    return loader


def test_a_transform_that_always_raises_is_not_hidden(stores):
    def transform(sample):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        next(iter(tiering.Loader(tiering.open_store(stores / "lmdb"), 8, transform=transform, on_error="skip")))
    assert any("in its place" in note for note in caught.value.__notes__)


def test_a_store_of_one_bad_image_raises(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(half_a_png())
    with pytest.raises(DatasetError, match=r"a\.png"):
        list(tiering.Loader(tiering.open_store(tmp_path / "photos"), 8, images="pixels", on_error="skip"))


def test_a_long_stretch_of_bad_images_is_left_behind(photos, tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    for number in range(40):
        (root / f"{number:02}.png").write_bytes(half_a_png())
    (root / "99.jpg").write_bytes(next(photos.rglob("*.jpg")).read_bytes())
    loader = tiering.Loader(tiering.open_store(root), 8, shuffle=False, images="pixels", on_error="skip")
    found = outcomes(iter(loader))
    assert len(found) == len(loader)
    served = [batch for batch in found if not isinstance(batch, Exception)]
    assert all(set(batch.keys) == {"99.jpg"} for batch in served)


def test_bytes_that_changed_in_the_store_are_not_blamed_on_the_image(stores, tmp_path):
    tiering.convert(stores / "folder", tmp_path / "store", "zarr", codec="none", workers=1)
    store = tiering.open_store(tmp_path / "store")
    row = next(number for number in range(len(store)) if store[number].key.endswith("half.png"))
    with store.files()[0].open("r+b") as file:
        file.seek(int(store.index.offset[row]))
        file.write(b"\0" * 40)
    errors = outcomes(iter(tiering.Loader(store, 1, shuffle=False, images="pixels")))
    assert isinstance(errors[row], StoreError)
    assert "The store is damaged" in str(errors[row])
    assert f"sample {row} (b/half.png)" in str(errors[row])


@pytest.mark.parametrize("decode", [False, True])
def test_a_missing_file_names_its_sample_and_the_epoch_continues(stores, tmp_path, decode):
    root = tmp_path / "photos"
    root.mkdir()
    for path in sorted((stores / "folder" / "a").iterdir()):
        (root / path.name).write_bytes(path.read_bytes())
    store = tiering.open_store(root)
    (root / store[4].key).unlink()
    for on_error in ("raise", "skip"):
        loader = tiering.Loader(store, 8, shuffle=False, images="pixels" if decode else "encoded", on_error=on_error)
        found = outcomes(iter(loader))
        assert [isinstance(each, Exception) for each in found] == [True, False, False, False]
        assert isinstance(found[0], InputError)
        assert found[0].__notes__ == [f"sample 4 ({store.index.keys(np.array([4]))[0].decode()}) of {root}"]


def test_a_cache_counts_skipped_samples_beside_its_own(stores, tmp_path):
    store = tiering.cached(stores / "lmdb", "64MB", tmp_path / "cache")
    loader = tiering.Loader(store, 8, images="pixels", on_error="skip")
    with tiering.serve_metrics(loader.stats, 0) as port:
        list(loader)
        assert scraped(port)["tiering_skipped_samples_total", ""] == loader.stats().skipped == len(bad(store))
    assert loader.stats().misses >= len(store)
    store.close()


def test_another_on_error_is_refused(stores):
    with pytest.raises(ValueError, match="on_error must be"):
        tiering.Loader(tiering.open_store(stores / "lmdb"), 8, on_error="ignore")


# PyTorch

WAYS = [(0, None), (2, "fork"), pytest.param(2, "spawn", marks=pytest.mark.slow)]


@pytest.mark.parametrize(("workers", "method"), WAYS)
def test_a_dataloader_continues_after_an_error(stores, workers, method):
    dataset = EpochDataset(stores / "lmdb", 8, seed=1, images="pixels")
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, multiprocessing_context=method)
    found = outcomes(iter(loader))
    assert len(found) == len(loader) == 9
    errors = [each for each in found if isinstance(each, Exception)]
    assert errors
    assert all("sample " in str(error) and f" of {stores / 'lmdb'}" in str(error) for error in errors)


@pytest.mark.parametrize(("workers", "method"), WAYS)
def test_workers_of_a_dataloader_skip_alike_and_count(stores, workers, method):
    expected = [
        batch.labels.tolist()
        for batch in tiering.Loader(tiering.open_store(stores / "lmdb"), 8, seed=1, images="pixels", on_error="skip")
    ]
    dataset = EpochDataset(stores / "lmdb", 8, seed=1, images="pixels", on_error="skip")
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, multiprocessing_context=method)
    assert [labels.tolist() for _, labels in loader] == expected
    assert dataset.skipped == 8


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_dataloader_resumes_among_skipped_samples(stores, workers):
    def made():
        dataset = EpochDataset(stores / "lmdb", 8, seed=1, images="pixels", on_error="skip")
        return StatefulDataLoader(dataset, batch_size=None, num_workers=workers)

    whole = [labels.tolist() for _, labels in made()]
    first = made()
    iterator = iter(first)
    before = [next(iterator)[1].tolist() for _ in range(5)]
    state = first.state_dict()
    del iterator, first
    again = made()
    again.load_state_dict(state)
    assert before + [labels.tolist() for _, labels in again] == whole


def _decoded(sample):
    return decode(sample.image).shape


def test_a_map_style_dataset_names_the_sample_that_its_transform_cannot_decode(stores):
    dataset = StoreDataset(stores / "lmdb", transform=_decoded)
    number = min(bad(dataset.store))
    for read in (lambda: dataset[number], lambda: dataset.__getitems__([number])):
        with pytest.raises(DatasetError, match=rf"sample {number} \(b/.*\) of .*verify .* --decode"):
            read()


RANK = """
import json, sys
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tiering.serve.torch import EpochDataset

store, rank, meeting, workers = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=3)
model = DistributedDataParallel(torch.nn.Linear(1, 1))
dataset = EpochDataset(store, 5, seed=7, drop_last=True, images="pixels", on_error="skip")
sizes = []
for epoch in range(2):
    dataset.set_epoch(epoch)
    for images, labels in DataLoader(dataset, batch_size=None, num_workers=workers):
        # Every rank's backward waits for the others': uneven numbers of batches would hang here.
        model(torch.tensor([[float(image[0, 0, 0])] for image in images])).sum().backward()
        sizes.append(len(images))
dist.destroy_process_group()
print(json.dumps({"sizes": sizes, "skipped": dataset.skipped}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_no_rank_of_a_distributed_job_waits_for_one_that_skipped(stores, tmp_path, workers):
    command = [sys.executable, "-c", RANK, str(stores / "lmdb")]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "meeting"), str(workers)], stdout=subprocess.PIPE, text=True
        )
        for rank in range(3)
    ]
    found = [json.loads(rank.communicate(timeout=240)[0]) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0, 0]
    assert [each["sizes"] for each in found] == [[5] * 8] * 3
    assert sum(each["skipped"] for each in found) > 0
