"""Ranks of equal numbers of batches and samples, however many samples there are."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.examples import examples
from tiering.errors import UsageError
from tiering.serve.epochs import Epochs
from tiering.serve.orders import BlockShuffle
from tiering.serve.ranks import Ranks
from tiering.serve.torch import EpochDataset, EpochSampler, StoreDataset

shuffles = st.sampled_from([True, False, BlockShuffle(2), "sticky"])
how = {
    "n": st.integers(1, 400),
    "batch_size": st.integers(1, 70),
    "world_size": st.integers(1, 9),
    "shuffle": shuffles,
}


def made(rank, n, batch_size, world_size, shuffle, **options):
    return Epochs(n, 7, batch_size=batch_size, ranks=Ranks(rank, world_size), shuffle=shuffle, seed=3, **options)


def batches_of(epochs):
    return [batch.tolist() for batch in chain.from_iterable(epochs.drawn())]


def all_ranks(even, world_size, **settings_):
    return [made(rank, world_size=world_size, even=even, **settings_) for rank in range(world_size)]


@settings(max_examples=examples(150))
@given(**how, even=st.sampled_from(["pad", "drop"]))
def test_all_ranks_serve_as_many_samples_in_as_many_batches(even, n, **settings_):
    ranks = all_ranks(even, n=n, **settings_)
    found = [batches_of(each) for each in ranks]
    sizes = [[len(batch) for batch in batches] for batches in found]
    assert all(each == sizes[0] for each in sizes)
    assert [len(each) for each in ranks] == [len(each) for each in sizes]
    times = Counter(chain.from_iterable(chain.from_iterable(found)))
    uneven = n % settings_["world_size"]
    if even == "drop":
        assert set(times.values()) <= {1}
        assert len(times) == n - uneven
    else:
        assert len(times) == n
        assert times.total() == n + -n % settings_["world_size"]


@settings(max_examples=examples(150))
@given(**how)
def test_padding_is_the_beginning_of_the_order_and_marked(**settings_):
    padded, plain = all_ranks("pad", **settings_), all_ranks(False, **settings_)
    once = [list(chain.from_iterable(batches_of(each))) for each in plain]
    order = [once[at % len(once)][at // len(once)] for at in range(settings_["n"])]
    again = []
    for rank, each in enumerate(padded):
        batches = batches_of(each)
        marked = each.padded
        extra = [] if marked is None else [batches[marked].pop()]
        assert marked in (None, len(batches) - 1)
        assert list(chain.from_iterable(batches)) == once[rank]
        again += extra
    assert again == [order[at % len(order)] for at in range(-len(order) % len(once))]


@settings(max_examples=examples(150))
@given(**how, data=st.data())
def test_an_interrupted_epoch_ends_with_the_same_padding(data, **settings_):
    ranks = all_ranks("pad", **settings_)
    whole = [batches_of(each) for each in ranks]
    stop = data.draw(st.integers(0, len(whole[0])))
    state = json.loads(json.dumps(ranks[-1].state(stop)))
    for each, batches in zip(all_ranks("pad", **settings_), whole, strict=True):
        each.load(state)
        assert batches_of(each) == batches[stop:]
        assert len(each) == len(batches) - stop


@settings(max_examples=examples(100))
@given(**how, after=st.integers(1, 9), data=st.data())
def test_other_ranks_serve_each_sample_of_the_rest_and_are_even(after, data, **settings_):
    ranks = all_ranks("pad", **settings_)
    whole = [batches_of(each) for each in ranks]
    stop = data.draw(st.integers(0, len(whole[0])))
    state = ranks[0].state(stop)
    others = all_ranks("pad", **(settings_ | {"world_size": after}))
    for each in others:
        each.load(state)
    rest = [batches_of(each) for each in others]
    assert len({tuple(map(len, batches)) for batches in rest}) == 1
    served = chain.from_iterable(chain.from_iterable([batches[:stop] for batches in whole] + rest))
    assert set(served) == set(range(settings_["n"]))


@settings(max_examples=examples(60))
@given(n=st.integers(1, 400), block=st.integers(1, 60), batch_size=st.integers(1, 70), world_size=st.integers(1, 9))
def test_windows_rise_with_padding_too(n, block, batch_size, world_size):
    for rank in range(world_size):
        epochs = Epochs(n, block, batch_size=batch_size, ranks=Ranks(rank, world_size), shuffle=BlockShuffle(2))
        drawn = list(epochs.drawn_with_windows())
        assert [samples.tolist() for samples, _ in drawn] == batches_of(epochs)
        windows = list(chain.from_iterable(windows.tolist() for _, windows in drawn))
        assert windows == sorted(windows)


@pytest.mark.parametrize("shuffle", [True, "block"])
def test_batches_mark_their_padding(photos, shuffle):
    store = tiering.open_store(photos)
    loaders = [tiering.Loader(store, 64, ranks=tiering.Ranks(rank, 7), shuffle=shuffle) for rank in range(7)]
    served = [list(loader) for loader in loaders]
    assert [[len(batch) for batch in batches] for batches in served] == [[43]] * 7
    assert [batches[-1].padding for batches in served] == [0] * 6 + [1]


def test_full_batches_need_no_padding(photos):
    loader = tiering.Loader(photos, 64, ranks=tiering.Ranks(2, 3), drop_last=True)
    assert [(len(batch), batch.padding) for batch in loader] == [(64, 0)]


def test_uneven_samples_are_refused_at_once_where_asked(photos):
    with pytest.raises(UsageError, match=r'7 ranks can share evenly.*300 samples.*even="pad"'):
        tiering.Loader(photos, 64, ranks=tiering.Ranks(2, 7), even="error")
    with tiering.Loader(photos, 10, ranks=tiering.Ranks(2, 3), even="error") as loader:
        state = tiering.Loader(photos, 7).state_dict(1)
        with pytest.raises(UsageError, match="293 samples"):
            loader.load_state_dict(state)
        assert loader.state_dict()["position"] == 0


@pytest.mark.parametrize("wrong", [True, None, "pads", 0])
def test_another_value_is_refused(photos, wrong):
    with pytest.raises(ValueError, match="even must be"):
        tiering.Loader(photos, 64, even=wrong)


def test_the_faces_for_pytorch_are_even_too(photos):
    items = StoreDataset(photos)
    drawn = [list(EpochSampler(items, ranks=tiering.Ranks(rank, 7), seed=1)) for rank in range(7)]
    assert [len(each) for each in drawn] == [43] * 7
    assert set(chain.from_iterable(drawn)) == set(range(300))
    assert len(EpochSampler(items, ranks=tiering.Ranks(6, 7), even="drop")) == 42
    sizes = [[len(labels) for _, labels in EpochDataset(photos, 8, ranks=tiering.Ranks(rank, 7))] for rank in range(7)]
    assert sizes == [[8, 8, 8, 8, 8, 3]] * 7
