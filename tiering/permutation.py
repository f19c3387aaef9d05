"""EpochOrder: a keyed permutation of [0, n) with O(1) memory, random access and an inverse.

The idea is a Feistel network. It splits a number into two halves of bits and, round by round, XORs one half with a
keyed hash of the other. Each round undoes itself, so every key gives a permutation of all numbers of that many bits.
Numbers >= n go through the network again until one lands below n (cycle walking), which keeps it a permutation.

Example: n = 5 needs 3 bits, so the network permutes 0..7. If it maps 2 -> 6 and 6 -> 1, position 2 holds sample 1.

The packer draws the order of a store from it, and the loader the order of every epoch. The order is part of the
format: equal (n, seed, epoch, stream) give equal orders on every platform and in every version that keeps VERSION.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from tiering.arrays import FloatArray, IndexArray

VERSION: Final = 2

#: Below this size a Feistel network is visibly non-uniform, and a table of the whole order is cheap.
TABLE_BELOW: Final = 1 << 16

#: Four rounds pass most tests of randomness. Six are indistinguishable from true random permutations.
ROUNDS: Final = 6

#: Positions computed at once: the arrays of a round fit into the L2 cache.
_PIECE: Final = 1 << 16

_U32 = npt.NDArray[np.uint32]
_U64 = npt.NDArray[np.uint64]
_Halves = tuple[_U32, _U32]


class EpochOrder:
    """The order of one epoch: position -> sample number, and back.

    From TABLE_BELOW samples on, it is a Feistel network over the smallest power of two that holds n, with cycle walking
    (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002, sections 3 and 4). It takes fewer than two
    passes and 20 to 40 ns per position, and no table. Smaller orders are tables, made by the Fisher-Yates shuffle
    (Durstenfeld, "Algorithm 235", CACM 1964).

    Args:
        n: Number of samples, from 1 to 2**62.
        seed: Any integer.
        epoch: Any integer.
        stream: Separates the uses of one seed and the levels of one shuffle, such as "epoch" and "pack".

    Raises:
        ValueError: n is out of range.

    Example:
        >>> order = EpochOrder(5, seed=1)
        >>> sorted(order.take(0, 5).tolist())
        [0, 1, 2, 3, 4]
    """

    def __init__(self, n: int, seed: int, epoch: int = 0, stream: str = "epoch") -> None:
        if not 1 <= n <= 1 << 62:
            raise ValueError(f"an order needs from 1 to 2**62 samples, got {n}")
        self.n = n
        digest = _digest(seed, epoch, stream)
        keys = np.frombuffer(digest, dtype="<u4").astype(np.uint32)
        self._keys = [(keys[2 * number], keys[2 * number + 1]) for number in range(ROUNDS)]
        bits = max(2, (n - 1).bit_length())
        self._high_bits, self._low_bits = bits // 2, bits - bits // 2
        self._table = _fisher_yates(n, int.from_bytes(digest[:8], "little")) if n < TABLE_BELOW else None

    def __len__(self) -> int:
        return self.n

    def take(self, start: int, stop: int) -> IndexArray:
        """Return the samples at the positions [start, stop): int64, shape (stop - start,)."""
        if self._table is not None:
            return self._table[start:stop]
        return self.at(np.arange(start, stop, dtype=np.int64))

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at any positions. Both arrays are int64, shape (k,)."""
        if self._table is not None:
            return self._table[positions]
        return self._walked(positions, self._forward)

    def position_of(self, samples: IndexArray) -> IndexArray:
        """Return the positions of samples, the inverse of `at`. Both arrays are int64, shape (k,)."""
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
        """XOR one half with a hash of the other, in place. Doing it twice restores the half."""
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


class EpochNumbers:
    """Random numbers of one epoch, one for each position: position -> a number in (0, 1).

    The number at position p is the output p of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014, figure 15), so any position
    costs the same, about 5 ns.

    Args:
        seed: Any integer.
        epoch: Any integer.
        stream: Separates the uses of one seed.

    Example:
        >>> bool(0 < EpochNumbers(seed=1).at(np.array([10**12]))[0] < 1)
        True
    """

    def __init__(self, seed: int, epoch: int = 0, stream: str = "draws") -> None:
        self._key = int.from_bytes(_digest(seed, epoch, stream)[:8], "little")

    def at(self, positions: IndexArray) -> FloatArray:
        """Return the numbers at positions: float64 (k,), odd multiples of 2**-53."""
        bits = _split_mix(positions.astype(np.uint64) + np.uint64(1), self._key) >> np.uint64(12)
        return (bits.astype(np.float64) + 0.5) * 2.0**-52


def _digest(seed: int, epoch: int, stream: str) -> bytes:
    return hashlib.shake_256(f"tiering-order-{VERSION}:{seed}:{epoch}:{stream}".encode()).digest(8 * ROUNDS)


def _mix(values: _U32, key: tuple[np.uint32, np.uint32]) -> _U32:
    """Hash 32-bit words with MurmurHash3's finaliser (Appleby, fmix32), with a key before each multiplication.

    The upper bits of the result are mixed best.
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
    """Shuffle [0, n) with SplitMix64 (Steele, Lea, Flood, OOPSLA 2014, figure 15), whose state starts at key.

    A draw from [0, i] is the upper half of (32-bit draw) x (i + 1). Its bias is at most 2**-16, since n < 2**16.
    """
    count = np.arange(1, n + 1, dtype=np.uint64)
    draws = ((_split_mix(count, key) >> np.uint64(32)) * count) >> np.uint64(32)
    table = [0] * n
    for new, drawn in enumerate(draws.tolist()):
        # The inside-out variant: the element at the drawn position moves to the end.
        table[new] = table[drawn]
        table[drawn] = new
    return np.fromiter(table, dtype=np.int64, count=n)


def _split_mix(count: _U64, key: int) -> _U64:
    """Return the outputs number `count`, from 1, of SplitMix64 whose state starts at key."""
    states: _U64 = count * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    states = (states ^ (states >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    states = (states ^ (states >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return states ^ (states >> np.uint64(31))
