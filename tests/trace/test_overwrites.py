"""Bytes that were overwritten since they were last read are new to a reader."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.overwrites import Accesses, ReadHistory
from tiering.trace.profile import profile_events


def profile(*events):
    """Profile events as (op, file, offset, size)."""
    rows = [
        (float(time), op, file, offset, size, 1, 1, None, f"/scratch/{file}", None)
        for time, (op, file, offset, size) in enumerate(events)
    ]
    return profile_events([pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row")])


def test_a_scratch_file_that_is_written_again_before_each_pair_of_reads_is_read_again_once_a_pair():
    scratch = [("write", 1, 0, 1000), ("read", 1, 0, 1000), ("read", 1, 0, 1000)] * 20
    found = profile(*scratch)
    assert found.bytes_reread == 20_000
    assert abs(found.reread_share - 1 / 3) < 1e-9
    assert found.unique_bytes_read == 1000


def test_only_the_bytes_that_were_overwritten_are_new():
    found = profile(("read", 1, 0, 1000), ("write", 1, 200, 300), ("read", 1, 0, 1000))
    assert found.bytes_reread == 700
    assert found.bytes_shared == 0


def test_a_write_changes_nothing_of_another_file_and_nothing_that_was_not_read():
    found = profile(("read", 1, 0, 1000), ("write", 2, 0, 1000), ("write", 1, 5000, 10), ("read", 1, 0, 1000))
    assert found.bytes_reread == 1000


def test_a_file_that_another_was_renamed_over_is_new():
    found = profile(("read", 1, 0, 1000), ("write", 2, 0, 1000), ("rename", 2, None, 0), ("rename", 1, None, 0))
    again = profile(
        ("read", 1, 0, 1000),
        ("write", 2, 0, 1000),
        ("rename", 2, None, 0),
        ("rename", 1, None, 0),
        ("read", 1, 0, 1000),
    )
    assert (found.bytes_reread, again.bytes_reread) == (0, 0)
    assert again.unique_bytes_read == 1000


def counted(rows):
    """Count bytes one by one: new to the group that reads them, new to all, and places ever read."""
    version, seen, known, places = {}, set(), set(), set()
    first = content = 0
    for file, group, start, end, writes in rows:
        for byte in range(start, end):
            at = (file, byte)
            if writes:
                version[at] = version.get(at, 0) + 1
                continue
            places.add(at)
            first += (at, version.get(at, 0), group) not in seen
            content += (at, version.get(at, 0)) not in known
            seen.add((at, version.get(at, 0), group))
            known.add((at, version.get(at, 0)))
    return first, content, len(places)


accesses = st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 30), st.integers(0, 12), st.booleans())


@settings(max_examples=examples(100))
@given(drawn=st.lists(accesses, max_size=40), step=st.integers(1, 40), piece=st.sampled_from([1 << 21, 5]))
def test_every_byte_is_counted_as_one_by_one(drawn, step, piece):
    rows = [(file, group, start, start + size, writes) for file, group, start, size, writes in drawn]
    found = ReadHistory()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiering.trace.overwrites._FEWEST", 7)
        patch.setattr("tiering.trace.overwrites._SLICE", piece)
        for at in range(0, len(rows), step):
            found.add(_accesses(rows[at : at + step]))
        places = found.ranges_read()
        assert (found.first_reads(), found.new_content(), int((places.end - places.start).sum())) == counted(rows)


def test_a_job_that_appends_and_reads_the_whole_file_again_costs_the_same_at_every_step():
    """In pieces, the n-th read covers n of them: these 60,000 accesses would take minutes."""
    count, block = 30_000, 4096
    ends = np.arange(1, count + 1) * block
    starts = np.where(np.arange(2 * count) % 2 == 0, np.repeat(ends - block, 2), 0)
    rows = Accesses(
        file=np.full(2 * count, 7, np.uint64), group=np.ones(2 * count, np.int32), start=starts,
        end=np.repeat(ends, 2), writes=np.arange(2 * count) % 2 == 0,
    )  # fmt: skip
    found, began = ReadHistory(), time.process_time()
    found.add(rows)
    assert found.first_reads() == found.new_content() == count * block
    assert time.process_time() - began < 10


def _accesses(rows):
    kinds = (np.uint64, np.int32, np.int64, np.int64, np.bool_)
    return Accesses(*(np.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)))
