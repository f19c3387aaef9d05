"""Fields that are files beside images, where the files of a tree were only counted: their sizes, from a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from tiering.arrays import IndexArray
from tiering.dataset.distributions import Distribution, sampled_distribution
from tiering.dataset.estimates import FileSample
from tiering.dataset.field_counts import NUMBERS, FieldCounts, ProfiledField
from tiering.dataset.tree_reads import Tree
from tiering.sources.account import Ledger
from tiering.sources.sidecars import FieldNames

#: The most files that are looked up, of all fields together. In a bucket, each is a request.
_LOOKED_UP: Final = 20_000


def fields_of_suffixes(suffixes: Mapping[bytes, int]) -> list[ProfiledField]:
    """Return the fields that files beside images are. suffixes: number of files by what follows the image's key."""
    ledger, named = _named(suffixes)
    found = FieldCounts().found(ledger.fields.values())
    return [each.model_copy(update={"count": sum(suffixes[one] for one in named[each.name])}) for each in found]


def with_sizes(
    fields: list[ProfiledField], suffixes: Mapping[bytes, int], sample: FileSample, tree: Tree, seed: int
) -> list[ProfiledField]:
    """Return the fields with the sizes of their files, from those beside sampled images.

    Numbers in files stay without a distribution, as files are not read.

    Args:
        fields: As `fields_of_suffixes` returns them.
        suffixes: As above.
        sample: Images of the dataset.
        tree: Looks up sizes.
        seed: Of the choice among many sampled images.
    """
    _, named = _named(suffixes)
    lacking = [each for each in fields if each.name in named and each.kind not in NUMBERS]
    most = min(len(sample.key), _LOOKED_UP // max(1, sum(len(named[each.name]) for each in lacking)))
    rows = np.sort(np.random.default_rng(seed).choice(len(sample.key), most, replace=False))
    stems = [_stem(sample.key[row]) for row in rows.tolist()]
    found: dict[str, Distribution | None] = {}
    for field in lacking:
        sizes = np.stack([_sizes(stems, suffix, tree) for suffix in named[field.name]]).max(axis=0)
        there = sizes >= 0
        found[field.name] = sampled_distribution(sizes[there].astype(np.float64), sample.weight[rows][there])
    return [each.model_copy(update={"distribution": found.get(each.name)}) for each in fields]


def _named(suffixes: Mapping[bytes, int]) -> tuple[Ledger, dict[str, list[bytes]]]:
    """Return a ledger with the fields, and the suffixes of each."""
    ledger = Ledger()
    names = FieldNames(ledger)
    found: dict[str, list[bytes]] = {}
    for suffix in sorted(suffixes):
        if (name := names.name(suffix)) is not None:
            found.setdefault(name, []).append(suffix)
    return ledger, found


def _sizes(stems: Sequence[bytes], suffix: bytes, tree: Tree) -> IndexArray:
    """Return the sizes of the files of a suffix, which was counted in lower case; -1 where there is none."""
    sizes = tree.sizes([stem + suffix for stem in stems])
    return sizes if (sizes >= 0).any() else tree.sizes([stem + suffix.upper() for stem in stems])


def _stem(key: bytes) -> bytes:
    """Return what the names of files beside an image begin with: its key up to the last dot."""
    begin = key.rfind(b"/") + 1
    return key[:begin] + key[begin:].rpartition(b".")[0] + b"."
