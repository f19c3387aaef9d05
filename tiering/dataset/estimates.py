"""Estimate figures of a dataset from a sample of its files, with intervals that contain the truth in 95 of 100 samples.

Files are drawn in two stages: first directories, each with a known probability, then files in each of them. A directory
that is in the sample for certain contributes the variance of the files inside. The others contribute the variance
between them, as if drawn with replacement, which errs on the wide side (Cochran, Sampling Techniques, 3rd ed., 1977,
chapters 9A and 11). Means and shares are ratios; their variance is that of their linearised residuals.

Example: two of four directories are drawn and contain 10 and 30 files, so each represents 2. The tree has about 2 x 10
+ 2 x 30 = 80 files, and the difference between 20 and 60 gives the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from tiering.arrays import FloatArray

#: The share of samples whose interval contains the truth.
CONFIDENCE = 0.95


class EstimatedValue(BaseModel):
    """A figure, and the interval that contains the truth in 95 of 100 samples.

    If it is exact, both ends equal the figure. sample: how many files it was estimated from; for numbers of files and
    labels, how many directories.
    """

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float
    sample: int = Field(description="files, or directories, in the sample")

    @property
    def exact(self) -> bool:
        """Whether the figure was counted, not estimated."""
        return self.low == self.value == self.high

    @classmethod
    def known(cls, value: float, sample: int) -> EstimatedValue:
        """Return a counted figure."""
        return cls(value=value, low=value, high=value, sample=sample)


@dataclass(frozen=True, slots=True)
class FileSample:
    """A sample of files, drawn from units. A unit is a directory, or a whole tree.

    Of each unit: population: its number of files, int64. factor: how many units it represents, 1 if it is in the sample
    for certain. draw: number of the random draw that led to it (several units for a draw along a path), -1 if certain,
    int64.
    Of each draw: turn: number of its round, int64. Rounds draw from different parts of the tree.
    Of each file: key: path below the root. size: bytes, int64. unit: number of its unit, int64.
    """

    population: npt.NDArray[np.int64]
    factor: FloatArray
    draw: npt.NDArray[np.int64]
    turn: npt.NDArray[np.int64]
    key: list[bytes]
    size: npt.NDArray[np.int64]
    unit: npt.NDArray[np.int64]

    @classmethod
    def simple(cls, files: int, key: list[bytes], size: npt.NDArray[np.int64]) -> FileSample:
        """Return a simple random sample from a population of `files` files."""
        none = np.empty(0, np.int64)
        unit = np.zeros(len(key), np.int64)
        return cls(np.array([files], np.int64), np.ones(1), np.array([-1], np.int64), none, key, size, unit)

    def some(self, files: int, seed: int) -> FileSample:
        """Return a simple random sample of the sampled files. For a single unit only: every unit must keep a file."""
        kept = np.sort(np.random.default_rng(seed).choice(len(self.key), files, replace=False))
        key = [self.key[number] for number in kept.tolist()]
        return FileSample(self.population, self.factor, self.draw, self.turn, key, self.size[kept], self.unit[kept])

    @property
    def taken(self) -> npt.NDArray[np.int64]:
        """The number of files drawn from each unit, int64."""
        return np.bincount(self.unit, minlength=len(self.population))

    @property
    def weight(self) -> FloatArray:
        """How many files each sampled file represents."""
        inside: FloatArray = self.population / np.maximum(self.taken, 1) * self.factor
        return np.take(inside, self.unit)

    @property
    def complete(self) -> bool:
        """Whether the sample is the whole dataset."""
        return not len(self.turn) and bool((self.taken == self.population).all())


def total_files(sample: FileSample) -> EstimatedValue:
    """Estimate the number of files."""
    return total_of_units(sample, sample.population.astype(np.float64))


def total_of_units(sample: FileSample, counts: FloatArray) -> EstimatedValue:
    """Estimate the sum of a count over all units. counts: of the listed units, not negative, float64 (units,)."""
    numbers = counts * sample.factor
    variance, freedom = _between(sample, numbers)
    return _positive(float(numbers.sum()), variance, freedom, len(numbers), least=float(counts.sum()))


def total(sample: FileSample, values: FloatArray) -> EstimatedValue:
    """Estimate the sum of a value over all files. values: of the sampled files, not negative, float64 (n,)."""
    variance, freedom = _variance(sample, values)
    return _positive(float((sample.weight * values).sum()), variance, freedom, len(values), least=float(values.sum()))


def mean(sample: FileSample, values: FloatArray, of: npt.NDArray[np.bool_] | None = None) -> EstimatedValue:
    """Estimate the mean of a value over all files. values: of the sampled files, not negative, float64 (n,).

    of: which of the sampled files count, bool (n,); by default all. Returns 0 if there is none.
    """
    member = np.ones(len(values)) if of is None else of.astype(np.float64)
    size = float((sample.weight * member).sum())
    if size == 0:
        return EstimatedValue.known(0.0, 0)
    value = float((sample.weight * member * values).sum()) / size
    variance, freedom = _variance(sample, member * (values - value) / size)
    return _positive(value, variance, freedom, int(member.sum()))


def share(sample: FileSample, of: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_] | None = None) -> EstimatedValue:
    """Estimate the share of all files that are of a kind. of: whether each sampled file is, bool (n,).

    among: which of the sampled files count, bool (n,); by default all. Returns 0 if there is none.
    The interval is Clopper and Pearson's for the number of independent draws with the same variance (Korn and Graubard,
    Survey Methodology 24, 1998). It stays meaningful if none or all of the sampled files are of the kind.
    """
    member = np.ones(len(of), bool) if among is None else among
    count = int(member.sum())
    if not count:
        return EstimatedValue.known(0.0, 0)
    weight = sample.weight * member
    value = float((weight * of).sum() / weight.sum())
    if sample.complete:
        return EstimatedValue.known(value, count)
    variance, freedom = _variance(sample, member * (of - value) / weight.sum())
    alike = float(weight.sum() ** 2 / (weight**2).sum())
    effective = min(alike, value * (1 - value) / variance) if variance > 0 else alike
    if 0 < freedom < count - 1:
        effective *= (student_t(count - 1) / student_t(freedom)) ** 2
    low, high = _beta(value * effective, effective)
    return EstimatedValue(value=value, low=low, high=high, sample=count)


def quantile(sample: FileSample, at: float) -> EstimatedValue:
    """Estimate the size at a share `at` of the sorted files.

    The interval is Woodruff's (Journal of the American Statistical Association 47, 1952): the ends of the interval of
    the share of files that are no larger, converted back into sizes. The smallest and the largest size have no
    interval, since nothing is known beyond the sizes seen.
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
        return EstimatedValue.known(value, len(ordered))
    around = share(sample, sample.size <= value)
    low, high = at - (around.value - around.low), at + (around.high - around.value)
    return EstimatedValue(value=value, low=min(value, read(low)), high=max(value, read(high)), sample=len(ordered))


def ratio_of_squares(sample: FileSample) -> EstimatedValue | None:
    """Estimate how unequal the units with files are: their number times the sum of squares over the squared sum.

    It is 1 if all contain equally many files. In general, the unit of a random file contains this many times the mean.
    Returns None if fewer than two units were drawn at random, or no unit contains a file.
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


def empties(sample: FileSample) -> EstimatedValue | None:
    """Estimate the share of the randomly drawn units that contain a file. Returns None if there are no such units.

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
    return EstimatedValue(value=value, low=low, high=high, sample=count)


def _variance(sample: FileSample, values: FloatArray) -> tuple[float, float]:
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


def _between(sample: FileSample, units: FloatArray) -> tuple[float, int]:
    """Return the variance of the sum over the drawn units, and its degrees of freedom."""
    drawn = sample.draw >= 0
    sums = np.bincount(sample.draw[drawn], weights=units[drawn], minlength=len(sample.turn))
    variance, freedom = 0.0, 0
    for turn in np.unique(sample.turn):
        each = sums[sample.turn == turn]
        # A single draw does not show the variance.
        variance += float(len(each) * each.var(ddof=1)) if len(each) > 1 else math.inf
        freedom += len(each) - 1
    return variance, freedom


def _positive(value: float, variance: float, freedom: float, sample: int, least: float = 0.0) -> EstimatedValue:
    """Return the interval of a positive figure, from Student's t on its logarithm.

    Samples of skewed sizes often miss the largest files. Then the sum is too low and its variance looks too small. The
    interval of the logarithm reaches further up than down, which corrects for this.
    """
    if variance == 0 or value <= 0:
        return EstimatedValue.known(value, sample)
    # An interval of unknown width is about as wide as floats allow.
    reach = min(student_t(max(freedom, 1.0)) * math.sqrt(variance) / value, 300.0)
    low, high = value * math.exp(-reach), value * math.exp(reach)
    return EstimatedValue(value=value, low=min(value, max(low, least)), high=high, sample=sample)


def student_t(freedom: float) -> float:
    """Return how many standard errors reach from a figure to each end of its interval, by Student's t."""
    from scipy import special  # noqa: PLC0415 - takes 0.1 s, and a complete count has no interval

    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _beta(successes: float, trials: float) -> tuple[float, float]:
    """Return Clopper and Pearson's interval of a share. The counts need not be integers."""
    from scipy import special  # noqa: PLC0415 - as above

    tail = (1 - CONFIDENCE) / 2
    failures = trials - successes
    low = float(special.betaincinv(successes, failures + 1, tail)) if successes > 0 else 0.0
    high = float(special.betaincinv(successes + 1, failures, 1 - tail)) if failures > 0 else 1.0
    return low, high
