"""Which parts of files were read before, against a set of parts that remembers each."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.trace.watching import touched
from tiering.trace.watching.touched import Touched

PART = 1 << 12
FILES = [0, 1, 2**63, 2**64 - 1]
READS = st.tuples(st.sampled_from(FILES), st.integers(0, 9 * PART), st.sampled_from([0, 1, 100, PART, 3 * PART + 7]))


def table(reads):
    schema = {"file": pl.UInt64, "offset": pl.Int64, "size": pl.Int64}
    return pl.DataFrame(reads, schema, orient="row")


@given(st.lists(st.lists(READS, max_size=12), min_size=1, max_size=6))
def test_what_was_read_before_is_told_from_what_was_not(looks):
    made, seen = Touched(), set()
    for reads in looks:
        sizes = {}
        for file, offset, size in reads:
            for part in range(offset // PART, -(-(offset + size) // PART) if size else 0):
                key = file, part
                sizes[key] = max(sizes.get(key, 0), min(PART, offset + size - part * PART))
        total = sum(size for *_, size in reads)
        first = min(total, sum(size for key, size in sizes.items() if key not in seen))
        assert made.add(table(reads)) == (first, total - first)
        seen |= sizes.keys()


def test_beyond_what_it_remembers_it_estimates(monkeypatch):
    monkeypatch.setattr(touched, "_MOST", 1_000)
    monkeypatch.setattr(touched, "_FEWEST", 100)
    made = Touched()
    epoch = [table([(file, 0, PART) for file in range(begin, begin + 500)]) for begin in range(0, 20_000, 500)]
    new = sum(made.add(each)[0] for each in epoch)
    again = sum(made.add(each)[1] for each in epoch)
    assert len(made._known) <= 2_000
    assert new == pytest.approx(20_000 * PART, rel=0.2)
    assert again == pytest.approx(20_000 * PART, rel=0.2)
