"""BlockOrder: a permutation whose every window holds whole blocks; and how well orders mix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.examples import examples
from tiering.permutation import EpochOrder
from tiering.serve.orders import BlockOrder, StoreOrder

cases = {
    "n": st.integers(1, 3000),
    "block": st.integers(1, 200),
    "window": st.integers(1, 20),
    "seed": st.integers(-(2**63), 2**63),
    "epoch": st.integers(0, 1000),
}


shares = st.integers(1, 40)


@settings(max_examples=examples(100))
@given(**cases, shares=shares, data=st.data())
def test_blocks_are_a_permutation(n, block, window, seed, epoch, shares, data):
    order = BlockOrder(n, block, window, seed, epoch, shares)
    whole = order.at(np.arange(n))
    assert np.array_equal(np.sort(whole), np.arange(n))
    some = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=20)), dtype=np.int64)
    assert np.array_equal(order.at(some), whole[some])


@settings(max_examples=examples(60))
@given(**cases, shares=shares)
def test_a_window_takes_whole_blocks(n, block, window, seed, epoch, shares):
    """Walking along the order of a share, never more blocks are begun and unfinished than a window holds."""
    order = BlockOrder(n, block, window, seed, epoch, shares)
    for share in range(shares):
        positions = np.arange(share, n, shares)
        windows = order.window_of(positions)
        assert (np.diff(windows) >= 0).all()
        blocks = (order.at(positions) // block).tolist()
        last = {block: at for at, block in enumerate(blocks)}
        begun = set()
        for at, each in enumerate(blocks):
            begun.add(each)
            assert len(begun) <= window
            assert windows[last[each]] == windows[at]
            if last[each] == at:
                begun.discard(each)


@settings(max_examples=examples(60))
@given(**cases, shares=shares)
def test_a_block_belongs_to_one_share_unless_a_boundary_cuts_it(n, block, window, seed, epoch, shares):
    order = BlockOrder(n, block, window, seed, epoch, shares)
    of = [set((order.at(np.arange(share, n, shares)) // block).tolist()) for share in range(shares)]
    assert sum(map(len, of)) <= -(-n // block) + shares - 1


@settings(max_examples=examples(60))
@given(**cases)
def test_shares_deal_the_blocks_of_one_random_order(n, block, window, seed, epoch):
    """However many shares there are: joined, they serve the blocks in the order that a single share serves."""
    first = [
        np.unique(blocks, return_index=True)
        for blocks in (
            BlockOrder(n, block, 1, seed, epoch).at(np.arange(n)) // block,
            np.concatenate([BlockOrder(n, block, 1, seed, epoch, 5).at(np.arange(share, n, 5)) for share in range(5)])
            // block,
        )
    ]
    assert np.array_equal(*(np.argsort(index) for _, index in first))


def test_a_share_of_a_large_dataset_needs_no_table_of_it():
    order = BlockOrder(10**10, 76, 16, 0, 3, 128)
    positions = np.arange(5, 128 * 2384, 128)
    samples = order.at(positions)
    assert np.bincount(order.window_of(positions)).tolist() == [1168, 1216]  # a boundary cuts the first block
    assert len(np.unique(samples)) == 2384
    assert len(np.unique(samples // 76)) == 32


def test_epochs_and_seeds_draw_other_blocks_and_other_windows():
    orders = [BlockOrder(5000, 10, 8, seed, epoch).at(np.arange(5000)) for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    for one in range(3):
        for other in range(one):
            assert (orders[one] == orders[other]).sum() < 12


def test_block_orders_are_part_of_the_format():
    assert BlockOrder(20, 3, 2, 1, 2).at(np.arange(20)).tolist() == GOLDEN_BLOCKS
    assert BlockOrder(20, 3, 2, 1, 2, shares=3).at(np.arange(20)).tolist() == GOLDEN_SHARES


@pytest.mark.parametrize(
    "wrong", [{"block": 0, "window": 1}, {"block": 1, "window": 0}, {"block": 1, "window": 1, "shares": 0}]
)
def test_empty_blocks_are_refused(wrong):
    with pytest.raises(ValueError, match="at least one"):
        BlockOrder(10, seed=0, epoch=0, **wrong)


def test_the_order_of_the_store_is_itself():
    assert StoreOrder().at(np.array([3, 1])).tolist() == [3, 1]


def test_quality_tells_blocks_over_sorted_classes_from_a_true_shuffle():
    n, block = 64_000, 128
    labels = np.arange(n) * 100 // n
    everything = np.arange(n)
    true = tiering.shuffle_quality(EpochOrder(n, 0).take(0, n), labels, 128)
    assert abs(true.design_effect - 1) < 5 * true.standard_error
    narrow, wide = (
        tiering.shuffle_quality(BlockOrder(n, block, window, 0, 0).at(everything), labels, 128).design_effect
        for window in (4, 16)
    )
    # A batch of 128 from a window of w blocks holds about w classes instead of all.
    assert 25 < narrow < 45
    assert 5 < wide < 12
    mixed = EpochOrder(n, 9).take(0, n)
    packed = tiering.shuffle_quality(mixed[BlockOrder(n, block, 4, 0, 0).at(everything)], labels, 128)
    assert abs(packed.design_effect - 1) < 5 * packed.standard_error
    assert (packed.batches, packed.classes) == (500, 100)


def test_many_ranks_mix_better_together_than_one_and_each_as_well_as_one():
    """Over sorted classes. The global batch of all ranks comes from a window of each, a rank's batch from one."""
    n, block, batch = 64_000, 128, 128
    labels = np.arange(n) * 100 // n

    def effect(shares, size, positions):
        order = BlockOrder(n, block, 8, 0, 0, shares).at(positions)
        return tiering.shuffle_quality(order, labels, size).design_effect

    everything = np.arange(n)
    before, together = effect(1, 8 * batch, everything), effect(8, 8 * batch, everything)
    alone, one_rank = effect(1, batch, everything), effect(8, batch, everything[3::8])
    assert together < before / 4
    assert one_rank == pytest.approx(alone, rel=0.2)


def test_quality_of_a_sorted_order_is_the_batch_size():
    labels = np.repeat([-1, 5], 512)
    found = tiering.shuffle_quality(np.arange(1024), labels, 256)
    # Every batch of one class: 256 x 1/2 x 1/2 expected, 128 squared seen.
    assert found.design_effect == pytest.approx(256 * 1023 / 768)


@pytest.mark.parametrize(("order", "labels"), [(np.arange(300), np.arange(300)), (np.arange(600), np.zeros(600, int))])
def test_quality_needs_batches_and_classes(order, labels):
    with pytest.raises(ValueError, match="needs two batches and two classes"):
        tiering.shuffle_quality(order, labels, 256)


GOLDEN_BLOCKS = [6, 3, 5, 7, 4, 8, 13, 0, 14, 12, 2, 1, 19, 11, 18, 9, 10, 15, 16, 17]
GOLDEN_SHARES = [7, 2, 11, 6, 14, 9, 4, 12, 15, 8, 13, 10, 3, 1, 17, 5, 18, 16, 0, 19]
