"""The figures of a profile that may be uncertain, with their intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from tiering.arrays import MaskArray
from tiering.dataset.copies import copies
from tiering.dataset.estimates import EstimatedValue, mean, share
from tiering.dataset.header_reads import Seen
from tiering.dataset.totals import Gathered
from tiering.images.image import ImageHeader
from tiering.sources.left_out import BY_CONTENT, FIELD_FILES

#: The most shapes that a profile names.
MAX_SHAPES: Final = 20


def estimates_of(
    found: Gathered, seen: Sequence[Seen], whole: MaskArray, labels: dict[str, int]
) -> dict[str, EstimatedValue]:
    """Return every figure that may be uncertain, with its interval.

    seen: the results for the sampled images. whole: bool (n,), which of these are complete images. labels: how many
    images have each label.
    """
    sample = found.sample
    size_mean = EstimatedValue.known(found.size.value / found.files.value, found.files.sample)
    if found.sampled:
        size_mean = mean(sample, sample.size.astype(np.float64))
    damaged = share(sample, ~whole)
    if found.failed is not None:
        damaged = EstimatedValue.known(found.failed.count() / found.files.value, round(found.files.value))
    pixels = np.array([3.0 * header.width * header.height if isinstance(header, ImageHeader) else 0 for header in seen])
    estimates = {"files": found.files, "bytes": found.size, "size_mean": size_mean}
    if labels:
        estimates |= _label_estimates(found, labels)
    estimates |= {
        "damaged_share": damaged,
        "duplicate_share": copies(sample, found.tree),
        "pixel_bytes_mean": mean(sample, pixels, whole),
    }
    no_kinds = {BY_CONTENT: "images by content", FIELD_FILES: FIELD_FILES}
    estimates |= {no_kinds.get(kind, f"left out {kind}"): count for kind, count in found.others.items()}
    for word, name_of in (
        ("format", lambda header: header.format),
        ("mode", lambda header: header.mode),
        ("shape", lambda header: f"{header.width}x{header.height}"),
    ):
        names = np.array([name_of(header) if isinstance(header, ImageHeader) else "" for header in seen])
        for name, _ in Counter(names[whole].tolist()).most_common(MAX_SHAPES):
            estimates[f"{word} {name}"] = share(sample, names == name, whole)
    return estimates


def _label_estimates(found: Gathered, labels: dict[str, int]) -> dict[str, EstimatedValue]:
    count = len(labels)
    if not found.sampled:
        numbers = np.array(list(labels.values()), np.float64)
        unequal = float(count * (numbers**2).sum() / numbers.sum() ** 2)
        return {"labels": EstimatedValue.known(count, count), "label_imbalance": EstimatedValue.known(unequal, count)}
    estimates = {}
    # Only listed directories are known to contain images.
    if found.filled is not None:
        ends = {name: getattr(found.filled, name) * count for name in ("value", "low", "high")}
        estimates["labels"] = EstimatedValue(**ends, sample=found.filled.sample)
    if found.imbalance is not None and count == len(found.folders):
        estimates["label_imbalance"] = found.imbalance
    return estimates
