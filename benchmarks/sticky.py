"""What sticky shares cost in randomness: class counts of batches against simple random sampling.

Usage: python -m benchmarks.sticky

50,000 samples of 100 classes, 8 ranks of 64 samples, 32 epochs. Prints design effects (1 is perfect): of global
batches, and of one rank's batches within its share, with samples dealt one by one and in units of 20, from a store in
random order and one in order of class.
"""

from __future__ import annotations

import statistics
from itertools import chain

import numpy as np

from tiering.measure.shuffle_quality import shuffle_quality
from tiering.serve.epochs import Epochs
from tiering.serve.orders import StickyShuffle
from tiering.serve.ranks import Ranks

SAMPLES, CLASSES, RANKS, BATCH, EPOCHS = 50_000, 100, 8, 64, 32


def main() -> None:
    print("| order | unit | global batch of 512 | a rank's batch of 64 |\n| --- | --- | --- | --- |")
    for name, sticky, unit, by_class in (
        ("not sticky", False, 1, True),
        ("sticky", True, 1, True),
        ("sticky", True, 20, False),
        ("sticky, in order of class", True, 20, True),
    ):
        labels = np.arange(SAMPLES) * CLASSES // SAMPLES
        if not by_class:
            labels = np.random.default_rng(0).permutation(labels)
        found = [effects(labels, epoch, sticky, unit) for epoch in range(EPOCHS)]
        means = [f"{statistics.mean(each):.3f}" for each in zip(*found, strict=True)]
        print(f"| {name} | {unit} | {' | '.join(means)} |", flush=True)


def effects(labels: np.ndarray, epoch: int, sticky: bool, unit: int) -> tuple[float, float]:
    """Return the design effects of global batches, and of the first rank's batches."""
    ranks = []
    for rank in range(RANKS):
        epochs = Epochs(
            SAMPLES, 1, batch_size=BATCH, shuffle=StickyShuffle(16) if sticky else True, seed=5, drop_last=True,
            ranks=Ranks(rank, RANKS), unit=unit,
        )  # fmt: skip
        epochs.set_epoch(epoch)
        ranks.append(list(chain.from_iterable(epochs.drawn())))
    together = np.concatenate([np.concatenate(step) for step in zip(*ranks, strict=True)])
    return (
        shuffle_quality(together, labels, RANKS * BATCH).design_effect,
        shuffle_quality(np.concatenate(ranks[0]), labels, BATCH).design_effect,
    )


if __name__ == "__main__":
    main()
