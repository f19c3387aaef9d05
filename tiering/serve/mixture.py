"""mix: epochs over several stores, in chosen proportions."""

from __future__ import annotations

import hashlib
import math
import operator
import os
import reprlib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from numbers import Rational, Real
from typing import Any, Final, Literal, Self

import numpy as np

from tiering.arrays import FloatArray, IndexArray
from tiering.errors import UsageError
from tiering.permutation import EpochNumbers, EpochOrder
from tiering.serve.orders import Order, StoreOrder, at_least_one
from tiering.serve.proportions import Proportions
from tiering.serve.sampling import EpochSetting, RepeatingOrder, further_on
from tiering.store.apportionment import apportioned
from tiering.store.concat import ConcatStore, concatenated
from tiering.store.protocol import Store

#: When an epoch of a mixture ends: with the first store that has been served whole, with the last one, or after a count
#: of samples.
Until = Literal["first", "last"] | int

#: More samples than any epoch has. Fewer than this keep the arithmetic of the schedule within 64 bits.
_MOST_POSITIONS: Final = 1 << 46


def mix(
    stores: Mapping[str | os.PathLike[str] | Store, float],
    *,
    until: Until = "first",
    sampled: bool = False,
) -> Mixture:
    """Mix several stores in given proportions. Pass the result to the Loader in place of a store.

    Every batch has each store's share, rounded down or up, on every rank. Within a store, samples come in passes: a
    pass serves each sample once, in an order of its own. A store of which an epoch serves less than one pass goes on
    with it in the next epochs, as long as whole epochs fit into the pass.

    Args:
        stores: Stores, their paths or URLs, with their weights: positive numbers, in any unit.
        until: When an epoch ends. "first": once the first store has been served whole; it is served exactly once, and
            no sample comes twice. "last": once every store has been served whole, the last one exactly once. A number:
            after that many samples.
        sampled: Draw the store of each position at random by weight, independently of the others, instead of exact
            proportions in every batch. The samples of each store in an epoch then vary around their share.

    Returns:
        The mixture; `mixture.store` is the concatenation of its stores. Close it after use.

    Raises:
        UsageError: For no store, a weight that is not positive, or stores that cannot be concatenated (see `concat`).
        ValueError: For another `until`.

    Example:
        with tiering.mix({"photos.lmdb": 0.7, "drawings.zarr": 0.3}) as mixture:
            for batch in tiering.Loader(mixture, 256):
                part = mixture.store.part_of(batch.indices)  # 0: photos, 1: drawings
    """
    weights = _weights(stores)
    if until not in ("first", "last"):
        if isinstance(until, str):
            raise ValueError(f'until must be "first", "last" or a number of samples, got {until!r}')
        at_least_one("until", until)
    store = concatenated(stores, stacklevel=3)
    try:
        return Mixture(store, weights, until=until, sampled=sampled)
    except BaseException:
        store.close()
        raise


class Mixture:
    """Epochs over several stores, in chosen proportions: see `mix`.

    Attributes:
        store: The concatenation of the stores.
        counts: Samples of each store in an epoch.
        positions: Samples in an epoch.
    """

    def __init__(self, store: ConcatStore, weights: list[Fraction], *, until: Until, sampled: bool) -> None:
        self.store, self._weights, self._sampled = store, weights, sampled
        self._sizes = np.diff(store.begins).tolist()
        self.counts = _counts(self._sizes, weights, until)
        self.positions = sum(self.counts)
        if self.positions > _MOST_POSITIONS:
            raise UsageError(
                "until", expected=f"an epoch of at most {_MOST_POSITIONS:,} samples", found=f"{self.positions:,}",
                action='The weights are far from the sizes of the stores. Use until="first", or a number of samples.',
            )  # fmt: skip
        self.dealt, self.shuffles = not sampled, sampled
        told = [*map(str, weights), *map(str, self._sizes), *map(str, self.counts), str(sampled)]
        self.identity: dict[str, Any] = {"mixture": hashlib.sha256(" ".join(told).encode()).hexdigest()[:16]}

    def __repr__(self) -> str:
        parts = zip(self.store.parts, self.counts, strict=True)
        return f"Mixture({', '.join(f'{count:,} samples an epoch of {part!r}' for part, count in parts)})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the stores."""
        self.store.close()

    def order(self, setting: EpochSetting) -> RepeatingOrder:
        """Return the order of an epoch."""
        if self._sampled:
            return _Sampled(self.store.begins, self._weights, self.positions, setting)
        return _Passes(self.store.begins, self._schedule(setting), self.counts, setting)

    def given_before(self, setting: EpochSetting, position: int) -> tuple[int, ...] | None:
        """Return the samples of each store before a position between two steps of all ranks, else None."""
        given = None if self._sampled else self._schedule(setting).given_before(position)
        return None if given is None else tuple(given)

    def check_given(self, given: tuple[int, ...], begin: int) -> bool:
        """Return whether these numbers of samples, one for each store, can come before a position."""
        if not given:
            return begin == 0
        fits = len(given) == len(self.counts) and sum(given) == begin
        return fits and all(0 <= each <= count for each, count in zip(given, self.counts, strict=True))

    def _schedule(self, setting: EpochSetting) -> Proportions:
        phase = int(_numbers(setting, 1)[0])
        return Proportions(
            self.counts, self._weights, setting.batch_size, setting.ranks, phase, setting.begin, setting.given
        )

    def stand_ins(self, index: int) -> Iterator[int]:
        """Yield samples of the same store that may be served in place of one that cannot be decoded."""
        part = int(np.searchsorted(self.store.begins, index, side="right")) - 1
        return further_on(int(self.store.begins[part]), int(self.store.begins[part + 1]), index)


class _Passes:
    """The order of an epoch of exact proportions: store by store, a pass after the other.

    If an epoch serves m of the n samples of a store, and m <= n, a pass goes on over n // m epochs. Otherwise each
    epoch begins with a new pass. So in an epoch, two samples of a store are served equally often, or one of them once
    more.

    Args:
        begins: The first sample of each store in the concatenation, and the number of all: int64 (K + 1,).
        schedule: The store of each position.
        counts: Samples of each store in an epoch.
        setting: The epoch.
    """

    def __init__(self, begins: IndexArray, schedule: Proportions, counts: list[int], setting: EpochSetting) -> None:
        self._begins, self._sizes = begins, np.diff(begins)
        self._schedule = schedule
        epochs = np.maximum(1, self._sizes // np.maximum(1, counts))
        #: The first epoch of the pass that each store is in, counted in passes, and the samples served of it before.
        self._group = setting.epoch // epochs
        self._served = setting.epoch % epochs * np.array(counts, dtype=np.int64)

        @lru_cache(maxsize=2 * len(counts) + 8)
        def inside(store: int, number: int) -> Order:
            if not setting.shuffled:
                return StoreOrder()
            stream = f"pass {number} of store {store}"
            return EpochOrder(int(self._sizes[store]), setting.seed, int(self._group[store]), stream)

        self._inside = inside

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at positions of an epoch, both int64 (k,)."""
        store, passes, at = self._passes_at(positions)
        samples = np.empty_like(positions)
        by_pass = np.lexsort((passes, store))
        changed = (np.diff(store[by_pass], prepend=-1) != 0) | (np.diff(passes[by_pass], prepend=-1) != 0)
        for first, end in pairwise([*np.flatnonzero(changed).tolist(), len(positions)]):
            chosen = by_pass[first:end]
            which = int(store[chosen[0]])
            samples[chosen] = self._inside(which, int(passes[chosen[0]])).at(at[chosen]) + self._begins[which]
        return samples

    def draws(self, positions: IndexArray) -> IndexArray:
        """Return the pass over its store that each position is in, both int64 (k,)."""
        return self._passes_at(positions)[1]

    def _passes_at(self, positions: IndexArray) -> tuple[IndexArray, IndexArray, IndexArray]:
        """Return the store of each position, the pass over it, and the position in that pass."""
        store, number = self._schedule.at(positions)
        passes, at = np.divmod(number + self._served[store], self._sizes[store])
        return store, passes, at


class _Sampled:
    """The order of an epoch whose stores are drawn at random.

    Independent draws are a random arrangement of numbers of draws that are multinomial. So the numbers are drawn first,
    and a random permutation of the epoch arranges them: the store of any position follows without those before it.

    Args:
        begins: The first sample of each store in the concatenation, and the number of all: int64 (K + 1,).
        weights: Of the stores.
        positions: Samples in the epoch.
        setting: The epoch.
    """

    def __init__(self, begins: IndexArray, weights: list[Fraction], positions: int, setting: EpochSetting) -> None:
        self._begins = begins
        self._order = EpochOrder(positions, setting.seed, setting.epoch, "mixture")
        # The numbers of this old generator are the same in every version of NumPy (NEP 19).
        random = np.random.RandomState(_numbers(setting, 4).astype(np.uint32))
        shares = np.array([float(weight / sum(weights)) for weight in weights])
        self._ends = np.cumsum(random.multinomial(positions, shares / shares.sum()))
        self._inside = [
            EpochOrder(size, setting.seed, setting.epoch, f"pass 0 of store {store}")
            for store, size in enumerate(np.diff(begins).tolist())
        ]

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at positions of an epoch, both int64 (k,)."""
        store, number = self._numbers_at(positions)
        samples = np.empty_like(positions)
        for which in np.unique(store).tolist():
            chosen = store == which
            order = self._inside[which]
            samples[chosen] = order.at(number[chosen] % len(order)) + self._begins[which]
        return samples

    def draws(self, positions: IndexArray) -> IndexArray:
        """Return the pass over its store that each position is in, both int64 (k,)."""
        store, number = self._numbers_at(positions)
        return number // np.diff(self._begins)[store]

    def _numbers_at(self, positions: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return the store of each position, and its number among the positions of that store."""
        arranged = self._order.at(positions)
        store = np.searchsorted(self._ends, arranged, side="right")
        return store, arranged - np.concatenate([[0], self._ends])[store]


def _numbers(setting: EpochSetting, count: int) -> FloatArray:
    """Return some random numbers of an epoch, from 0 to 2**31."""
    return EpochNumbers(setting.seed, setting.epoch, "mixture").at(np.arange(count)) * 2.0**31


def _weights(stores: Mapping[Any, float]) -> list[Fraction]:
    """Return the weights of stores as they are written: 0.1 is a tenth. Raises UsageError if one is not positive."""
    if not stores:
        raise UsageError("stores", rule="needs at least one store with its weight")
    found: list[Fraction] = []
    for store, weight in stores.items():
        if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 < weight < math.inf:
            raise UsageError("stores", expected=f"a weight above 0 for {store}", found=reprlib.repr(weight))
        found.append(Fraction(weight) if isinstance(weight, Rational) else Fraction(repr(float(weight))))
    return found


def _counts(sizes: list[int], weights: list[Fraction], until: Until) -> list[int]:
    """Return the samples of each store in an epoch.

    Until the first store ends: with n samples of share w, the epoch has floor(n / w), the n among them, and the others
    divide the rest, which is at most their own size. Until the last one ends: ceil(n / w).
    """
    if not isinstance(until, str):
        return apportioned(operator.index(until), weights)
    if len(sizes) == 1:
        return sizes
    total = sum(weights)
    epochs = [size * total / weight for size, weight in zip(sizes, weights, strict=True)]
    length = min(epochs) if until == "first" else max(epochs)
    whole = epochs.index(length)
    samples = math.floor(length) if until == "first" else math.ceil(length)
    others = [Fraction(0) if at == whole else weight for at, weight in enumerate(weights)]
    found = apportioned(samples - sizes[whole], others)
    return [sizes[whole] if at == whole else count for at, count in enumerate(found)]
