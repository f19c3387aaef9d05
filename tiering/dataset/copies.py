"""Estimate how many files of a dataset are copies of another, from hashes of the contents of a sample."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from tiering.dataset.estimates import CONFIDENCE, EstimatedValue, FileSample
from tiering.dataset.tree_reads import Tree
from tiering.images.image import LARGEST_BYTES

#: Files of equal size are compared by this many bytes first, then as a whole.
_FIRST_BYTES = 4096


def copies(sample: FileSample, tree: Tree) -> EstimatedValue:
    """Estimate the share of images that are superfluous copies: all but one of each set of equal files.

    Only files of equal size are read: first their beginnings, then those with equal beginnings to the end.
    A complete sample gives an exact answer. Otherwise each pair of equal files in the sample represents as many pairs
    as the dataset has for one in the sample, and all pairs count as disjoint. The interval is that of a Poisson count
    (Garwood, Biometrika 28, 1936), cut at 1. A small sample of a large dataset seldom contains both files of a pair, so
    its interval is wide. Empty files and files too large for an image do not count.
    """
    groups = _equal(sample, tree)
    count = len(sample.key)
    if sample.complete:
        extra = sum(len(group) - 1 for group in groups)
        return EstimatedValue.known(extra / count if count else 0.0, count)
    from scipy import special  # noqa: PLC0415 - takes 0.1 s

    weight = sample.weight
    files = float(weight.sum())
    # The chance that two files are both in the sample is about the product of their chances.
    usual = (files * (files - 1)) / (count * (count - 1)) if count > 1 else files
    pairs = [weight[one] * weight[two] for group in groups for at, one in enumerate(group) for two in group[:at]]
    each = float(np.mean(pairs)) if pairs else usual
    tail = (1 - CONFIDENCE) / 2
    low = float(special.gammaincinv(len(pairs), tail)) if pairs else 0.0
    high = float(special.gammaincinv(len(pairs) + 1, 1 - tail))
    share, least, most = (min(1.0, number * each / files) for number in (len(pairs), low, high))
    return EstimatedValue(value=share, low=least, high=most, sample=count)


def _equal(sample: FileSample, tree: Tree) -> list[list[int]]:
    """Return the numbers of sampled files with equal contents, in groups of two or more."""
    groups = _split([list(range(len(sample.key)))], [int(size) for size in sample.size])
    groups = [group for group in groups if 0 < sample.size[group[0]] <= LARGEST_BYTES]
    for limit in (_FIRST_BYTES, None):
        numbers = [number for group in groups for number in group]
        digests = dict(zip(numbers, tree.digests([sample.key[number] for number in numbers], limit), strict=True))
        groups = [group for group in _split(groups, digests) if digests[group[0]]]
        if not groups or all(sample.size[group[0]] <= _FIRST_BYTES for group in groups):
            break
    return groups


def _split(groups: list[list[int]], value: dict[int, bytes] | list[int]) -> list[list[int]]:
    """Split groups by a value, and drop groups of one."""
    found: list[list[int]] = []
    for group in groups:
        parts: defaultdict[bytes | int, list[int]] = defaultdict(list)
        for number in group:
            parts[value[number]].append(number)
        found += [part for part in parts.values() if len(part) > 1]
    return found
