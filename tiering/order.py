"""EpochOrder: a keyed permutation of [0, n) with O(1) memory, random access and an inverse.

The packer draws the order of a store from it, and the loader the order of every epoch. The order is part of the
format: equal (n, seed, epoch, stream) give equal orders on every platform and in every version that keeps VERSION.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

VERSION: Final = 1

#: Below this size a Feistel network is visibly non-uniform, and a table of the whole order costs nothing.
TABLE_BELOW: Final = 1 << 16

#: Four rounds pass most tests of randomness, six cannot be told from true random permutations.
ROUNDS: Final = 6

IndexArray = npt.NDArray[np.int64]
_U64 = npt.NDArray[np.uint64]
_Step = Callable[[_U64], _U64]


class EpochOrder:
    """The order of one epoch: position -> index of a sample, and back.

    n: number of samples, at least 1; seed, epoch: any integers; stream: separates uses of one seed ("epoch", "pack").

    From TABLE_BELOW on, an unbalanced Feistel network over the smallest power of two that holds n, with cycle
    walking (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002, sections 3 and 4): under two
    walks a position, no table. Below, the positions are sorted by keyed 64-bit hashes, which gives every order
    with equal probability.
    """

    def __init__(self, n: int, seed: int, epoch: int = 0, stream: str = "epoch") -> None:
        if n < 1:
            raise ValueError(f"an order needs at least one sample, got {n}")
        self.n = n
        digest = hashlib.shake_256(f"tiering-order-{VERSION}:{seed}:{epoch}:{stream}".encode())
        keys = np.frombuffer(digest.digest(8 * ROUNDS), dtype="<u8").astype(np.uint64)
        self._keys: list[np.uint64] = list(keys)
        bits = max(2, (n - 1).bit_length())
        self._low_bits = np.uint64(bits - bits // 2)
        self._low_mask = np.uint64((1 << (bits - bits // 2)) - 1)
        self._high_mask = np.uint64((1 << (bits // 2)) - 1)
        self._table: IndexArray | None = None
        if n < TABLE_BELOW:
            hashes = _mix(np.arange(n, dtype=np.uint64), self._keys[0])
            self._table = np.argsort(hashes, kind="stable").astype(np.int64)

    def __len__(self) -> int:
        return self.n

    def take(self, start: int, stop: int) -> IndexArray:
        """Return the samples at positions [start, stop): int64, shape (stop - start,)."""
        if self._table is not None:
            return self._table[start:stop]
        return self.at(np.arange(start, stop, dtype=np.int64))

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at any positions: int64, the shape of positions."""
        if self._table is not None:
            return self._table[positions]
        return self._walk(positions, self._forward)

    def position_of(self, samples: IndexArray) -> IndexArray:
        """Return the positions of samples in this epoch, the inverse of `at`."""
        if self._table is not None:
            inverse = np.empty(self.n, dtype=np.int64)
            inverse[self._table] = np.arange(self.n)
            return inverse[samples]
        return self._walk(samples, self._backward)

    def _walk(self, values: IndexArray, step: _Step) -> IndexArray:
        found = step(values.astype(np.uint64))
        outside = np.flatnonzero(found >= self.n)
        while outside.size:
            found[outside] = step(found[outside])
            outside = outside[found[outside] >= self.n]
        return found.astype(np.int64)

    def _forward(self, values: _U64) -> _U64:
        high, low = values >> self._low_bits, values & self._low_mask
        for number, key in enumerate(self._keys):
            if number % 2 == 0:
                high ^= _mix(low, key) & self._high_mask
            else:
                low ^= _mix(high, key) & self._low_mask
        return (high << self._low_bits) | low

    def _backward(self, values: _U64) -> _U64:
        high, low = values >> self._low_bits, values & self._low_mask
        for number in reversed(range(ROUNDS)):
            if number % 2 == 0:
                high ^= _mix(low, self._keys[number]) & self._high_mask
            else:
                low ^= _mix(high, self._keys[number]) & self._low_mask
        return (high << self._low_bits) | low


def _mix(values: _U64, key: np.uint64) -> _U64:
    """Hash 64-bit words under a key (the finaliser of SplitMix64: Steele, Lea, Flood, OOPSLA 2014, figure 15)."""
    mixed = values ^ key
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
