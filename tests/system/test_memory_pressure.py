"""What holds back the memory of a process: the files of both versions of control groups, and a real group."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.control_groups import memory_group
from tiering.system.memory_pressure import MemoryCounts, MemoryGroup

PAGE = 4096


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = {
    "proc/7/cgroup": "0::/job/inner\n",
    "proc/self/mountinfo": "35 24 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    "sys/fs/cgroup/job/memory.max": "5000\n",
    "sys/fs/cgroup/job/memory.high": "4000\n",
    "sys/fs/cgroup/job/memory.current": "3900\n",
    "sys/fs/cgroup/job/memory.events": "low 0\nhigh 12\nmax 3\noom 0\n",
    "sys/fs/cgroup/job/inner/memory.max": "max\n",
    "sys/fs/cgroup/job/inner/memory.stat": "anon 1\nworkingset_refault_file 7\n",
    "sys/fs/cgroup/job/inner/memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull total=1\n",
}
V1 = {
    "proc/7/cgroup": "4:memory:/job\n0::/\n",
    "proc/self/mountinfo": "35 24 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "4000\n",
    "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "3900\n",
    "sys/fs/cgroup/memory/job/memory.failcnt": "15\n",
    "sys/fs/cgroup/memory/job/memory.stat": "workingset_refault_file 1\ntotal_workingset_refault_file 7\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n",
}
NO_GROUP = {"proc/vmstat": "nr_free_pages 5\nworkingset_refault_file 3\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (V2, MemoryCounts(4000, 3900, 15, 7 * PAGE, 2.5)),
        (V1, MemoryCounts(4000, 3900, 15, 7 * PAGE, 2.5)),
        (NO_GROUP, MemoryCounts(None, None, None, 3 * PAGE, None)),
        ({}, MemoryCounts(None, None, None, None, None)),
    ],
    ids=["version 2", "version 1", "no group", "nothing"],
)
def test_counts_come_from_the_tightest_group(tmp_path, files, expected):
    assert MemoryGroup(7, tree(tmp_path, files)).counts() == expected


def test_a_group_that_is_held_at_its_limit_says_so():
    with memory_group() as (prefix, hold):
        script = (
            "import sys; print(); sys.stdin.readline(); data = bytearray(30_000_000); print(); sys.stdin.readline()"
        )
        words = [*prefix, sys.executable, "-c", script]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            group = MemoryGroup(process.pid)
            free = group.counts()
            hold(60_000_000)
            held = group.counts()
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()
            full = group.counts()
            process.stdin.close()
    assert free.limit is None or held.limit < free.limit
    assert held.limit > 60_000_000
    assert full.used > held.used + 20_000_000
    assert full.limited is not None
