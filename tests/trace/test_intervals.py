"""Unions of byte ranges against a model that counts bytes one by one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tiering.trace.intervals import Ranges, RangeUnion, length, over_groups, union

rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 30), st.integers(0, 12)), max_size=40)


def ranges(rows) -> Ranges:
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return Ranges(table[:, 0].astype(np.uint64), table[:, 1].astype(np.int32), table[:, 2], table[:, 2] + table[:, 3])


def covered(rows) -> set[tuple[int, int, int]]:
    return {(file, group, byte) for file, group, start, size in rows for byte in range(start, start + size)}


@given(rows)
def test_a_union_covers_the_same_bytes_with_disjoint_sorted_ranges(rows):
    merged = union(ranges(rows))
    table = [(int(f), int(g), int(s), int(e - s)) for f, g, s, e in zip(*merged, strict=True)]
    assert covered(table) == covered(rows)
    assert length(merged) == len(covered(rows))
    assert table == sorted(table)
    for one, two in pairwise(table):
        assert one[:2] != two[:2] or one[2] + one[3] < two[2]


@given(st.lists(rows, max_size=5))
def test_a_union_that_grows_ends_where_one_made_at_once_does(parts):
    growing = RangeUnion()
    for part in parts:
        growing.add(ranges(part))
    at_once = union(ranges([row for part in parts for row in part]))
    assert all(np.array_equal(a, b) for a, b in zip(growing.merged(), at_once, strict=True))
    everyone = {(file, byte) for part in parts for file, _, byte in covered(part)}
    assert length(over_groups(growing.merged())) == len(everyone)


@given(rows)
def test_a_union_is_the_same_at_the_far_end_of_the_largest_files(rows):
    near, far = union(ranges(rows)), union(ranges([(f, g, s + (1 << 60), size) for f, g, s, size in rows]))
    assert np.array_equal(near.start + (1 << 60), far.start)
    assert np.array_equal(near.end + (1 << 60), far.end)
    assert np.array_equal(near.file, far.file)
