"""The bandwidth of the device below some files: random direct reads, many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np

from tiering.arrays import IndexArray
from tiering.system.direct_reads import Target, opened_direct, read_at_once

#: As fio's rw=randread, bs=128k, iodepth=32, direct=1, ioengine=libaio.
REQUEST: Final = 128 << 10
DEPTH: Final = 32

#: Files that are opened; a device reads no faster for more of them.
_OPEN: Final = 256


def random_read_bandwidth(files: Sequence[Path], seconds: float = 1.0) -> float | None:
    """Measure random reads of REQUEST bytes past the page cache, DEPTH of them at a time.

    files: to read in; those shorter than a request are left out. seconds: how long to measure.
    Returns bytes/s, or None where it cannot be measured: no file is long enough, the file system has no direct reads
    (tmpfs), or the system is not Linux on x86-64 or ARM64.
    """
    long = [(path, count) for path in files if (count := path.stat().st_size // REQUEST)][:_OPEN]
    if not long:
        return None
    with ExitStack() as stack:
        try:
            opened = np.array([stack.enter_context(opened_direct(path)) for path, _ in long])
            return read_at_once(
                _drawn(opened, np.array([count for _, count in long])), REQUEST, DEPTH, seconds
            ).bandwidth
        except OSError:
            return None


def _drawn(opened: IndexArray, counts: IndexArray) -> Iterator[Target]:
    """Yield random requests without end. opened: files; counts: requests that fit into each file."""
    ends, generator = np.cumsum(counts), np.random.default_rng(0)
    while True:
        picks = generator.integers(0, ends[-1], 1024)
        files = np.searchsorted(ends, picks, side="right")
        offsets = (picks - (ends - counts)[files]) * REQUEST
        yield from zip(opened[files].tolist(), offsets.tolist(), strict=True)
