"""The LRU cache of the benchmarks: its hit ratio is the theory's, and its free intervals never overlap."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiering
from benchmarks.lru_cache import Holes, lru_cached
from tests.cache.test_cached_store import files_bytes, folder, lmdb, plain, served, since  # noqa: F401 - fixtures
from tiering.errors import UsageError

_ROOM = 64


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20))))
def test_holes_are_the_smallest_that_fit_and_nothing_is_dealt_twice(steps):
    holes, free, taken = Holes(), [True] * _ROOM, []
    holes.give(0, _ROOM)
    for gives, number in steps:
        if gives and taken:
            begin, end = taken.pop(number % len(taken))
            holes.give(begin, end)
            free[begin:end] = [True] * (end - begin)
            continue
        text = "".join("." if each else "#" for each in free)
        fitting = [run for run in text.split("#") if len(run) >= number]
        begin = holes.take(number)
        assert (begin is None) == (not fitting)
        if begin is not None:
            assert all(free[begin : begin + number])
            around = text[text.rfind("#", 0, begin) + 1 :].split("#")[0]
            assert len(around) == min(map(len, fitting))
            free[begin : begin + number] = [False] * number
            taken.append((begin, begin + number))


@pytest.mark.slow
def test_hit_ratio_is_the_theorys_and_every_byte_is_right(lmdb, tmp_path):  # noqa: F811
    origin, share = tiering.open_store(lmdb), 0.6
    store = lru_cached(lmdb, int(share * origin.manifest.image_bytes), tmp_path / "cache")
    served(store, 0)
    before = store.stats()
    for epoch in range(1, 7):
        assert served(store, epoch) == plain(lmdb, epoch)
    ratio, _ = since(store, before)
    assert ratio < share + (1 - share) * math.log(1 - share) + 0.05
    assert ratio > 0.1
    assert store.stats().admitted_bytes > 2 * origin.manifest.image_bytes
    assert files_bytes(tmp_path / "cache") <= share * origin.manifest.image_bytes
    with pytest.raises(UsageError, match="one process"):
        pickle.dumps(store)
    store.close()
