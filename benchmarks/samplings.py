"""What mixtures, weights and repeats cost: time per position, and memory, for large stores.

    python -m benchmarks.samplings [--samples 100000000]

The full run takes about three minutes and 4 GB of memory.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from tiering.permutation import EpochOrder
from tiering.serve.orders import Order
from tiering.serve.proportions import Proportions
from tiering.serve.sampling import EpochSetting
from tiering.serve.weights import Weights

#: Positions of one call, as a loader makes it, and calls.
POSITIONS, CALLS = 1 << 14, 8


class Samples:
    """As much of a store as an array of weights needs."""

    def __init__(self, samples: int) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return self._samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000_000)
    n = parser.parse_args().samples
    print(f"{n:,} samples\n\n| epoch | begins in | a position | memory |\n| --- | --- | --- | --- |")
    setting = EpochSetting(seed=1, epoch=2, shuffled=True, end=n, ranks=8, batch_size=256)
    show("global shuffle", n, lambda: EpochOrder(n, 1, 2))
    for stores in (2, 5, 20):
        show(f"mixture of {stores}", n, lambda stores=stores: Scheduled(n, stores))
    weights = np.random.default_rng(0).random(n, dtype=np.float32)
    made: list[Weights] = []
    show("weights, made once", n, lambda: made.append(Weights(Samples(n), weights)))  # type: ignore[arg-type]
    show("weights", n, lambda: made[0].order(setting))
    without = Weights(Samples(n), weights, replacement=False)  # type: ignore[arg-type]
    show("without replacement", n, lambda: without.order(setting))


class Scheduled:
    """The schedule of a mixture, without the orders of its stores."""

    def __init__(self, n: int, stores: int) -> None:
        self._schedule = Proportions([n // stores] * stores, [1] * (stores - 1) + [2], 256, 8, 5)

    def at(self, positions: np.ndarray) -> np.ndarray:
        return self._schedule.at(positions)[1]


def show(name: str, n: int, make: object) -> None:
    before = resident()
    began = time.perf_counter()
    order: Order | None = make()  # type: ignore[operator]
    begins = time.perf_counter() - began
    kept = resident() - before
    cost = "-"
    if order is not None:
        # Those of one rank of eight.
        most = max(1, (n // 8 * 7 - POSITIONS * CALLS) // 8)
        calls = [np.arange(POSITIONS, dtype=np.int64) * 8 + 8 * (most // CALLS) * call + 3 for call in range(CALLS)]
        calls = [call[call < n // 8 * 7] for call in calls]
        began = time.perf_counter()
        for positions in calls:
            order.at(positions)
        cost = f"{(time.perf_counter() - began) / sum(map(len, calls)) * 1e9:,.0f} ns"
    print(f"| {name} | {begins:.2f} s | {cost} | {max(0, kept) / n:.2f} B a sample |", flush=True)


def resident() -> int:
    """Return the resident bytes of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
