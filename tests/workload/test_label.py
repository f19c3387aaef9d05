"""The ground truth: thresholds, what is compared with what, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.workload.label import WORKLOADS, label

amounts = st.integers(0, 10**20)


@pytest.mark.parametrize(
    ("read", "written", "reread", "workload"),
    [
        (5_000, 0, 4_000, "re-read-heavy"),  # five epochs
        (3_000, 0, 2_000, "re-read-heavy"),  # three
        (2_000, 0, 1_000, "mixed"),  # two: exactly half
        (100, 160, 0, "write-heavy"),
        (100, 140, 0, "mixed"),  # more than half, but no clear majority
        (100, 100, 0, "mixed"),  # a copy
        (1_000, 0, 0, "read-once"),
        (1_000, 300, 0, "read-once"),
        (750, 250, 0, "mixed"),
        (4_000, 996_000, 3_940, "write-heavy"),  # reads are 0.4 % of the bytes, 98.5 % of them repeated
        (0, 0, 0, "mixed"),
        (22_950_000_000_000_000_000, 2_000_000_000, 22_945_410_000_000_000_000, "re-read-heavy"),
    ],
)
def test_the_definition(read, written, reread, workload):
    assert label(read, written, reread) == workload


@given(first=amounts, written=amounts, reread=amounts, factor=st.integers(1, 10**6))
def test_a_label_does_not_depend_on_the_unit(first, written, reread, factor):
    found = label(first + reread, written, reread)
    assert found in WORKLOADS
    # beyond 2^53 a product with 0.5 may round, so the unit is changed where numbers are exact
    if (first + reread + written) * factor < 2**50:
        assert label((first + reread) * factor, written * factor, reread * factor) == found


@given(first=amounts, written=amounts, reread=amounts, more=st.integers(1, 10**20))
def test_more_repeats_never_end_a_re_read_heavy_label(first, written, reread, more):
    if label(first + reread, written, reread) == "re-read-heavy":
        assert label(first + reread + more, written, reread + more) == "re-read-heavy"


@pytest.mark.parametrize("amounts", [(-1, 0, 0), (0, -1, 0), (1, 0, -1), (1, 0, 2)])
def test_impossible_amounts_are_refused(amounts):
    with pytest.raises(ValueError, match="bytes"):
        label(*amounts)
