"""Epochs: every sample exactly once, for any ranks, batches and interruptions."""

from __future__ import annotations

import json
import math
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.errors import UsageError
from tiering.permutation import VERSION
from tiering.serve.epochs import Epochs
from tiering.serve.orders import BlockShuffle, StickyShuffle
from tiering.serve.ranks import Ranks

orders = {
    "n": st.integers(1, 2000),
    "shuffle": st.sampled_from([True, BlockShuffle(window=4), False]),
    "seed": st.integers(0, 2**40),
    "limit": st.one_of(st.none(), st.integers(1, 2500)),
}
deals = {"batch_size": st.integers(1, 300), "world_size": st.integers(1, 9)}


def made(
    n,
    *,
    block=7,
    batch_size=1,
    world_size=1,
    rank=0,
    shuffle=True,
    seed=0,
    drop_last=False,
    limit=None,
    unit=1,
    even=False,
):
    return Epochs(
        n,
        block,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        drop_last=drop_last,
        even=even,
        ranks=Ranks(rank, world_size),
        limit=limit,
        unit=unit,
    )


def batches_of(epochs, first=0, step=1):
    return [batch.tolist() for batch in chain.from_iterable(epochs.drawn(first, step))]


def shared(whole, world_size):
    """Let one rank serve the order that world_size ranks share."""
    state = whole.state(0)
    whole.load(state | {"shares": world_size} if "shares" in state else state)
    return whole


def all_of(lists):
    return sorted(chain.from_iterable(lists))


@settings(max_examples=examples(150))
@given(**orders, **deals, drop_last=st.booleans(), epoch=st.integers(0, 9))
def test_ranks_serve_every_sample_exactly_once(n, limit, batch_size, world_size, drop_last, epoch, **order):
    ranks = [
        made(n, limit=limit, batch_size=batch_size, world_size=world_size, rank=rank, drop_last=drop_last, **order)
        for rank in range(world_size)
    ]
    for each in ranks:
        each.set_epoch(epoch)
    served = [batches_of(each) for each in ranks]
    assert [len(each) for each in ranks] == [len(batches) for batches in served]
    whole = made(n, limit=limit, **order)
    whole.set_epoch(epoch)
    everything = list(chain.from_iterable(batches_of(shared(whole, world_size))))
    assert len(everything) == len(set(everything)) == min(n, limit or n)
    together = all_of(chain.from_iterable(served))
    if drop_last:
        steps = len(everything) // (batch_size * world_size)
        assert together == sorted(everything[: steps * batch_size * world_size])
        assert {len(batches) for batches in served} == {steps}
        assert all(len(batch) == batch_size for batches in served for batch in batches)
    else:
        assert together == sorted(everything)
        shares = [sum(map(len, batches)) for batches in served]
        assert max(shares) - min(shares) <= 1
        lengths = {len(batches) for batches in served}
        left = len(everything) % (batch_size * world_size)
        assert len(lengths) == 1 or (max(lengths) - min(lengths) == 1 and left < world_size)


@settings(max_examples=examples(150))
@given(**orders, **deals, drop_last=st.booleans(), data=st.data())
def test_an_epoch_resumes_with_the_samples_that_were_next(n, drop_last, data, **settings_):
    rank = data.draw(st.integers(0, settings_["world_size"] - 1))
    whole = made(n, rank=rank, drop_last=drop_last, **settings_)
    whole.set_epoch(3)
    served = batches_of(whole)
    stop = data.draw(st.integers(0, len(served)))
    whole.count(stop)
    state = json.loads(json.dumps(whole.state()))
    assert len(json.dumps(state)) < 250
    again = made(n, rank=rank, drop_last=drop_last, **settings_)
    again.load(state)
    assert again.epoch == 3
    assert batches_of(again) == served[stop:]


@settings(max_examples=examples(150))
@given(**orders, data=st.data())
def test_other_ranks_and_batches_serve_the_rest_exactly_once(n, data, **order):
    """A chain of interruptions, each gone on from by another number of ranks with another batch size."""
    left = shared(made(n, **order), data.draw(st.integers(1, 9)))
    state = left.state()
    expected, served = list(chain.from_iterable(batches_of(left))), []
    for _ in range(data.draw(st.integers(1, 3))):
        deal = {name: data.draw(values) for name, values in deals.items()}
        ranks = [made(n, rank=rank, **deal, **order) for rank in range(deal["world_size"])]
        for each in ranks:
            each.load(state)
        dealt = [batches_of(each) for each in ranks]
        steps = data.draw(st.integers(0, max(map(len, dealt))))
        served += chain.from_iterable(chain.from_iterable(batches[:steps] for batches in dealt))
        # Whatever rank saves: all that had a batch at the last step say the same.
        state = ranks[0].state(steps)
        assert sorted(served) == sorted(expected[: state["position"]])
    rest = made(n, **order)
    rest.load(state)
    assert all_of([served, *batches_of(rest)]) == sorted(expected)


@settings(max_examples=examples(80))
@given(**orders, **deals, workers=st.integers(1, 5), drop_last=st.booleans())
def test_workers_in_turn_serve_what_one_serves(n, workers, drop_last, **settings_):
    one = batches_of(made(n, drop_last=drop_last, **settings_))
    parts = [batches_of(made(n, drop_last=drop_last, **settings_), worker, workers) for worker in range(workers)]
    for number, batch in enumerate(one):
        assert parts[number % workers][number // workers] == batch
    assert sum(map(len, parts)) == len(one)


def test_a_chosen_epoch_begins_at_its_start_unless_it_is_the_loaded_one():
    epochs = made(100, batch_size=10)
    epochs.load(epochs.state(4) | {"epoch": 2})
    epochs.set_epoch(2)
    assert len(batches_of(epochs)) == 6
    epochs.set_epoch(5)
    assert len(batches_of(epochs)) == 10


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"seed": 4}, "seed"), ({"shuffle": "block"}, "shuffle"), ({"limit": 7}, "limit")],
)
def test_a_state_of_another_order_is_refused(wrong, said):
    with pytest.raises(UsageError, match=f"expected .*{said}.* found .*{said}"):
        made(100).load(made(100, **wrong).state())
    with pytest.raises(UsageError, match=r"samples 100.*samples 99"):
        made(100).load(made(99).state())
    with pytest.raises(UsageError, match=r"found .*order None"):
        made(100).load({"epoch": 1, "position": 3})


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"rank": 2, "world_size": 2},
        {"rank": -1},
        {"limit": 0},
        {"shuffle": "none"},
    ],
)
def test_invalid_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        made(10, **wrong)


def test_a_hundred_million_samples_are_dealt_without_a_table():
    epochs = made(10**8, batch_size=256, world_size=8, rank=3)
    first = next(epochs.drawn())
    assert [len(batch) for batch in first] == [256] * len(first)
    assert len(epochs) == math.ceil(10**8 / 2048)
    assert len(np.unique(np.concatenate(first))) == 256 * len(first)


@settings(max_examples=examples(100))
@given(n=st.integers(1, 3000), world_size=st.integers(1, 9), batch_size=st.integers(1, 50), unit=st.integers(1, 30))
def test_sticky_ranks_keep_their_samples_until_the_next_deal(n, world_size, batch_size, unit):
    settings = {"batch_size": batch_size, "world_size": world_size, "unit": unit, "shuffle": StickyShuffle(epochs=3)}

    def served(epoch):
        ranks = [made(n, rank=rank, **settings) for rank in range(world_size)]
        for each in ranks:
            each.set_epoch(epoch)
        return [list(chain.from_iterable(batches_of(each))) for each in ranks]

    epochs = {epoch: served(epoch) for epoch in range(4)}
    for ranks in epochs.values():
        assert all_of(ranks) == list(range(n))
    assert [set(rank) for rank in epochs[0]] == [set(rank) for rank in epochs[2]]
    units = [{sample // unit for sample in rank} for rank in epochs[0]]
    assert sum(map(len, units)) <= -(-n // unit) + world_size - 1
    if n > 100 * unit:
        assert epochs[0] != epochs[1]
        assert world_size == 1 or [set(rank) for rank in epochs[2]] != [set(rank) for rank in epochs[3]]


@settings(max_examples=examples(60))
@given(
    n=st.integers(1, 900),
    before=st.integers(1, 5),
    after=st.integers(1, 5),
    batches=st.integers(0, 40),
    shuffle=st.sampled_from(["sticky", BlockShuffle(2)]),
)
def test_another_number_of_ranks_ends_an_epoch_of_shares(n, before, after, batches, shuffle):
    first = [made(n, batch_size=4, world_size=before, rank=rank, shuffle=shuffle) for rank in range(before)]
    done = [batches_of(each)[:batches] for each in first]
    state = json.loads(json.dumps(first[0].state(batches)))
    rest = []
    for rank in range(after):
        each = made(n, batch_size=5, world_size=after, rank=rank, shuffle=shuffle)
        each.load(state)
        rest.append(batches_of(each))
        each.set_epoch(7)
        assert each.state(0)["shares"] == after
    assert all_of(chain.from_iterable([*done, *rest])) == list(range(n))


def test_a_sticky_state_is_refused_by_another_shuffle():
    with pytest.raises(UsageError, match="sticky_epochs"):
        made(9).load(made(9, shuffle="sticky").state())
    with pytest.raises(UsageError, match="sticky_epochs"):
        made(9, shuffle="sticky").load(made(9).state())


@pytest.mark.parametrize("shuffle", [True, "global", "block", "sticky", False])
def test_a_state_saved_by_an_earlier_release_still_loads(shuffle):
    """The keys and words that states had when window and sticky_epochs were settings of the Loader."""
    old = {"order": VERSION, "seed": 0, "shuffle": "global", "samples": 9, "limit": 9, "sticky_epochs": None}
    old |= {"epoch": 2, "position": 4}
    if shuffle == "block":
        old |= {"shuffle": "block", "block": 7, "window": 16}
    elif shuffle == "sticky":
        old |= {"sticky_epochs": 16, "run": 1, "shares": 1}
    elif shuffle is False:
        old |= {"shuffle": False}
    epochs = made(9, shuffle=shuffle)
    epochs.load(old)
    assert len(batches_of(epochs)) == 5
    assert epochs.state(0) == (old | {"shares": 1} if shuffle == "block" else old)


def test_ranks_of_an_earlier_release_shared_the_windows_of_a_block_order():
    """Their states name no shares. The rest of the epoch is served in the order in which it began."""
    old = made(900, shuffle="block").state() | {"epoch": 2, "position": 120}
    del old["shares"]
    one = made(900, shuffle="block")
    one.set_epoch(2)
    ranks = [made(900, batch_size=4, shuffle="block", world_size=3, rank=rank) for rank in range(3)]
    for rank in ranks:
        rank.load(old)
    rest = [list(chain.from_iterable(batches_of(rank))) for rank in ranks]
    expected = list(chain.from_iterable(batches_of(one)))[120:]
    assert [rest[at % 3][at // 3] for at in range(len(expected))] == expected
    assert ranks[0].state(1)["shares"] == 1


@settings(max_examples=examples(100))
@given(
    n=st.integers(1, 3000),
    block=st.integers(1, 60),
    window=st.integers(1, 6),
    batch_size=st.integers(1, 90),
    shares=st.integers(1, 9),
    world_size=st.integers(1, 9),
    step=st.integers(1, 3),
    data=st.data(),
)
def test_windows_rise_and_hold_no_more_than_their_blocks(n, block, window, batch_size, shares, world_size, step, data):
    """Also for ranks that resume an epoch of another number of ranks, and for each of several workers."""
    rank, worker = data.draw(st.integers(0, world_size - 1)), data.draw(st.integers(0, step - 1))
    how = {"block": block, "batch_size": batch_size, "world_size": world_size, "rank": rank}
    epochs = shared(made(n, shuffle=BlockShuffle(window), **how), shares)
    drawn = list(epochs.drawn_with_windows(worker, step))
    assert [samples.tolist() for samples, _ in drawn] == batches_of(epochs, worker, step)
    windows = np.concatenate([np.empty(0, np.int64), *(windows for _, windows in drawn)])
    assert (np.diff(windows) >= 0).all()
    assert len(windows) == 0 or np.bincount(windows).max() <= window * block


@settings(max_examples=examples(60))
@given(n=st.integers(1, 3000), block=st.integers(1, 60), batch_size=st.integers(1, 90), world_size=st.integers(1, 9))
def test_each_block_is_read_by_one_rank(n, block, batch_size, world_size):
    how = {"block": block, "batch_size": batch_size, "world_size": world_size, "shuffle": BlockShuffle(4)}
    ranks = [chain.from_iterable(batches_of(made(n, rank=rank, **how))) for rank in range(world_size)]
    blocks = [{sample // block for sample in rank} for rank in ranks]
    assert sum(map(len, blocks)) <= -(-n // block) + world_size - 1


@pytest.mark.parametrize(
    "wrong", [lambda: BlockShuffle(window=0), lambda: StickyShuffle(epochs=0), lambda: Ranks(2, 2)]
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        wrong()


@pytest.mark.parametrize("wrong", [lambda: BlockShuffle("16"), lambda: StickyShuffle(1.5), lambda: Ranks(0.0)])
def test_values_that_are_not_integers_are_refused(wrong):
    with pytest.raises(TypeError, match="integer"):
        wrong()
