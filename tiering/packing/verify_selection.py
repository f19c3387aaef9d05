"""Verify the samples of a selection."""

from __future__ import annotations

import numpy as np

from tiering.arrays import row_parts
from tiering.errors import StoreError, command
from tiering.packing.decoding_check import Decoding
from tiering.packing.problems import Problems
from tiering.packing.sample_check import check_samples
from tiering.packing.verification import Verification
from tiering.progress import Progress
from tiering.store.selection import Selection


def verify_selection(selection: Selection, *, decode: bool, progress: Progress) -> Verification:
    """Check the CRC-32C of every sample of a selection, and nothing else of its store.

    Args:
        selection: A selection from a packed store.
        decode: Decode every image, too.
        progress: Called with the samples checked, all samples, and the bytes checked.

    Raises:
        StoreError: It selects from a directory of images.
    """
    whole, location = selection.origin, selection.location
    if whole.manifest.kind == "folder":
        raise StoreError(
            str(location), expected="a selection from a packed store", found="one from a directory of images",
            action=f"Pack it first: {command('tiering', 'convert', location)} STORE",
        )  # fmt: skip
    ends = np.cumsum([shard.samples for shard in whole.manifest.shards])
    problems, damaged, undecodable, checked = Problems(), set[int](), 0, 0
    with Decoding(whole) as decoding:
        for part in row_parts(len(selection), 1024):
            rows = selection.in_origin(part)
            shards = np.searchsorted(ends, rows, side="right")
            for shard in np.unique(shards).tolist():
                if not problems.add(check_samples(whole, rows[shards == shard], decoding if decode else None)):
                    damaged.add(shard)
            failing = decoding.taken()
            undecodable += len(failing)
            problems.add(failing)
            checked += int(selection.index.size[part].sum())
            progress(int(part[-1]) + 1, len(selection), checked)
    return Verification(
        store=str(location),
        samples=len(selection),
        image_bytes=checked,
        source=None,
        quick=False,
        problem_count=problems.count,
        problems=problems.kept,
        damaged=[whole.manifest.shards[shard].name for shard in sorted(damaged)],
        decoded=decode,
        undecodable=undecodable,
    )
