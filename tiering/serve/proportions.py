"""Proportions: which store has each position of an epoch, so that every batch holds each store's share.

An epoch takes a number of samples from each store, its count. The schedule deals them to batches of all ranks. In n
batches of B samples, a store with the count m has q = m / n samples a batch. Every batch takes the whole part of q.
What remains are the fractions: in each batch, some stores get one more seat, as many as the batch has left.

Who gets one is decided by systematic sampling (Madow, Annals of Mathematical Statistics 20, 1949). The fractions of all
stores lie one after another on a line. A batch has a point u in [0, 1), and the stores at u, u + 1, u + 2 and so on get
a seat. So each count in a batch is q rounded down or up, and they add up to B.

The points of successive batches must hit each part of [0, 1) evenly. The ends of the stores' fractions cut [0, 1) into
at most K atoms for K stores, and only the atom of a point matters. A binary tree over the atoms draws it. A node splits
its occurrences in two: the left child has had floor(p x + phase) of the first p, where x is its share of the node.

Bounds, of the number of a store's samples against the exact share of its count:

- In a batch: less than 1 off, as above.
- In any number of consecutive batches of one rank: floor(a + b) - floor(a) differs from b by less than 1, so the left
  child is less than 1 off its share of the node's occurrences. If the node itself is d off, the samples left of a point
  inside a child are less than d' + 1 off, where d' is the bound of that child: each level of the tree adds less than 1.
  The samples of a store lie between two ends, so they are less than 2 ceil(log2 K) off. With two stores, one end is 0
  and the bound is 1. It does not grow with the number of batches.
- In any number of consecutive steps of all W ranks: at the root, rank r has the phase (r + c) / W, and the sum over r
  of floor(y + r / W) is floor(W y) (Hermite's identity). So two stores are less than 1 off in all batches of all ranks
  together. More stores are less than W times the bound of a rank off.

After each step of all ranks, the samples that a store has given are its first ones. So other ranks, or batches of
another size, can go on with the rest of an epoch by a schedule of their own, with the same bounds.

All arithmetic is in integers. Everything about a position follows from its number: nothing is kept for each sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray
from tiering.store.apportionment import apportioned

#: Products of two numbers of batches of a rank and the number of ranks must fit into 64 bits.
_MOST: Final = 1 << 62

#: Batches of all ranks that are looked at together.
_BATCHES: Final = 1 << 16


class Proportions:
    """The schedule of one epoch.

    The epoch is cut into whole steps, in which every rank has a full batch; the last batches of all ranks, which are
    shorter; and the samples that are left over, fewer than there are ranks. Each part is a schedule of its own.

    Args:
        counts: Samples of each store in the epoch.
        weights: Their shares in the whole steps; the end of the epoch takes what the counts leave.
        batch_size: Samples in a batch of one rank.
        ranks: Number of ranks. Position p belongs to rank p % ranks.
        phase: Any integer from 0: where the schedule starts.
        begin: First position of the schedule: 0, or where an epoch is continued with other batches or ranks.
        given: Samples of each store before that position, which `counts` contain; by default none.

    Raises:
        ValueError: For more batches than the arithmetic allows.
    """

    def __init__(
        self,
        counts: Sequence[int],
        weights: Sequence[int] | Sequence[Fraction],
        batch_size: int,
        ranks: int,
        phase: int = 0,
        begin: int = 0,
        given: Sequence[int] = (),
    ) -> None:
        given = list(given) or [0] * len(counts)
        left = [one - other for one, other in zip(counts, given, strict=True)]
        total = sum(left)
        self._counts, self._end = list(counts), begin + total
        self._parts: list[_Part] = []
        steps = total // (batch_size * ranks)
        last = (total - steps * batch_size * ranks) // ranks
        for steps_, size, width in ((steps, batch_size, ranks), (1, last, ranks), (1, 1, total % ranks)):
            samples = steps_ * size * width
            if samples == 0:
                continue
            if steps_ * steps_ * width >= _MOST:
                raise ValueError(f"an epoch of a mixture has at most 2**31 batches, got {steps_ * width:,}")
            taken = apportioned(samples, weights, left)
            self._parts.append(_Part(begin, steps_, size, width, taken, given, phase))
            begin += samples
            left = [one - other for one, other in zip(left, taken, strict=True)]
            given = [one + other for one, other in zip(given, taken, strict=True)]
        self._begins = np.array([part.begin for part in self._parts], dtype=np.int64)

    def at(self, positions: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return the store of each position, and the number of its sample in that store, int64 (k,) each.

        A store's numbers are 0, 1, 2 and so on, each once in the epoch. Those of a step of all ranks are higher than
        those of the steps before.
        """
        store, number = np.empty_like(positions), np.empty_like(positions)
        part_of = np.searchsorted(self._begins, positions, side="right") - 1
        for at in np.unique(part_of).tolist():
            chosen = np.flatnonzero(part_of == at)
            store[chosen], number[chosen] = self._parts[at].at(positions[chosen])
        return store, number

    def given_before(self, position: int) -> list[int] | None:
        """Return the samples of each store before a position, between two steps of all ranks; None within a step."""
        if position >= self._end:
            return self._counts if position == self._end else None
        part = self._parts[int(np.searchsorted(self._begins, position, side="right")) - 1]
        return part.given_before(position)


class _Part:
    """Some steps of an epoch, in which every rank has a batch of the same size.

    Args:
        begin: First position.
        steps: Number of steps, T.
        size: Samples in a batch.
        ranks: Number of ranks, W.
        counts: Samples of each store in these steps.
        given: Samples of each store in the steps before.
        phase: Where the schedule starts.
    """

    def __init__(
        self, begin: int, steps: int, size: int, ranks: int, counts: list[int], given: list[int], phase: int
    ) -> None:
        self.begin = begin
        self._steps, self._size, self._ranks, self._phase = steps, size, ranks, phase
        self._given = np.array(given, dtype=np.int64)
        batches = steps * ranks
        #: What every batch has of each store.
        self._whole, rest = np.divmod(np.array(counts, dtype=np.int64), batches)
        ends = np.cumsum([0, *rest.tolist()])
        self._atoms = np.append(np.unique(ends % batches), batches)
        offset = (self._atoms[:-1, None] - ends[None, :-1]) % batches
        #: Whether a store gets a seat, (atoms, K).
        self._member = (offset < rest).astype(np.int64)
        # Neighbouring slots of a batch belong to different stores: the stride is near the golden section.
        self._stride = next(
            stride for stride in range(max(1, round(size * 0.618)), 2 * size + 2) if math.gcd(stride, size) == 1
        )

    def at(self, positions: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return the store of each position, and the number of its sample, as Proportions.at does."""
        step, inside = np.divmod(positions - self.begin, self._size * self._ranks)
        steps, of = np.unique(step, return_inverse=True)
        store, number = np.empty_like(positions), np.empty_like(positions)
        at_once = max(1, _BATCHES // self._ranks)
        for first in range(0, len(steps), at_once):
            chosen = np.flatnonzero((of >= first) & (of < first + at_once)) if len(steps) > at_once else slice(None)
            part = of[chosen] - first
            store[chosen], number[chosen] = self._in_steps(steps[first : first + at_once], part, inside[chosen])
        return store, number

    def given_before(self, position: int) -> list[int] | None:
        """Return the samples of each store before a position, as Proportions.given_before does."""
        step, within = divmod(position - self.begin, self._size * self._ranks)
        if within:
            return None
        given, _ = self._dealt(np.array([step], dtype=np.int64))
        return [int(each) for each in given[0]]

    def _in_steps(self, steps: IndexArray, of: IndexArray, inside: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return stores and numbers of positions. of: at which of the steps; inside: in the step, (k,) each."""
        slot, rank = np.divmod(inside, self._ranks)
        given, taken = self._dealt(steps)
        before = np.cumsum(taken, axis=1) - taken + given[:, None]
        ends = np.cumsum(taken[of, rank], axis=1)
        # The samples of a batch lie in the order of the stores; slots take them with a stride.
        nth = (slot + steps[of] * self._ranks + rank) % self._size * self._stride % self._size
        store = (ends <= nth[:, None]).sum(axis=1)
        begins = ends[np.arange(len(of)), store] - taken[of, rank, store]
        return store, before[of, rank, store] + nth - begins

    def _dealt(self, steps: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return the samples of each store before steps, (k, K), and those in each batch of them, (k, ranks, K)."""
        step = np.repeat(steps, self._ranks)
        rank = np.tile(np.arange(self._ranks, dtype=np.int64), len(steps))
        had = np.empty((len(self._atoms) - 1, len(step)), dtype=np.int64)
        atom = np.zeros(len(step), dtype=np.int64)
        for at, before, here in self._walked(step, rank):
            had[at] = before
            atom[here] = at
        shape = len(steps), self._ranks, len(self._whole)
        seats = (had.T @ self._member).reshape(shape).sum(axis=1)
        given = self._given + steps[:, None] * (self._whole * self._ranks) + seats
        return given, self._whole + self._member[atom].reshape(shape)

    def _walked(self, step: IndexArray, rank: IndexArray) -> Iterator[tuple[int, IndexArray, npt.NDArray[np.bool_]]]:
        """Yield each atom, how often it came before a batch, and whether it is the atom of the batch, (k,) each."""
        nodes = [(0, len(self._atoms) - 1, step, np.ones(len(step), dtype=np.bool_))]
        while nodes:
            first, end, times, here = nodes.pop()
            if end - first == 1:
                yield first, times, here
                continue
            middle = (first + end) // 2
            left = self._left(first, middle, end, times, rank)
            goes_left = self._left(first, middle, end, times + 1, rank) > left
            nodes.append((middle, end, times - left, here & ~goes_left))
            nodes.append((first, middle, left, here & goes_left))

    def _left(self, first: int, middle: int, end: int, times: IndexArray, rank: IndexArray) -> IndexArray:
        """Return how many of the first `times` occurrences of a node go to its left child."""
        steps, ranks = self._steps, self._ranks
        if first == 0 and end == len(self._atoms) - 1:
            share, whole = self._atoms[middle], steps * ranks
            phase = rank * steps + self._phase % steps
        else:
            # How often each atom comes at a rank: the atoms are dealt to the ranks in turn, as the root deals them.
            begin, left, all_ = ((self._atoms[at] + rank) // ranks for at in (first, middle, end))
            share, whole = left - begin, np.maximum(all_ - begin, 1)
            phase = (self._phase + rank * whole // ranks) % whole
        found: IndexArray = (times * share + phase) // whole
        return found
