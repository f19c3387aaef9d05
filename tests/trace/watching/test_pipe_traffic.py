"""What workers send their parent is left out only where both counts agree, and a pipe leads from one to the other."""

from __future__ import annotations

import os
import subprocess

import pytest

from tiering.system.process_files import NO_COUNTERS, stat_of
from tiering.system.process_tree import TreeLook
from tiering.trace.watching.pipe_traffic import PipeTraffic
from tiering.trace.watching.source import Look

MB = 1_000_000
#: B that a worker sends and that its parent reads, look by look.
EQUAL = [(10 * MB, 10 * MB), (5 * MB, 5 * MB)]


@pytest.fixture(params=[subprocess.PIPE, subprocess.DEVNULL], ids=["pipe", "no pipe"])
def looks(request):
    """Return what looks at this process and a child of it leave of their counts: bytes read by it, written by both."""
    with subprocess.Popen(["sleep", "60"], stdout=request.param) as child:
        me = os.getpid()
        alive = {pid: stat_of(pid) for pid in (me, child.pid)}
        traffic = PipeTraffic()

        def left(sent, read, *, written=0, to_files=0, ended=False):
            counts = {
                me: NO_COUNTERS._replace(bytes_read=read, bytes_written=written),
                child.pid: NO_COUNTERS._replace(bytes_written=sent + to_files, device_written=to_files),
            }
            gone = (alive[child.pid],) if ended else ()
            there = {me: alive[me]} if ended else alive
            if ended:
                del counts[child.pid]
            found = traffic.without(Look(0.0, 1.0, TreeLook(there, (), gone), counts, me))
            return found[me].bytes_read, sum(count.bytes_written for count in found.values())

        yield request.param == subprocess.PIPE, left
        child.kill()


def test_what_both_count_is_left_out_and_files_are_not(looks):
    is_pipe, left = looks
    for sent, read in EQUAL:
        assert left(sent, read, to_files=3 * MB) == ((0, 3 * MB) if is_pipe else (read, sent + 3 * MB))
    # Some stays in the pipe until the next look; and now the parent reads something else, too.
    if is_pipe:
        assert left(4 * MB, 4 * MB - 50_000) == (0, 0)
        assert left(4 * MB, 4 * MB + 50_000 + 2 * MB) == (2 * MB, 0)
        # What a worker did last is counted of its parent once it has ended: it had read 1 MB, and sent half of it.
        assert left(0, 1_500_000, written=500_000, ended=True) == (MB, 0)


def test_a_parent_that_reads_something_else_keeps_its_counts(looks):
    _, left = looks
    for read in (2 * MB, 30 * MB, 0):
        assert left(10 * MB, read) == (read, 10 * MB)


def test_one_look_at_which_both_are_equal_by_chance_does_not_count_for_long(looks):
    _, left = looks
    left(10 * MB, 10 * MB)
    left(10 * MB, 20 * MB)
    assert left(10 * MB, 20 * MB) == (20 * MB, 10 * MB)
