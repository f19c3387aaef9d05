"""Iterating again serves the next epoch, with every face and however an epoch was left."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import tiering
from tests.examples import examples
from tiering.errors import UsageError
from tiering.serve.ranks import Ranks
from tiering.serve.torch import EpochDataset, EpochSampler, StoreDataset

#: How a DataLoader runs: workers, the way they start, and whether they outlive an epoch.
SPAWNED = [(3, "spawn", False), (2, "spawn", True)]
WAYS = [
    (0, None, False),
    (2, "fork", False),
    (2, "fork", True),
    *(pytest.param(way, marks=pytest.mark.slow) for way in SPAWNED),
]


def numbers(images):
    return np.asarray(images).reshape(-1).astype(int).tolist()


def expected(store, epoch, **settings):
    """The numbers of an epoch by the Loader itself."""
    loader = tiering.Loader(store, 64, seed=7, **settings)
    return [numbers(batch.images) for batch in loader.epoch(epoch)]


def dataset_of(store, **settings):
    return EpochDataset(store, 64, seed=7, **settings)


def loader_of(dataset, way, kind=DataLoader):
    workers, method, persistent = way
    return kind(
        dataset, batch_size=None, num_workers=workers, multiprocessing_context=method, persistent_workers=persistent,
        timeout=60 if workers else 0,
    )  # fmt: skip


def served(loader):
    return [numbers(images) for images, _ in loader]


# Every way to leave an epoch.


def whole(loader, length):
    return served(loader)


def zipped(loader, length):
    return [numbers(images) for _, (images, _) in zip(range(length), loader, strict=False)]


def zipped_before(loader, length):
    """The range ends first, so the loader is never asked for the end of the epoch."""
    return [numbers(batch[0]) for batch, _ in zip(loader, range(length), strict=False)]


def broken(loader, length):
    found = []
    for images, _ in loader:
        found.append(numbers(images))
        if len(found) == 3:
            break
    return found


def first_only(loader, length):
    return [numbers(next(iter(loader))[0])]


LEFT = [whole, zipped, zipped_before, broken, first_only]


@pytest.mark.parametrize("leave", LEFT)
@pytest.mark.parametrize("way", WAYS)
def test_an_epoch_dataset_moves_on_however_an_epoch_is_left(numbered, way, leave):
    loader = loader_of(dataset_of(numbered), way)
    for epoch in range(3):
        found = leave(loader, len(loader))
        assert found == expected(numbered, epoch)[: len(found)]


@pytest.mark.parametrize("leave", LEFT)
def test_a_loader_moves_on_however_an_epoch_is_left(numbered, leave):
    loader = tiering.Loader(numbered, 64, seed=7)

    class Pairs:
        def __iter__(self):
            return ((batch.images, batch.labels) for batch in loader)

    for epoch in range(3):
        found = leave(Pairs(), len(loader))
        assert found == expected(numbered, epoch)[: len(found)]


@pytest.mark.parametrize("leave", LEFT)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_sampler_moves_on_however_an_epoch_is_left(numbered, leave, workers):
    dataset = StoreDataset(numbered)
    loader = DataLoader(dataset, 64, sampler=EpochSampler(dataset, seed=7), num_workers=workers)
    for epoch in range(3):
        found = leave(loader, len(loader))
        assert found == expected(numbered, epoch)[: len(found)]


@pytest.mark.parametrize(
    ("way", "stop"),
    [
        *((WAYS[0], stop) for stop in (1, 6, 16, 17)),
        *((WAYS[1], stop) for stop in (6, 17)),
        *((WAYS[2], stop) for stop in (1, 16)),
        *(pytest.param(WAYS[1], stop, marks=pytest.mark.slow) for stop in (1, 16)),
        *(pytest.param(WAYS[2], stop, marks=pytest.mark.slow) for stop in (6, 17)),
        *(pytest.param(way, stop, marks=pytest.mark.slow) for way in SPAWNED for stop in (1, 6, 16, 17)),
    ],
)
def test_a_stateful_dataloader_goes_on_with_the_next_epoch_after_a_resume(numbered, way, stop):
    first = loader_of(dataset_of(numbered), way, StatefulDataLoader)
    assert served(first) == expected(numbered, 0)
    iterator = iter(first)
    behind = [numbers(next(iterator)[0]) for _ in range(stop)]
    state = first.state_dict()
    del iterator, first
    again = loader_of(dataset_of(numbered), way, StatefulDataLoader)
    again.load_state_dict(state)
    assert behind + served(again) == expected(numbered, 1)
    for epoch in (2, 3):
        assert served(again) == expected(numbered, epoch)


@pytest.mark.parametrize("way", WAYS)
def test_a_stateful_dataloader_that_stopped_between_epochs_resumes_with_the_next(numbered, way):
    first = loader_of(dataset_of(numbered), way, StatefulDataLoader)
    served(first)
    state = first.state_dict()
    again = loader_of(dataset_of(numbered), way, StatefulDataLoader)
    again.load_state_dict(state)
    for epoch in (1, 2):
        assert served(again) == expected(numbered, epoch)


@pytest.mark.parametrize("way", WAYS)
def test_a_resumed_dataset_goes_on_with_the_next_epoch(numbered, way):
    state = json.loads(json.dumps(dataset_of(numbered).state_dict(5))) | {"epoch": 4}
    dataset = dataset_of(numbered)
    loader = loader_of(dataset, way)
    assert len(served(loader)) == 17  # persistent workers are there before the state is loaded
    dataset.load_state_dict(state)
    assert len(loader) == 12
    assert served(loader) == expected(numbered, 4)[5:]
    assert len(loader) == 17
    for epoch in (5, 6):
        assert served(loader) == expected(numbered, epoch)


@pytest.mark.parametrize("way", WAYS)
def test_a_chosen_epoch_is_served_and_then_the_one_after_it(numbered, way):
    dataset = dataset_of(numbered)
    loader = loader_of(dataset, way)
    for chosen in (3, 3, 0):
        dataset.set_epoch(chosen)
        assert served(loader) == expected(numbered, chosen)
    assert served(loader) == expected(numbered, 1)


def test_two_iterators_of_a_loader_have_positions_of_their_own(numbered):
    loader = tiering.Loader(numbered, 64, seed=7)
    first, second = iter(loader), iter(loader)
    found = [[], []]
    for at in range(17):
        for number, iterator in enumerate((first, second)):
            found[number].append(numbers(next(iterator).images))
            if at == 4:
                # The state is that of the iterator that began last.
                assert loader.state_dict()["epoch"] == 1
                assert loader.state_dict()["position"] == 64 * (4 + number)
    assert found == [expected(numbered, 0), expected(numbered, 1)]


@pytest.mark.parametrize("way", WAYS)
def test_two_iterators_of_a_dataloader_serve_two_epochs(numbered, way):
    loader = loader_of(dataset_of(numbered), (*way[:2], False))
    first, second = iter(loader), iter(loader)
    found = [[], []]
    for _ in range(17):
        for number, iterator in enumerate((first, second)):
            found[number].append(numbers(next(iterator)[0]))
    # Which of the two gets the first epoch is decided by the workers, whichever starts first.
    assert sorted(found) == sorted([expected(numbered, 0), expected(numbered, 1)])


@pytest.mark.parametrize("way", WAYS)
def test_equal_seeds_of_pytorch_do_not_repeat_an_epoch(numbered, way):
    loader = loader_of(dataset_of(numbered), way)
    for epoch in range(3):
        torch.manual_seed(0)
        assert first_only(loader, 17) == expected(numbered, epoch)[:1]


@pytest.mark.parametrize("way", WAYS)
def test_other_numbers_of_workers_go_on_with_the_same_epochs(numbered, way):
    dataset = dataset_of(numbered)
    for epoch, workers in enumerate((way[0], 1, 3, 0, way[0])):
        loader = loader_of(dataset, (workers, way[1] if workers else None, way[2] and workers > 0))
        assert served(loader) == expected(numbered, epoch)


def test_a_wrapper_that_iterates_without_end_gets_one_epoch_after_the_other(numbered):
    class Endless(torch.utils.data.IterableDataset):
        def __init__(self):
            self.inner = dataset_of(numbered)

        def __iter__(self):
            while True:
                yield from self.inner

    # The last batch of an epoch is worker 0's, which then begins the next epoch a batch later than worker 1.
    loader = loader_of(Endless(), (2, "fork", False))
    found = [numbers(images) for _, (images, _) in zip(range(60), loader, strict=False)]
    for worker in range(2):
        own = [batch for epoch in range(4) for batch in expected(numbered, epoch)[worker::2]]
        assert found[worker::2] == own[:30]


@settings(max_examples=examples(25))
@given(data=st.data())
def test_any_interruptions_serve_each_epoch_once_over_ranks(numbered, data):
    """Ranks and batch sizes change at each interruption; padding is left out."""
    behind, state = [], None
    for _ in range(data.draw(st.integers(1, 4))):
        world_size, batch_size = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([64, 100, 333]))
        ranks = [
            tiering.Loader(numbered, batch_size, seed=7, ranks=Ranks(rank, world_size)) for rank in range(world_size)
        ]
        steps = None
        for loader in ranks:
            if state is not None:
                loader.load_state_dict(state)
            assert loader.current_epoch == 0
            steps = data.draw(st.integers(0, len(loader))) if steps is None else steps
            iterator = iter(loader)
            for _ in range(steps):
                batch = next(iterator)
                behind += numbers(batch.images)[: len(batch) - batch.padding]
            iterator.close()
        state = json.loads(json.dumps(ranks[0].state_dict(steps)))
    last = tiering.Loader(numbered, 64, seed=7)
    last.load_state_dict(state)
    behind += [number for batch in last for number in numbers(batch.images)]
    assert sorted(behind) == list(range(1025))
    assert [numbers(batch.images) for batch in last] == expected(numbered, 1)


def test_a_sampler_that_was_drawn_ahead_still_says_where_the_training_is():
    sampler = EpochSampler(range(300), seed=2)
    whole = list(EpochSampler(range(300), seed=2))
    list(sampler)  # a DataLoader draws the whole epoch before the training has finished it
    state = sampler.state_dict(200)
    again = EpochSampler(range(300), seed=2)
    again.load_state_dict(state)
    assert len(again) == 100
    assert list(again) == whole[200:]
    assert len(again) == 300


def test_a_state_outside_of_the_workers_needs_the_count_of_batches(numbered):
    dataset = dataset_of(numbered)
    assert dataset.state_dict()["position"] == 0
    iterator = iter(loader_of(dataset, (2, "fork", False)))
    next(iterator)
    with pytest.raises(UsageError, match="how many batches"):
        dataset.state_dict()
    assert dataset.state_dict(1)["position"] == 64
    dataset.set_epoch(3)
    assert dataset.state_dict()["epoch"] == 3


def test_a_library_that_never_sets_the_next_epoch_is_named_once(numbered, caplog):
    faces = [(dataset_of(numbered), 1), (EpochSampler(range(9)), 1), (dataset_of(numbered, shuffle=False), 0)]
    for face, times in faces:
        caplog.clear()
        for _ in range(3):
            face.set_epoch(0)
            next(iter(face))
        warned = [record.getMessage() for record in caplog.records]
        assert len(warned) == times
        assert all("Epoch 0 is served again" in message for message in warned)


def test_a_chosen_epoch_after_a_peek_is_no_repeat(numbered, caplog):
    dataset = dataset_of(numbered)
    next(iter(dataset))
    for epoch in range(2):
        dataset.set_epoch(epoch)
        next(iter(dataset))
    assert not caplog.records


def test_a_copy_of_a_dataset_has_epochs_of_its_own(numbered):
    dataset = dataset_of(numbered)
    served(dataset)
    other = pickle.loads(pickle.dumps(dataset))
    assert served(other) == served(dataset) == expected(numbered, 1)
    assert served(copy.deepcopy(dataset)) == expected(numbered, 2)
