"""The ground truth: the kind of workload of a whole run, from the bytes that it moved."""

from __future__ import annotations

from typing import Literal

Workload = Literal["re-read-heavy", "write-heavy", "read-once", "mixed"]

#: The kinds of workload, in the order of probabilities.
WORKLOADS: tuple[Workload, ...] = ("re-read-heavy", "write-heavy", "read-once", "mixed")

#: A clear majority of all bytes decides: on any tier, most of the work is of this kind. Closer to a half, neither kind
#: can be neglected, and the run is mixed.
MAJORITY = 0.6

#: A run with up to a quarter of writes and repeats is still best served as a single pass.
SINGLE_PASS = 0.75


def label(bytes_read: int, bytes_written: int, bytes_reread: int) -> Workload:
    """Return the workload of a whole run.

    bytes_read, bytes_written: bytes moved. bytes_reread: the part of bytes_read that the same job had read before. With
    S = bytes_read + bytes_written:

    - re-read-heavy: bytes_reread > 0.6 S
    - write-heavy: bytes_written > 0.6 S
    - read-once: bytes_read - bytes_reread > 0.75 S
    - mixed: everything else, including a run that moved nothing

    Repeats are compared with all bytes, not with reads: an HPC code may re-read nearly all of the little that it reads
    while it writes a hundred times as much. E epochs over one dataset have a re-read share of 1 - 1/E, so training
    needs three epochs to count. Raises ValueError for a negative count, or for more bytes re-read than read.
    """
    if min(bytes_read, bytes_written, bytes_reread) < 0:
        raise ValueError(f"bytes must not be negative: {bytes_read}, {bytes_written}, {bytes_reread}")
    if bytes_reread > bytes_read:
        raise ValueError(f"{bytes_reread} bytes re-read, but only {bytes_read} read")
    total = bytes_read + bytes_written
    if bytes_reread > MAJORITY * total:
        return "re-read-heavy"
    if bytes_written > MAJORITY * total:
        return "write-heavy"
    if bytes_read - bytes_reread > SINGLE_PASS * total:
        return "read-once"
    return "mixed"
