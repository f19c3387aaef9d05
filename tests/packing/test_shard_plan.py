"""The plan: every row once, in bounded shards, whatever the sizes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.packing.shard_plan import MIB, default_shard_bytes, make_plan, settings_for
from tiering.store.manifest import StoredPixels

KINDS = ["lmdb", "zarr"]
SIZES = st.lists(st.integers(-1, 40 * MIB), min_size=1, max_size=200).filter(lambda sizes: max(sizes) > 0)


@settings(max_examples=examples(100))
@given(sizes=SIZES, kind=st.sampled_from(KINDS), asked=st.none() | st.integers(1, 64 * MIB), seed=st.integers(0, 3))
def test_a_plan_holds_every_row_once_and_bounds_every_shard(sizes, kind, asked, seed):
    size = np.array(sizes, dtype=np.int64)
    stored = np.maximum(size, 0)
    chosen = settings_for(
        kind, int(stored.sum()), int(stored.max()), codec="none", seed=seed, shard_bytes=asked, pixels=None
    )
    plan = make_plan(size, chosen)
    shards = [plan.rows(shard) for shard in range(len(plan.ends))]
    assert np.array_equal(np.sort(np.concatenate(shards)), np.arange(len(size)))
    assert all(len(rows) > 0 and stored[rows].sum() <= chosen.shard_bytes for rows in shards)
    if kind == "zarr":
        assert chosen.shard_bytes % chosen.chunk_bytes == 0


@settings(max_examples=examples(100))
@given(
    n=st.integers(1, 5000), height=st.integers(1, 64), width=st.integers(1, 64), asked=st.none() | st.integers(1, MIB)
)
def test_a_plan_of_pixels_fills_its_shards_with_whole_chunks(n, height, width, asked):
    pixels = StoredPixels(height=height, width=width, channels=3)
    sample = pixels.shape.nbytes
    chosen = settings_for("zarr", n * sample, sample, codec="none", seed=0, shard_bytes=asked, pixels=pixels)
    plan = make_plan(np.ones(n, dtype=np.int64), chosen)
    assert chosen.shard_bytes % chosen.chunk_bytes == chosen.chunk_bytes % sample == 0
    counts = np.diff(plan.ends, prepend=0)
    assert counts.sum() == n
    assert np.all(counts[:-1] * sample == chosen.shard_bytes)
    assert 0 < counts[-1] * sample <= chosen.shard_bytes


def test_a_selection_is_planned_alone_and_in_another_order():
    size = np.full(1000, 1000, dtype=np.int64)
    chosen = settings_for("lmdb", 10**6, 1000, codec="none", seed=0, shard_bytes=100_000, pixels=None)
    selected = np.arange(500, 1000)
    plan = make_plan(size, chosen, generation=2, selected=selected)
    packed = np.concatenate([plan.rows(shard) for shard in range(len(plan.ends))])
    assert np.array_equal(np.sort(packed), selected)
    again = make_plan(size, chosen, generation=3, selected=selected)
    assert not np.array_equal(packed, np.concatenate([again.rows(shard) for shard in range(len(again.ends))]))


def test_shards_are_small_for_little_and_few_for_much():
    assert default_shard_bytes(10**6, 1000) == 16 * MIB
    assert default_shard_bytes(2 * 10**9, 10**6) < 256 * MIB
    assert 10**12 / default_shard_bytes(10**12, 10**6) <= 512
    assert default_shard_bytes(10**15, 10**6) == 4096 * MIB
    assert default_shard_bytes(10**9, 400 * MIB + 1) == 401 * MIB
