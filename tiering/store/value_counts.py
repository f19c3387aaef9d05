"""Value counts: how many samples of a store are in each class or split."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np

from tiering.arrays import row_parts
from tiering.store.protocol import Store


def value_counts(store: Store, column: Literal["label", "split"]) -> dict[str, int]:
    """Return how many samples of a store have each class or split, the most frequent first; "none" for those without.

    Args:
        store: Any store.
        column: Which of the two to count.
    """
    manifest = store.manifest
    names = manifest.classes if column == "label" else dict(enumerate(manifest.splits))
    counts = Counter[str]()
    for number, count in number_counts(store, column).items():
        counts[names.get(number, "none")] += count
    return dict(counts.most_common())


def number_counts(store: Store, column: Literal["label", "split"]) -> Counter[int]:
    """Return how many samples have each number of a class or split, -1 for none. The arguments are as above."""
    counts = Counter[int]()
    for part in row_parts(len(store), 1 << 20):
        numbers, times = np.unique(getattr(store.index, column)[part], return_counts=True)
        counts.update(dict(zip(numbers.tolist(), times.tolist(), strict=True)))
    return counts
