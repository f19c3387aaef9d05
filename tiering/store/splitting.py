"""Splitting: divides the rows of a store at random into parts of given shares.

Without groups, the samples are dealt in the order of a keyed permutation: in each class, the first ones belong to the
first part, the next ones to the second, and so on. So one pass and one byte a sample are enough. Groups are dealt in
the order of a keyed hash of their value (tiering.store.value_hashes).
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tiering.arrays import AnyArray, IndexArray, row_parts
from tiering.errors import UsageError
from tiering.permutation import EpochOrder
from tiering.store.apportionment import apportioned
from tiering.store.rows import Rows, flagged
from tiering.store.value_hashes import hashed_values
from tiering.units import counted, format_number

if TYPE_CHECKING:
    from tiering.store.protocol import Store

#: More parts do not fit into a byte. More strata than this are no classes.
_MOST_PARTS: Final = 250
_MOST_STRATA: Final = 1 << 17

#: How far the shares may be from 1 together, such as three times 0.333333.
_ROUNDED: Final = Fraction(1, 10**5)

#: Samples dealt at once.
_DEALT: Final = 1 << 20

_PartOf = npt.NDArray[np.uint8]
_Strata = npt.NDArray[np.unsignedinteger[Any]]


def divided_rows(
    store: Store, shares: Mapping[str, Any], seed: int, stratify: str | None, group: str | None
) -> dict[str, Rows]:
    """Return the rows of each part by its name, as Selectable.split describes them.

    Takes 3 bytes of memory a sample beside the rows; 11 to stratify by another field than label or split, and up to 32
    with `group`.
    """
    exact = _exact(shares)
    strata = _strata(store, stratify) if stratify is not None else None
    if group is None:
        counts = [len(store)] if strata is None else np.bincount(strata).tolist()
        part_of = _dealt(len(store), strata, quotas(counts, exact), seed)
    else:
        part_of = _dealt_groups(hashed_values(store, group, "group", seed=seed), strata, exact)
    sizes = np.bincount(part_of, minlength=len(exact)).tolist()
    empty = [name for name, size in zip(shares, sizes, strict=True) if not size]
    if empty:
        raise UsageError(
            "shares", found=f"no sample is left for {', '.join(empty)}",
            action=f"The store has {counted(len(store), 'sample')}: take fewer parts, or larger shares.",
        )  # fmt: skip
    return {name: flagged(part_of == number, sizes[number]) for number, name in enumerate(shares)}


def quotas(counts: list[int], shares: list[Fraction]) -> IndexArray:
    """Return how many samples of each stratum belong to each part: int64 (strata, parts).

    Every stratum is divided completely. The total of each part is its share of all samples, rounded by largest
    remainder; each entry is its exact share, rounded down or up. Where no table does both, as may happen with more than
    three parts, some entries are rounded up by two. First everything is rounded down. Then each part in turn takes its
    missing samples from the strata that have most left over, first those with the largest remainder (Gale, "A theorem
    on flows in networks", Pacific Journal of Mathematics 7, 1957, section 3).

    Args:
        counts: Samples of each stratum.
        shares: The share of each part, together 1.

    Example:
        >>> quotas([10, 5], [Fraction(1, 2), Fraction(1, 2)]).tolist()
        [[5, 5], [3, 2]]
    """
    totals = apportioned(sum(counts), shares)
    table = np.array([[count * share // 1 for share in shares] for count in counts], dtype=np.int64)
    remainder = np.array([[float(count * share % 1) for share in shares] for count in counts])
    lacking = np.array(totals) - table.sum(axis=0)
    left = np.array(counts) - table.sum(axis=1)
    while left.any():
        for part in range(len(shares)):
            best = np.lexsort((-remainder[:, part], -left))[: int(lacking[part])]
            best = best[left[best] > 0]
            table[best, part] += 1
            left[best] -= 1
            lacking[part] -= len(best)
    return table


def _exact(shares: Mapping[str, Any]) -> list[Fraction]:
    """Return shares as fractions that are together exactly 1: 0.1 as one tenth."""
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) and each > 0 for each in shares.values())
    if not numbers or not 1 <= len(shares) <= _MOST_PARTS:
        raise UsageError(
            "shares", rule=f"must be from 1 to {_MOST_PARTS} shares above 0, such as train=0.9, val=0.1",
            found=reprlib.repr(dict(shares)),
        )  # fmt: skip
    found = [Fraction(repr(float(each))).limit_denominator(10**6) for each in shares.values()]
    total = sum(found, Fraction())
    if abs(total - 1) > _ROUNDED:
        raise UsageError("shares", rule="must add up to 1", found=format_number(float(total), 6))
    return [each / total for each in found]


def _strata(store: Store, name: str) -> _Strata:
    """Return the number of the stratum of each sample, from 0. Samples without a value are a stratum, too."""
    # Classes and splits are numbers already. Other values become hashes, which a stratum does not depend on.
    numbered = name in {"label", "split"}
    values = getattr(store.index, name) if numbered else hashed_values(store, name, "stratify", seed=0)
    known: AnyArray = np.empty(0, dtype=values.dtype)
    for part in row_parts(len(store), _DEALT):
        known = np.union1d(known, values[part])
        if len(known) > _MOST_STRATA:
            raise UsageError("stratify", found=f"the field {name} has more than {_MOST_STRATA:,} different values")
    # NumPy sorts numbers of 16 bits six times as fast as longer ones.
    found: _Strata = np.empty(len(store), dtype=np.uint16 if len(known) <= 1 << 16 else np.uint32)
    for part in row_parts(len(store), _DEALT):
        found[part] = np.searchsorted(known, values[part])
    return found


def _dealt(samples: int, strata: _Strata | None, table: IndexArray, seed: int) -> _PartOf:
    """Return the number of the part of each sample, uint8 (samples,)."""
    order = EpochOrder(samples, seed, stream="split")
    if strata is None:
        return _dealt_at_once(order, table[0])
    ends = np.cumsum(table, axis=1)[:, :-1]
    part_of = np.empty(samples, dtype=np.uint8)
    dealt = np.zeros(len(table), dtype=np.int64)
    for begin in range(0, samples, _DEALT):
        at = order.take(begin, min(begin + _DEALT, samples))
        here = strata[at]
        part_of[at] = (_nth(here, dealt)[:, None] >= ends[here]).sum(axis=1)
    return part_of


def _dealt_at_once(order: EpochOrder, sizes: IndexArray) -> _PartOf:
    """Return the number of the part of each sample: the first ones of the order belong to the first part, and so on."""
    largest = int(np.argmax(sizes))
    part_of = np.full(len(order), largest, dtype=np.uint8)
    ends = np.cumsum(sizes).tolist()
    for part, (begin, end) in enumerate(pairwise([0, *ends])):
        for first in () if part == largest else range(begin, end, _DEALT):
            part_of[order.take(first, min(first + _DEALT, end))] = part
    return part_of


def _nth(strata: _Strata, dealt: IndexArray) -> IndexArray:
    """Return how many samples of its stratum come before each sample, and count these samples in `dealt`."""
    by_stratum = np.argsort(strata, kind="stable")
    counts = np.bincount(strata, minlength=len(dealt))
    first = np.cumsum(counts) - counts
    nth = np.empty(len(strata), dtype=np.int64)
    nth[by_stratum] = np.arange(len(strata)) - (first - dealt)[strata[by_stratum]]
    dealt += counts
    return nth


def _dealt_groups(values: npt.NDArray[np.uint64], strata: _Strata | None, shares: list[Fraction]) -> _PartOf:
    """Return the number of the part of each sample, uint8 (n,).

    In each stratum, the groups are laid end to end in the order of their hashes and cut where the shares end, at the
    nearest boundary between groups. What one stratum has too much or too little is carried to the next one.
    """
    hashes, sizes = np.unique(values, return_counts=True)
    part_of_group = np.zeros(len(hashes), dtype=np.uint8)
    stratum_of = np.zeros(len(hashes), dtype=np.int64) if strata is None else _majority(values, hashes, strata)
    carried = np.zeros(len(shares), dtype=np.float64)
    wanted = np.array([float(share) for share in shares])
    for stratum in np.unique(stratum_of).tolist():
        members = np.flatnonzero(stratum_of == stratum)
        ends = np.concatenate([[0], np.cumsum(sizes[members])])
        targets = np.cumsum(wanted * ends[-1] + carried)[:-1]
        after = np.clip(np.searchsorted(ends, targets), 1, len(ends) - 1)
        cuts = np.where(targets - ends[after - 1] < ends[after] - targets, after - 1, after)
        cuts = np.maximum.accumulate(cuts)
        part_of_group[members] = np.searchsorted(cuts, np.arange(len(members)), side="right")
        got = np.diff(ends[np.concatenate([[0], cuts, [len(members)]])])
        carried += wanted * ends[-1] - got
    part_of = np.empty(len(values), dtype=np.uint8)
    for part in row_parts(len(values), _DEALT):
        part_of[part] = part_of_group[np.searchsorted(hashes, values[part])]
    return part_of


def _majority(values: npt.NDArray[np.uint64], hashes: npt.NDArray[np.uint64], strata: _Strata) -> IndexArray:
    """Return the stratum that most samples of each group have, int64 (groups,); of equally many, the first one."""
    several = int(strata.max()) + 1
    pairs = np.searchsorted(hashes, values) * several + strata
    pairs, counts = np.unique(pairs, return_counts=True)
    group, stratum = np.divmod(pairs, several)
    best = np.lexsort((stratum, -counts, group))
    firsts = np.flatnonzero(np.diff(group[best], prepend=-1))
    found: IndexArray = stratum[best][firsts]
    return found
