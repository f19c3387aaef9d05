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

from tiering.arrays import IndexArray

VERSION: Final = 2

#: Below this size any Feistel network is visibly non-uniform, and a table of the whole order costs nothing.
TABLE_BELOW: Final = 1 << 16

#: Four rounds pass most tests of randomness, six cannot be told from true random permutations.
ROUNDS: Final = 6

#: Positions computed at once: what a round touches stays in the second-level cache.
_PIECE: Final = 1 << 14

_U32 = npt.NDArray[np.uint32]
_U64 = npt.NDArray[np.uint64]
_Halves = tuple[_U32, _U32]


class EpochOrder:
    """The order of one epoch: position -> index of a sample, and back.

    n: number of samples, from 1 to 2**62; seed, epoch: any integers; stream: separates the uses of one seed and the
    levels of one shuffle ("epoch", "pack"). Raises ValueError for another n.

    From TABLE_BELOW on, a Feistel network over the smallest power of two that holds n, its halves exact to the bit,
    with cycle walking (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002, sections 3 and 4):
    under two walks a position, no table, 20 to 40 ns a position. Below, a table made by Fisher and Yates's shuffle
    (Durstenfeld, "Algorithm 235", CACM 1964).
    """

    def __init__(self, n: int, seed: int, epoch: int = 0, stream: str = "epoch") -> None:
        if not 1 <= n <= 1 << 62:
            raise ValueError(f"an order needs from 1 to 2**62 samples, got {n}")
        self.n = n
        digest = hashlib.shake_256(f"tiering-order-{VERSION}:{seed}:{epoch}:{stream}".encode())
        keys = np.frombuffer(digest.digest(8 * ROUNDS), dtype="<u4").astype(np.uint32)
        self._keys = [(keys[2 * number], keys[2 * number + 1]) for number in range(ROUNDS)]
        bits = max(2, (n - 1).bit_length())
        self._high_bits, self._low_bits = bits // 2, bits - bits // 2
        self._table = _fisher_yates(n, int.from_bytes(digest.digest(8), "little")) if n < TABLE_BELOW else None

    def __len__(self) -> int:
        return self.n

    def take(self, start: int, stop: int) -> IndexArray:
        """Return the samples at positions [start, stop): int64, shape (stop - start,)."""
        if self._table is not None:
            return self._table[start:stop]
        return self.at(np.arange(start, stop, dtype=np.int64))

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at any positions: int64 (k,), as positions."""
        if self._table is not None:
            return self._table[positions]
        return self._walked(positions, self._forward)

    def position_of(self, samples: IndexArray) -> IndexArray:
        """Return the positions of samples in this epoch, the inverse of `at`: int64 (k,), as samples."""
        if self._table is not None:
            inverse = np.empty(self.n, dtype=np.int64)
            inverse[self._table] = np.arange(self.n)
            return inverse[samples]
        return self._walked(samples, self._backward)

    def _walked(self, values: IndexArray, step: Callable[[IndexArray], IndexArray]) -> IndexArray:
        found = np.empty(len(values), dtype=np.int64)
        for begin in range(0, len(values), _PIECE):
            piece = step(values[begin : begin + _PIECE])
            outside = np.flatnonzero(piece >= self.n)
            while outside.size:
                again = step(piece[outside])
                piece[outside] = again
                outside = outside[again >= self.n]
            found[begin : begin + _PIECE] = piece
        return found

    def _forward(self, values: IndexArray) -> IndexArray:
        high, low = self._split(values)
        for number, key in enumerate(self._keys):
            self._round(number, key, high, low)
        return self._joined(high, low)

    def _backward(self, values: IndexArray) -> IndexArray:
        high, low = self._split(values)
        for number in reversed(range(ROUNDS)):
            self._round(number, self._keys[number], high, low)
        return self._joined(high, low)

    def _round(self, number: int, key: tuple[np.uint32, np.uint32], high: _U32, low: _U32) -> None:
        """Change one half by a hash of the other; done twice, it undoes itself."""
        source, target, bits = (low, high, self._high_bits) if number % 2 == 0 else (high, low, self._low_bits)
        mixed = _mix(source, key)
        mixed >>= np.uint32(32 - bits)
        target ^= mixed

    def _split(self, values: IndexArray) -> _Halves:
        low = values.astype(np.uint32) & np.uint32((1 << self._low_bits) - 1)
        return (values >> self._low_bits).astype(np.uint32), low

    def _joined(self, high: _U32, low: _U32) -> IndexArray:
        joined = high.astype(np.int64)
        joined <<= self._low_bits
        joined |= low
        return joined


def _mix(values: _U32, key: tuple[np.uint32, np.uint32]) -> _U32:
    """Hash 32-bit words under two keys: MurmurHash3's finaliser (Appleby, fmix32), a key before each multiplication.

    The upper bits of the result are the better mixed ones.
    """
    mixed = values ^ key[0]
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed += key[1]
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x9E3779B1)
    return mixed


def _fisher_yates(n: int, key: int) -> IndexArray:
    """Shuffle [0, n) by keyed draws: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014, figure 15), its state begun at key.

    A draw from [0, i] is the upper half of draw x (i + 1), uneven by at most 2**-16 of itself (n is below 2**16).
    """
    count = np.arange(1, n + 1, dtype=np.uint64)
    states: _U64 = count * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    states = (states ^ (states >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    states = (states ^ (states >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    draws = (((states ^ (states >> np.uint64(31))) >> np.uint64(32)) * count) >> np.uint64(32)
    table: list[int] = []
    for new, drawn in enumerate(draws.tolist()):
        # From the inside out: what lies at the drawn place moves to the end.
        table.append(new)
        table[new] = table[drawn]
        table[drawn] = new
    return np.array(table, dtype=np.int64)
