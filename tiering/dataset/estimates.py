"""Estimates of a dataset from a sample of its files, each with an interval that holds the truth in 95 of 100 samples.

Files are drawn in two stages: some directories, each with a known probability, and some files in each of them. A
directory that is in the sample for certain adds the spread of the files inside; the others add how they differ from
each other, as if drawn with replacement, which errs on the wide side (Cochran, Sampling Techniques, 3rd ed., 1977,
chapters 9A and 11). Means and shares are ratios, whose spread is that of their linearised residuals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy import special

from tiering.arrays import FloatArray

#: Of all samples, how many have an interval that holds the truth.
CONFIDENCE = 0.95


class Estimate(BaseModel):
    """A figure, and the interval that holds the truth in 95 of 100 samples; both ends are the figure where it is exact.

    sample: files (for counts of files and labels: directories) that it was estimated from.
    """

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float
    sample: int = Field(description="files, or directories, that were looked at")

    @property
    def exact(self) -> bool:
        """Whether nothing was estimated."""
        return self.low == self.value == self.high

    @classmethod
    def known(cls, value: float, sample: int) -> Estimate:
        """Return a figure that was counted."""
        return cls(value=value, low=value, high=value, sample=sample)


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample of files. Of units, one each: population, factor, draw. Of files, one each: key, size, unit.

    population: files in each unit (a directory, or a whole tree), int64. factor: how many units each stands for, 1 for
    those in the sample for certain. draw: number of the draw by chance that led to the unit (several where it led down
    a path), -1 for those in the sample for certain, int64. turn: for each draw, of which round it is; rounds draw from
    different parts of the tree, int64. key: path below the root. size: bytes, int64. unit: number of the unit that a
    file was drawn from, int64.
    """

    population: npt.NDArray[np.int64]
    factor: FloatArray
    draw: npt.NDArray[np.int64]
    turn: npt.NDArray[np.int64]
    key: list[bytes]
    size: npt.NDArray[np.int64]
    unit: npt.NDArray[np.int64]

    @classmethod
    def simple(cls, files: int, key: list[bytes], size: npt.NDArray[np.int64]) -> Sample:
        """Return a simple random sample of so many files."""
        none = np.empty(0, np.int64)
        unit = np.zeros(len(key), np.int64)
        return cls(np.array([files], np.int64), np.ones(1), np.array([-1], np.int64), none, key, size, unit)

    def some(self, files: int, seed: int) -> Sample:
        """Return a simple random sample of the sampled files. Every unit must keep a file: for a single unit only."""
        kept = np.sort(np.random.default_rng(seed).choice(len(self.key), files, replace=False))
        key = [self.key[number] for number in kept.tolist()]
        return Sample(self.population, self.factor, self.draw, self.turn, key, self.size[kept], self.unit[kept])

    @property
    def taken(self) -> npt.NDArray[np.int64]:
        """Files that were drawn from each unit, int64."""
        return np.bincount(self.unit, minlength=len(self.population))

    @property
    def weight(self) -> FloatArray:
        """How many files each file stands for."""
        inside: FloatArray = self.population / np.maximum(self.taken, 1) * self.factor
        return np.take(inside, self.unit)

    @property
    def complete(self) -> bool:
        """Whether the sample is the whole dataset."""
        return not len(self.turn) and bool((self.taken == self.population).all())


def total_files(sample: Sample) -> Estimate:
    """Estimate the number of files."""
    return total_of_units(sample, sample.population.astype(np.float64))


def total_of_units(sample: Sample, counts: FloatArray) -> Estimate:
    """Estimate the sum over all units of what was counted in each that was listed, not negative, float64 (units,)."""
    numbers = counts * sample.factor
    variance, freedom = _between(sample, numbers)
    return _positive(float(numbers.sum()), variance, freedom, len(numbers), least=float(counts.sum()))


def total(sample: Sample, values: FloatArray) -> Estimate:
    """Estimate the sum over all files of a value that is known of the sampled ones, not negative, float64 (n,)."""
    variance, freedom = _variance(sample, values)
    return _positive(float((sample.weight * values).sum()), variance, freedom, len(values), least=float(values.sum()))


def mean(sample: Sample, values: FloatArray, of: npt.NDArray[np.bool_] | None = None) -> Estimate:
    """Estimate the mean over all files of a value that is not negative, float64 (n,).

    of: which of the sampled files count, bool (n,); by default all. 0 where there is none.
    """
    member = np.ones(len(values)) if of is None else of.astype(np.float64)
    size = float((sample.weight * member).sum())
    if size == 0:
        return Estimate.known(0.0, 0)
    value = float((sample.weight * member * values).sum()) / size
    variance, freedom = _variance(sample, member * (values - value) / size)
    return _positive(value, variance, freedom, int(member.sum()))


def share(sample: Sample, of: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_] | None = None) -> Estimate:
    """Estimate the share of all files that are of a kind, bool (n,).

    among: which of the sampled files count, bool (n,); by default all. 0 where there is none.
    The interval is Clopper and Pearson's for the number of independent draws that would spread as much (Korn and
    Graubard, Survey Methodology 24, 1998): it makes sense where none was found, or all.
    """
    member = np.ones(len(of), bool) if among is None else among
    count = int(member.sum())
    if not count:
        return Estimate.known(0.0, 0)
    weight = sample.weight * member
    value = float((weight * of).sum() / weight.sum())
    if sample.complete:
        return Estimate.known(value, count)
    variance, freedom = _variance(sample, member * (of - value) / weight.sum())
    alike = float(weight.sum() ** 2 / (weight**2).sum())
    effective = min(alike, value * (1 - value) / variance) if variance > 0 else alike
    if 0 < freedom < count - 1:
        effective *= (_t(count - 1) / _t(freedom)) ** 2
    low, high = _beta(value * effective, effective)
    return Estimate(value=value, low=low, high=high, sample=count)


def quantile(sample: Sample, at: float) -> Estimate:
    """Estimate the size at a share of the files in order of size.

    The interval is Woodruff's (Journal of the American Statistical Association 47, 1952): that of the share of files
    that are no larger, read from the sizes. The smallest and the largest size have none: what was seen is all that is
    known, up to 0 and to infinity, and both ends are what was seen.
    """
    order = np.argsort(sample.size, kind="stable")
    ordered = sample.size[order]
    reached = np.cumsum(sample.weight[order])
    reached /= reached[-1]

    def read(where: float) -> int:
        index = int(np.searchsorted(reached, where - 1e-12))
        return int(ordered[min(index, len(ordered) - 1)])

    value = read(at)
    if sample.complete or at in (0.0, 1.0):
        return Estimate.known(value, len(ordered))
    around = share(sample, sample.size <= value)
    low, high = at - (around.value - around.low), at + (around.high - around.value)
    return Estimate(value=value, low=min(value, read(low)), high=max(value, read(high)), sample=len(ordered))


def ratio_of_squares(sample: Sample) -> Estimate | None:
    """Estimate how unequal the units are that hold files: their number times the sum of squares over the squared sum.

    1 where all hold as many files; else how many times the mean it is that the unit of a random file holds.
    None where fewer than two draws were made by chance, or no unit holds a file.
    """
    filled = sample.population > 0
    units, files = sample.factor * filled, sample.factor * sample.population
    squares = files * sample.population
    count, sum_, square = float(units.sum()), float(files.sum()), float(squares.sum())
    if not sum_ or len(sample.turn) < 2:
        return None
    value = count * square / sum_**2
    variance, freedom = _between(sample, value * (units / count + squares / square - 2 * files / sum_))
    return _positive(value, variance, freedom, len(sample.turn), least=1.0)


def empties(sample: Sample) -> Estimate | None:
    """Estimate the share of the units drawn by chance that hold a file. None where there are none.

    The interval is Clopper and Pearson's, for as many independent draws.
    """
    drawn = sample.draw >= 0
    if not drawn.any():
        return None
    weight = sample.factor * drawn
    value = float((weight * (sample.population > 0)).sum() / weight.sum())
    count = int(drawn.sum())
    alike = float(weight.sum() ** 2 / (weight**2).sum())
    low, high = _beta(value * alike, alike)
    return Estimate(value=value, low=low, high=high, sample=count)


def _variance(sample: Sample, values: FloatArray) -> tuple[float, float]:
    """Return the variance of the estimated total of a value of the sampled files, and its degrees of freedom."""
    units = len(sample.population)
    taken = sample.taken
    sums = np.bincount(sample.unit, weights=values, minlength=units)
    means = sums / np.maximum(taken, 1)
    between, draws = _between(sample, sample.population * sample.factor * means)
    squares = np.bincount(sample.unit, weights=(values - np.take(means, sample.unit)) ** 2, minlength=units)
    inside = sample.population**2 * (1 - taken / np.maximum(sample.population, 1)) / np.maximum(taken, 1)
    certain = (sample.draw < 0) & (taken > 1)
    within = float((inside * squares / np.maximum(taken - 1, 1))[certain].sum())
    parts = [(between, draws), (within, int((taken - 1)[certain].sum()))]
    # Satterthwaite's degrees of freedom of a sum of variances.
    spread = sum(variance**2 / freedom for variance, freedom in parts if variance > 0 and freedom > 0)
    whole = between + within
    return whole, whole**2 / spread if spread > 0 else 0.0


def _between(sample: Sample, units: FloatArray) -> tuple[float, int]:
    """Return the variance of the sum of what the drawn units stand for, and its degrees of freedom."""
    drawn = sample.draw >= 0
    sums = np.bincount(sample.draw[drawn], weights=units[drawn], minlength=len(sample.turn))
    variance, freedom = 0.0, 0
    for turn in np.unique(sample.turn):
        each = sums[sample.turn == turn]
        # From one draw alone nobody knows the spread.
        variance += float(len(each) * each.var(ddof=1)) if len(each) > 1 else math.inf
        freedom += len(each) - 1
    return variance, freedom


def _positive(value: float, variance: float, freedom: float, sample: int, least: float = 0.0) -> Estimate:
    """Return the interval of a positive figure by Student's t on its logarithm.

    Sums of skewed sizes miss their truth more often on one side: samples without the largest files are too low and
    look less spread than they are. The logarithm's interval reaches further up than down.
    """
    if variance == 0 or value <= 0:
        return Estimate.known(value, sample)
    # An interval of unknown width is as wide as a float can say.
    reach = min(_t(max(freedom, 1.0)) * math.sqrt(variance) / value, 300.0)
    low, high = value * math.exp(-reach), value * math.exp(reach)
    return Estimate(value=value, low=min(value, max(low, least)), high=high, sample=sample)


def _t(freedom: float) -> float:
    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _beta(successes: float, trials: float) -> tuple[float, float]:
    """Return Clopper and Pearson's interval of a share; counts need not be whole."""
    tail = (1 - CONFIDENCE) / 2
    failures = trials - successes
    low = float(special.betaincinv(successes, failures + 1, tail)) if successes > 0 else 0.0
    high = float(special.betaincinv(successes + 1, failures, 1 - tail)) if failures > 0 else 1.0
    return low, high
