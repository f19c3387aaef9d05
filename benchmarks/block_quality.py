"""How well a block order mixes with several ranks, which have windows of their own or share each window.

Usage: python -m benchmarks.block_quality

1,280,000 samples of 1,000 classes in blocks of 76 (8 MiB of samples of 110 kB) and windows of 16 blocks, from a store
in random order and one in order of class. Prints design effects (1 is perfect) of the batches of all ranks together and
of those of one rank, with batches of 64 a rank. Takes half a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np

from tiering.arrays import IndexArray
from tiering.measure.shuffle_quality import shuffle_quality
from tiering.serve.epochs import Epochs
from tiering.serve.orders import BlockShuffle
from tiering.serve.ranks import Ranks

SAMPLES, CLASSES, BLOCK, BATCH = 1_280_000, 1_000, 76, 64


def main() -> None:
    by_class = np.arange(SAMPLES) * CLASSES // SAMPLES
    stores = {"random": np.random.default_rng(0).permutation(by_class), "by class": by_class}
    print("| store | ranks | windows | all ranks together | one rank |\n|" + " --- |" * 5)
    for name, labels in stores.items():
        for ranks in (1, 8, 64):
            for shares in sorted({1, ranks}):
                order = np.concatenate(list(chain.from_iterable(drawn(ranks, shares))))
                together = shuffle_quality(order, labels, ranks * BATCH).design_effect
                one = shuffle_quality(order[ranks // 2 :: ranks], labels, BATCH).design_effect
                windows = "own" if shares == ranks else "shared"
                print(f"| {name} | {ranks} | {windows} | {together:.2f} | {one:.2f} |", flush=True)


def drawn(ranks: int, shares: int) -> Iterator[list[IndexArray]]:
    """Return the batches of all ranks together, step by step; a rank takes every ranks-th sample of a step."""
    whole = Epochs(SAMPLES, BLOCK, batch_size=BATCH * ranks, shuffle=BlockShuffle(16), ranks=Ranks())
    whole.load(whole.state(0) | {"shares": shares})
    return whole.drawn()


if __name__ == "__main__":
    main()
