"""Weights: epochs in which samples are drawn by weight, such as class-balanced ones.

With replacement, each position draws a sample on its own. The cumulative weights of all samples would take 8 bytes a
sample. Only those of blocks of 16 samples are kept, half a byte a sample: a draw finds its block, and then adds up the
weights inside it, which are read from the store's columns.

Without replacement, samples are sorted by random keys, an exponential random number over the weight of each: the
smallest key is sample i's with a probability proportional to its weight, and so on with the rest (Efraimidis and
Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 97, 2006). The sorted samples are
kept for an epoch, 8 bytes each.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tiering.arrays import AnyArray, FloatArray, IndexArray, row_parts
from tiering.errors import UsageError
from tiering.permutation import EpochNumbers
from tiering.serve.sampling import EpochSetting, RepeatingOrder, SamplingBase
from tiering.store.protocol import Store
from tiering.store.value_counts import number_counts
from tiering.units import counted, format_number

#: By what samples are drawn: "balanced", the name of a field of numbers, or a number for each sample.
Weighting = str | npt.ArrayLike

#: Samples whose weights are added up together.
_BLOCK: Final = 16

#: Samples that may be tried in place of one that cannot be decoded.
_STAND_INS: Final = 20

_LN2: Final = math.log(2)


class Weights(SamplingBase):
    """A sampling by weight.

    Args:
        store: The store that is sampled.
        weights: "balanced" draws every class equally often. Otherwise the name of a field of numbers, or an array
            float (n,) with the weight of each sample. Weights are at least 0; a sample of weight 0 is never drawn.
        replacement: Whether a sample may be drawn more than once in an epoch.

    Raises:
        UsageError: The store has no classes, no such field, or no weight above 0; or the array has another length.
    """

    def __init__(self, store: Store, weights: Weighting, *, replacement: bool = True) -> None:
        self._samples, self._replacement = len(store), replacement
        self._of = _weight_function(store, weights)
        digest = hashlib.sha256()
        blocks: list[FloatArray] = []
        positive = 0
        for rows in row_parts(self._samples):
            found = _checked(self._of(rows), int(rows[0]))
            digest.update(found.tobytes())
            positive += int(np.count_nonzero(found))
            blocks.append(_in_blocks(found)[:, -1].copy())
        #: The sum of all weights up to the end of each block.
        self._cumulative = np.cumsum(np.concatenate(blocks))
        total = float(self._cumulative[-1])
        if not 0 < total < math.inf:
            raise UsageError(
                "weights",
                expected="at least one above 0, and a finite sum",
                found=f"a sum of {format_number(total, 6)}",
            )
        self.positions = self._samples if replacement else positive
        self.shuffles = True
        self.identity: dict[str, Any] = {"weights": digest.hexdigest()[:16], "replacement": replacement}

    def order(self, setting: EpochSetting) -> RepeatingOrder:
        """Return the order of an epoch."""
        if self._replacement:
            return _Draws(self, EpochNumbers(setting.seed, setting.epoch, "weights"))
        return _Distinct(self._sorted(setting))

    def stand_ins(self, index: int) -> Iterator[int]:
        """Yield the samples that may be served in place of one that cannot be decoded, drawn by weight."""
        numbers = EpochNumbers(index, stream="stand-ins").at(np.arange(_STAND_INS))
        yield from (each for each in self.drawn(numbers).tolist() if each != index)

    def drawn(self, numbers: FloatArray) -> IndexArray:
        """Return the samples at points of the cumulative weights.

        Costs about 1 us a sample.

        Args:
            numbers: float64 (k,), in (0, 1); 1 is the sum of all weights.
        """
        points = numbers * self._cumulative[-1]
        # In order, points find their blocks five times as fast: neighbours share lines of the processor's cache.
        rising = np.argsort(points)
        points = points[rising]
        block = np.searchsorted(self._cumulative, points, side="right")
        before = np.where(block > 0, self._cumulative[block - 1], 0.0)
        members = block[:, None] * _BLOCK + np.arange(_BLOCK)
        exists = members < self._samples
        inside = np.where(exists, self._of(np.where(exists, members, 0).ravel()).reshape(members.shape), 0.0)
        within = (np.cumsum(inside, axis=1) <= (points - before)[:, None]).sum(axis=1)
        # Sums are rounded: a point may lie behind the last weight of its block by a rounding error.
        last = _BLOCK - 1 - np.argmax(inside[:, ::-1] > 0, axis=1)
        found = np.empty(len(points), dtype=np.int64)
        found[rising] = block * _BLOCK + np.minimum(within, last)
        return found

    def _sorted(self, setting: EpochSetting) -> IndexArray:
        """Return the first samples of an epoch without replacement, int64 (end,)."""
        numbers = EpochNumbers(setting.seed, setting.epoch, "weights")
        keys = np.empty(self._samples)
        for rows in row_parts(self._samples):
            with np.errstate(divide="ignore"):
                keys[rows] = _exponential(numbers.at(rows)) / self._of(rows)
        end = min(setting.end, self.positions)
        if end == self._samples:
            return np.argsort(keys, kind="stable")
        chosen = np.flatnonzero(keys <= np.partition(keys, end - 1)[end - 1])
        found: IndexArray = chosen[np.argsort(keys[chosen], kind="stable")][:end]
        return found


class _Draws:
    """Independent draws, one for each position."""

    def __init__(self, weights: Weights, numbers: EpochNumbers) -> None:
        self._weights, self._numbers = weights, numbers

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at positions of an epoch, both int64 (k,)."""
        return self._weights.drawn(self._numbers.at(positions))

    def draws(self, positions: IndexArray) -> IndexArray:
        """Return the positions: each is a draw of its own."""
        return positions


class _Distinct:
    """The samples of an epoch as a table."""

    def __init__(self, samples: IndexArray) -> None:
        self._samples = samples

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at positions of an epoch, both int64 (k,)."""
        return self._samples[positions]

    def draws(self, positions: IndexArray) -> IndexArray:
        """Return zeros: each sample comes once."""
        return np.zeros_like(positions)


def _weight_function(store: Store, weights: Weighting) -> Callable[[IndexArray], FloatArray]:
    """Return a function of samples (k,) that returns their weights, float64 (k,)."""
    if isinstance(weights, str):
        return _balanced(store) if weights == "balanced" else _of_field(store, weights)
    given = np.asarray(weights)
    if given.shape != (len(store),) or given.dtype.kind not in "biuf":
        raise UsageError(
            "weights", rule=f'must be "balanced", the name of a field of numbers, or {len(store):,} numbers',
            found=f"an array of shape {given.shape} and type {given.dtype}",
        )  # fmt: skip
    return _Given(given)


def _balanced(store: Store) -> Callable[[IndexArray], FloatArray]:
    """Return weights by which each class is drawn equally often: one over the number of its samples."""
    counts = number_counts(store, "label")
    none = counts.pop(-1, 0)
    if not counts:
        raise UsageError(
            "weights", found=f'{store.location} has no classes for "balanced"',
            action="Pass a weight for each sample, or the name of a field of numbers.",
        )  # fmt: skip
    if none:
        warnings.warn(f'weights="balanced" never draws {counted(none, "sample")} without a class.', stacklevel=2)
    numbers = np.array([-1, *sorted(counts)], dtype=np.int64)
    weight = np.array([0.0, *(1 / counts[number] for number in sorted(counts))])
    return _ByClass(store, numbers, weight)


def _of_field(store: Store, name: str) -> Callable[[IndexArray], FloatArray]:
    """Return the values of a field of numbers as weights."""
    numeric = [field.name for field in store.fields.values() if field.kind in ("integer", "float")]
    if name not in numeric or name == "label":
        found = f"a field of kind {store.fields[name].kind}" if name in store.fields else name
        others = ", ".join(each for each in numeric if each != "label") or "none"
        raise UsageError(
            "weights", rule=f'must be "balanced", or a field of numbers (this store has: {others})',
            found="the numbers of classes (label)" if name == "label" else found,
        )  # fmt: skip

    return _OfField(store, name)


@dataclass(frozen=True, slots=True)
class _Given:
    """An array as weights."""

    values: AnyArray

    def __call__(self, indices: IndexArray) -> FloatArray:
        return self.values[indices].astype(np.float64)


@dataclass(frozen=True, slots=True)
class _ByClass:
    """Weights of classes; numbers: int64 (classes,), rising."""

    store: Store
    numbers: IndexArray
    weights: FloatArray

    def __call__(self, indices: IndexArray) -> FloatArray:
        return self.weights[np.searchsorted(self.numbers, self.store.index.label[indices])]


@dataclass(frozen=True, slots=True)
class _OfField:
    """The values of a field as weights; NaN where it has none."""

    store: Store
    name: str

    def __call__(self, indices: IndexArray) -> FloatArray:
        read: AnyArray = np.asanyarray(self.store.read_field(self.name, indices))
        return np.ma.filled(read.astype(np.float64), np.nan)


def _checked(weights: FloatArray, first: int) -> FloatArray:
    """Return weights. Raises UsageError if one is missing, negative or not finite. first: number of the first one."""
    wrong = ~(weights >= 0) | np.isinf(weights)
    if wrong.any():
        at = int(np.argmax(wrong))
        found = "none" if np.isnan(weights[at]) else format_number(weights[at], 6)
        raise UsageError(
            "weights", rule="must be a number of at least 0 for each sample", found=f"{found} for sample {first + at:,}"
        )
    return weights


def _in_blocks(weights: FloatArray) -> FloatArray:
    """Return the cumulative sums in each block of samples, float64 (blocks, samples of a block)."""
    padded = np.zeros(-(-len(weights) // _BLOCK) * _BLOCK)
    padded[: len(weights)] = weights
    return np.cumsum(padded.reshape(-1, _BLOCK), axis=1)


def _exponential(numbers: FloatArray) -> FloatArray:
    """Return -ln(x) of numbers in (0, 1), the same on every machine.

    NumPy's logarithm may differ in the last bit between processors. Among 10^8 keys, that could swap two samples, and
    ranks on different machines would serve one of them twice. Sums, products and quotients are exact by IEEE 754. For m
    from 0.7 to 1.4, ln(m) = 2 artanh(s) with s = (m - 1) / (m + 1), and |s| < 0.172: 11 terms give 16 digits.
    """
    mantissa, exponent = np.frexp(numbers)
    small = mantissa < math.sqrt(0.5)
    mantissa = np.where(small, 2 * mantissa, mantissa)
    ratio = (mantissa - 1) / (mantissa + 1)
    square = ratio * ratio
    series = np.full_like(ratio, 1 / 21)
    for odd in range(19, 0, -2):
        series = series * square + 1 / odd
    found: FloatArray = -((exponent - small) * _LN2 + 2 * ratio * series)
    return found
