"""The free room of a cache that evicts: what is taken is free, and what is given back is one with its neighbours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tiering.serve.cache.lru import Holes

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
