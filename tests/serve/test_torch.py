"""The datasets and the sampler for PyTorch, with real DataLoaders, worker processes and ranks."""

from __future__ import annotations

import gc
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import tiering
from tiering.errors import UsageError
from tiering.images.image import decode
from tiering.serve.torch import EpochDataset, EpochSampler, StoreDataset

#: How a DataLoader runs: workers, the way they start, and whether they outlive an epoch.
WAYS = [
    (0, None, False),
    (2, "fork", False),
    (2, "fork", True),
    pytest.param(4, "fork", True, marks=pytest.mark.slow),
    pytest.param(2, "spawn", False, marks=pytest.mark.slow),
    pytest.param(4, "spawn", True, marks=pytest.mark.slow),
]


def _as_is(items):
    return items


def _shape(sample):
    return sample.key, decode(sample.image).shape, sample.label


def _workers(workers, method, persistent):
    return {"num_workers": workers, "multiprocessing_context": method, "persistent_workers": persistent}


def _expected(packed, epoch, batch_size=32, **settings):
    """The batches of an epoch by the Loader itself: (bytes, labels)."""
    loader = tiering.Loader(tiering.open_store(packed), batch_size, seed=7, **settings)
    loader.set_epoch(epoch)
    return [([bytes(image) for image in batch.images], batch.labels.tolist()) for batch in loader]


def _served(loader):
    return [(images, labels.tolist()) for images, labels in loader]


@pytest.fixture(scope="module", autouse=True)
def _failed_loaders_end_soon():
    """PyTorch waits 5 s for each worker of a loader that failed, once that is collected as garbage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.5)
        yield
        gc.collect()


@pytest.fixture(scope="module")
def lmdb(photos, tmp_path_factory):
    place = tmp_path_factory.mktemp("torch") / "photos.lmdb"
    tiering.convert(photos, place, "lmdb", shards=tiering.Shards(1 << 20))
    return place


@pytest.mark.parametrize(("workers", "method", "persistent"), WAYS)
def test_epochs_are_the_loaders_whatever_the_workers(lmdb, workers, method, persistent):
    dataset = EpochDataset(lmdb, 32, seed=7)
    loader = DataLoader(dataset, batch_size=None, **_workers(workers, method, persistent))
    assert len(loader) == 10
    for epoch in (0, 5):
        dataset.set_epoch(epoch)
        assert _served(loader) == _expected(lmdb, epoch)


@pytest.mark.parametrize(("workers", "method", "persistent"), WAYS)
def test_a_sampler_draws_the_loaders_order_whatever_the_workers(lmdb, workers, method, persistent):
    dataset = StoreDataset(lmdb)
    sampler = EpochSampler(dataset, seed=7)
    loader = DataLoader(
        dataset, batch_size=32, sampler=sampler, collate_fn=_as_is, **_workers(workers, method, persistent)
    )
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        batches = [([image for image, _ in items], [label for _, label in items]) for items in loader]
        assert batches == _expected(lmdb, epoch)


@pytest.mark.parametrize("workers", [0, 2])
def test_torchs_own_shuffle_serves_every_image_once(packed, photos, workers):
    loader = DataLoader(StoreDataset(packed), 64, shuffle=True, num_workers=workers, collate_fn=_as_is)
    images = sorted(image for batch in loader for image, _ in batch)
    assert images == sorted(path.read_bytes() for path in photos.rglob("*.*"))


def test_without_workers_epochs_follow_each_other(lmdb):
    loader = DataLoader(EpochDataset(lmdb, 32, seed=7), batch_size=None)
    assert [_served(loader) for _ in range(3)] == [_expected(lmdb, epoch) for epoch in range(3)]


def test_a_transform_sees_the_sample(packed):
    key, shape, label = StoreDataset(packed, transform=_shape)[3]
    assert shape[2] == 3
    assert label >= 0
    assert "/" in key


def test_epochs_transform_in_workers(lmdb):
    dataset = EpochDataset(lmdb, 32, transform=_shape, shuffle=False)
    keys = [key for images, _ in DataLoader(dataset, batch_size=None, num_workers=2) for key, _, _ in images]
    store = tiering.open_store(lmdb)
    assert keys == [key.decode() for key in store.index.keys(np.arange(len(store)))]


def test_getitems_equals_getitem(packed):
    dataset = StoreDataset(packed)
    assert dataset.__getitems__([4, 2, 299]) == [dataset[4], dataset[2], dataset[299]]
    assert isinstance(dataset, torch.utils.data.Dataset)


def test_pixels_become_tensors(photos, tmp_path):
    tiering.convert(photos, tmp_path / "pixels", "zarr", pixels=tiering.Pixels(32, 32))
    loader = DataLoader(EpochDataset(tmp_path / "pixels", 64), batch_size=None, num_workers=2)
    images, labels = next(iter(loader))
    assert images.shape == (64, 32, 32, 3)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64


@pytest.mark.parametrize(("workers", "method", "persistent"), [(0, None, False), (2, "fork", False), (2, "fork", True)])
@pytest.mark.parametrize(
    ("stop", "how"), [(1, {}), (4, {}), (9, {}), (1, {"shuffle": "block", "ranks": tiering.Ranks(1, 3)})]
)
def test_a_stateful_dataloader_resumes_where_it_stopped(lmdb, workers, method, persistent, stop, how):
    def made():
        dataset = EpochDataset(lmdb, 32, seed=7, **how)
        dataset.set_epoch(3)
        return StatefulDataLoader(dataset, batch_size=None, **_workers(workers, method, persistent))

    first = made()
    iterator = iter(first)
    served = [(images, labels.tolist()) for images, labels in (next(iterator) for _ in range(stop))]
    state = first.state_dict()
    del iterator, first
    again = made()
    again.load_state_dict(state)
    assert served + _served(again) == _expected(lmdb, 3, **how)


@pytest.mark.parametrize("shuffle", [True, "block"])
@pytest.mark.parametrize(("before", "after"), [((0, 1), (2, 1)), ((2, 1), (0, 3)), ((2, 2), (2, 3))])
def test_the_rest_of_an_epoch_is_served_once_by_other_ranks_and_workers(lmdb, before, after, shuffle):
    """(workers, ranks) before and after; what a DataLoader has read ahead does not count."""
    steps, behind = 3, []
    for rank in range(before[1]):
        dataset = EpochDataset(lmdb, 16, seed=7, shuffle=shuffle, ranks=tiering.Ranks(rank, before[1]))
        iterator = iter(DataLoader(dataset, batch_size=None, num_workers=before[0]))
        behind += [image for _ in range(steps) for image in next(iterator)[0]]
        state = json.loads(json.dumps(dataset.state_dict(steps)))
    for rank in range(after[1]):
        dataset = EpochDataset(lmdb, 24, seed=7, shuffle=shuffle, ranks=tiering.Ranks(rank, after[1]))
        dataset.load_state_dict(state)
        behind += [
            image for images, _ in DataLoader(dataset, batch_size=None, num_workers=after[0]) for image in images
        ]
    assert sorted(behind) == sorted(image for images, _ in _expected(lmdb, 0) for image in images)


def test_a_sampler_resumes_behind_the_samples_that_were_trained_on(lmdb):
    whole = list(EpochSampler(range(300), seed=2))
    sampler = EpochSampler(range(300), seed=2)
    drawing = iter(sampler)
    for _ in range(120):
        next(drawing)
    for state, left in ((sampler.state_dict(), whole[120:]), (sampler.state_dict(64), whole[64:])):
        again = EpochSampler(range(300), seed=2)
        again.load_state_dict(state)
        assert list(again) == left


def test_a_state_of_other_workers_is_refused(lmdb):
    dataset = EpochDataset(lmdb, 32)
    drawing = iter(dataset)
    next(drawing)
    state = dataset.state_dict()
    again = EpochDataset(lmdb, 32)
    again.load_state_dict(state)
    with pytest.raises((ValueError, UsageError), match=r"workers"):
        next(iter(DataLoader(again, batch_size=None, num_workers=2)))


RANK = """
import json, sys
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
import torch
from tiering.serve.torch import EpochDataset, EpochSampler, StoreDataset

store, rank, meeting = sys.argv[1], int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
model = DistributedDataParallel(torch.nn.Linear(1, 1))
dataset = EpochDataset(store, 16, seed=7, drop_last=True)
sampler = EpochSampler(StoreDataset(store), seed=7)
found = {"sizes": [], "drawn": list(sampler)}
for epoch in range(2):
    dataset.set_epoch(epoch)
    for images, labels in DataLoader(dataset, batch_size=None, num_workers=2):
        # Every rank's backward waits for the other's: uneven numbers of batches would hang here.
        model(torch.tensor([[float(len(image))] for image in images])).sum().backward()
        found["sizes"].append([len(image) for image in images])
dist.destroy_process_group()
print(json.dumps(found))
"""


@pytest.mark.slow
def test_ranks_of_torch_distributed_share_every_epoch(lmdb, tmp_path):
    command = [sys.executable, "-c", RANK, str(lmdb)]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "meeting")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    found = [json.loads(rank.communicate(timeout=240)[0]) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert sorted(found[0]["drawn"] + found[1]["drawn"]) == list(range(300))
    for rank, each in enumerate(found):
        expected = [
            [len(image) for image in images]
            for epoch in range(2)
            for images, _ in _expected(lmdb, epoch, 16, ranks=tiering.Ranks(rank, 2), drop_last=True)
        ]
        assert each["sizes"] == expected


def _fails_on_17(sample):
    if sample.key.endswith("/0000017.jpg"):
        raise ZeroDivisionError("by accident")
    return sample.label


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_of_a_transform_names_its_sample(lmdb, workers):
    store = tiering.open_store(lmdb)
    keys = store.index.keys(np.arange(len(store)))
    number = next(at for at, key in enumerate(keys) if key.endswith(b"/0000017.jpg"))
    note = f"sample {number} ({keys[number].decode()}) of {lmdb}"
    for dataset, batch_size in (
        (StoreDataset(lmdb, _fails_on_17), 32),
        (EpochDataset(lmdb, 32, transform=_fails_on_17), None),
    ):
        with pytest.raises(ZeroDivisionError) as caught:
            list(DataLoader(dataset, batch_size=batch_size, num_workers=workers))
        # A worker's exception arrives as its text.
        assert note in (str(caught.value) if workers else caught.value.__notes__)


@pytest.mark.parametrize(
    "wrong",
    [
        {"worker": 3},
        {"worker": [0]},
        {"worker": [2, 2], "served": 0},
        {"worker": [-1, 2], "served": 0},
        {"worker": [0.5, 2], "served": 0},
        {"worker": [0, 2]},
        {"worker": [0, 2], "served": -1},
        {"worker": [0, 2], "served": 11},
        {"position": 301},
    ],
    ids=repr,
)
def test_an_impossible_state_is_refused_and_changes_nothing(lmdb, wrong):
    dataset = EpochDataset(lmdb, 32, seed=7)
    dataset.set_epoch(2)
    before = dataset.state_dict()
    with pytest.raises(UsageError, match="the loader's state"):
        dataset.load_state_dict(before | {"epoch": 5} | wrong)
    assert dataset.state_dict() == before
    with pytest.raises(UsageError, match="the loader's state"):
        dataset.load_state_dict(None)


@pytest.mark.parametrize("samples", [-1, 1.5, "3"])
def test_an_impossible_position_is_refused(lmdb, samples):
    with pytest.raises((TypeError, ValueError), match="batches must be"):
        EpochSampler(StoreDataset(lmdb)).state_dict(samples)


@pytest.mark.parametrize("index", [1.5, "1", True, torch.tensor(1.0), torch.tensor([1, 2])], ids=repr)
def test_a_dataset_refuses_an_index_that_is_not_an_integer(lmdb, index):
    dataset = StoreDataset(lmdb)
    with pytest.raises(TypeError, match="a store's index must be an integer, got"):
        dataset[index]
    with pytest.raises((TypeError, IndexError)):
        dataset.__getitems__([index])


def test_a_dataset_takes_a_tensor_of_an_integer(lmdb):
    dataset = StoreDataset(lmdb)
    assert dataset[torch.tensor(3)] == dataset[3] == dataset.__getitems__(torch.tensor([3]))[0]


@pytest.mark.parametrize(
    ("workers", "method", "persistent"), [*WAYS[:3], pytest.param(2, "spawn", False, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "options", [{"weights": "balanced"}, pytest.param({"repeats": 2, "limit": 200}, marks=pytest.mark.slow)], ids=str
)
def test_sampled_epochs_are_the_loaders_whatever_the_workers(lmdb, workers, method, persistent, options):
    dataset = EpochDataset(lmdb, 32, seed=7, **options)
    loader = DataLoader(dataset, batch_size=None, **_workers(workers, method, persistent))
    for epoch in (0, 5):
        dataset.set_epoch(epoch)
        assert _served(loader) == _expected(lmdb, epoch, **options)


def test_a_mixture_is_served_by_workers_and_drawn_by_a_sampler(lmdb):
    store = tiering.open_store(lmdb)
    mixture = tiering.mix({store.select(range(60)): 0.3, store.select(range(60, 300)): 0.7}, until="last")
    plain = [batch.labels.tolist() for batch in tiering.Loader(mixture, 20, seed=7).epoch(1)]
    dataset = EpochDataset(mixture, 20, seed=7)
    dataset.set_epoch(1)
    assert [labels.tolist() for _, labels in DataLoader(dataset, batch_size=None, num_workers=2)] == plain
    items = StoreDataset(mixture)
    sampler = EpochSampler(items, seed=7)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == mixture.positions
    assert np.bincount(mixture.store.part_of(np.array(drawn))).tolist() == mixture.counts
    # Any successive indices hold the proportions to less than one sample.
    first = np.cumsum([0, *((np.array(drawn) < 60) - 0.3)])
    assert np.ptp(first) < 1 + 1e-9
    ranks = [EpochSampler(items, seed=7, ranks=tiering.Ranks(rank, 3)) for rank in range(3)]
    assert np.bincount([index < 60 for rank in ranks for index in rank])[1] == mixture.counts[0]


def test_a_sampler_takes_weights_and_repeats(lmdb):
    dataset = StoreDataset(lmdb)
    assert list(EpochSampler(dataset, seed=7, weights="balanced")) == [
        index for batch in tiering.Loader(lmdb, 1, seed=7, weights="balanced") for index in batch.indices.tolist()
    ]
    assert set(EpochSampler(range(10), weights=np.arange(10) < 3)) <= {0, 1, 2}
    assert sorted(EpochSampler(range(10), repeats=2)) == sorted([*range(10), *range(10)])
    with pytest.raises(UsageError, match="weights"):
        EpochSampler(range(10), weights="balanced")
