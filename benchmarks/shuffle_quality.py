"""The orders of epochs against true random permutations, and Grain's index_shuffle beside them.

Usage: python -m benchmarks.shuffle_quality [--epochs 200] [--sizes 1000 50000 1280000]

Orders of a million samples and more are drawn for a tenth of the epochs, but at least ten.
Prints a Markdown table: for every statistic of benchmarks/shuffle_battery.py the ratio of its variance to that of the
shuffle of Fisher and Yates, and FAILS where the battery tells the two apart. Grain's columns need an environment that
has grain (`pip install grain`); they are left out elsewhere. Weak generators stand beside to show what the battery can
see.
"""

from __future__ import annotations

import argparse
import importlib
from functools import partial

import numpy as np

from benchmarks.shuffle_battery import Generator, compare
from tiering.permutation import EpochOrder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 50_000, 1_280_000])
    asked = parser.parse_args()
    generators: dict[str, Generator] = {"tiering": ours, "2 rounds": partial(rounds, 2), "affine": affine}
    try:
        shuffle = importlib.import_module("grain._src.python.experimental.index_shuffle.python.index_shuffle_module")
        generators["Grain, 4 rounds"] = partial(grain, shuffle.index_shuffle)
    except ImportError:
        print("(no grain here)")
    for n in asked.sizes:
        epochs = asked.epochs if n < 1_000_000 else max(10, asked.epochs // 10)
        found = {name: compare(generator, n, epochs) for name, generator in generators.items()}
        print(
            f"\n{n:,} samples, {epochs} epochs\n\n| statistic | {' | '.join(found)} |\n|{' --- |' * (len(found) + 1)}"
        )
        for row in zip(*found.values(), strict=True):
            cells = [f"{each.variance_ratio:.2f}{'' if each.passes else ' **FAILS**'}" for each in row]
            print(f"| {row[0].statistic} | {' | '.join(cells)} |", flush=True)


def ours(n: int, epoch: int, count: int) -> np.ndarray:
    return EpochOrder(n, 1, epoch).take(0, count)


def rounds(number: int, n: int, epoch: int, count: int) -> np.ndarray:
    """A Feistel network of ours with fewer rounds, whatever the size."""
    order = EpochOrder(n, 1, epoch)
    order._table, order._keys = None, order._keys[:number]  # noqa: SLF001 - the weakness is what we are after
    return order.take(0, count)


def affine(n: int, epoch: int, count: int) -> np.ndarray:
    random = np.random.default_rng(epoch)
    factor = int(random.integers(1, n))
    while np.gcd(factor, n) != 1:
        factor += 1
    return (np.arange(count) * factor + int(random.integers(n))) % n


def grain(shuffle: object, n: int, epoch: int, count: int) -> np.ndarray:
    """Seeds as Grain derives them for its epochs: seed + epoch."""
    return np.array([shuffle(i, max_index=n - 1, seed=42 + epoch, rounds=4) for i in range(count)])  # type: ignore[operator]


if __name__ == "__main__":
    main()
