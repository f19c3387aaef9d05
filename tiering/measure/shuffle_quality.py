"""How well an order mixes: batches of it against simple random samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray

#: Positions looked at together.
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class ShuffleQuality:
    """How well an order mixes the classes in its batches.

    Attributes:
        design_effect: Variance of the batches' class counts, divided by that under simple random sampling. 1 is
            perfect. 50 means that a batch represents the dataset only as well as a random batch of a fiftieth of its
            size.
        standard_error: Standard error of the design effect of a perfect shuffle.
        batches: Whole batches compared.
        classes: Classes that occur.
    """

    design_effect: float
    standard_error: float
    batches: int
    classes: int


def shuffle_quality(order: IndexArray, labels: npt.NDArray[np.integer], batch_size: int = 256) -> ShuffleQuality:
    """Compare the batches of an order with simple random samples of the same size, by the labels in them.

    The design effect is the ratio of variances of Kish, "Survey Sampling" (1965), section 8.2, summed over batches and
    classes. Under simple random sampling without replacement, the count of a class of share p in a batch of b has the
    variance b p (1 - p) (k - b) / (k - 1). For example, if every batch of 256 holds one of two equal classes only, its
    counts differ from their means by 128, so the variance is 128^2 instead of about 64, and the design effect 256.

    Args:
        order: int64 (k,), samples in the order in which they are served.
        labels: Integers (n,), the class of every sample, -1 for none.
        batch_size: Samples in a batch.

    Returns:
        The quality of the order.

    Raises:
        ValueError: For fewer than two whole batches, or fewer than two classes.

    Example:
        order = np.concatenate([batch.indices for batch in loader])
        tiering.shuffle_quality(order, store.index.label[:]).design_effect
    """
    names, number = np.unique(labels, return_inverse=True)
    batches = len(order) // batch_size
    if batches < 2 or len(names) < 2:
        raise ValueError(f"a comparison needs two batches and two classes, got {batches} and {len(names)}")
    share = np.bincount(number[order], minlength=len(names)) / len(order)
    observed = 0.0
    at_once = max(1, _PIECE // batch_size)
    for begin in range(0, batches, at_once):
        count = min(at_once, batches - begin)
        drawn = number[order[begin * batch_size : (begin + count) * batch_size]]
        cell = np.repeat(np.arange(count), batch_size) * len(names) + drawn
        counts = np.bincount(cell, minlength=count * len(names)).reshape(count, len(names))
        observed += float(((counts - batch_size * share) ** 2).sum())
    finite = (len(order) - batch_size) / (len(order) - 1)
    expected = batches * batch_size * float((share * (1 - share)).sum()) * finite
    error = math.sqrt(2 / ((batches - 1) * (np.count_nonzero(share) - 1)))
    return ShuffleQuality(observed / expected, error, batches, int(np.count_nonzero(share)))
