"""Samplings: epochs that do not serve each sample once, but by weight, repeatedly, or from several stores.

A sampling gives the order of an epoch in place of a shuffle. Like a shuffle's, it is a pure function of the seed, the
epoch and the position, so ranks, batches and interruptions follow from it in the same way (epochs.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np

from tiering.arrays import IndexArray
from tiering.errors import UsageError
from tiering.permutation import EpochOrder
from tiering.serve.orders import BlockShuffle, Order, PlainShuffle, StickyShuffle, StoreOrder, at_least_one


@dataclass(frozen=True, slots=True)
class EpochSetting:
    """What the order of an epoch may depend on.

    Attributes:
        seed: Any integer.
        epoch: Any integer.
        shuffled: Whether samples are shuffled, or keep the order of their store.
        end: Positions from here on are not asked for.
        ranks: The number of ranks.
        batch_size: The batch size of a rank.
        begin: The position from which on these ranks and batches serve the epoch: 0, or where it was interrupted.
        given: What a sampling has dealt before that position, as its `given_before` returns it; empty at the start.
    """

    seed: int
    epoch: int
    shuffled: bool
    end: int
    ranks: int
    batch_size: int
    begin: int = 0
    given: tuple[int, ...] = ()


#: The keys of the identities of all samplings, which states of other epochs do not have.
IDENTITY_KEYS: Final = ("weights", "replacement", "repeats", "mixture")


class RepeatingOrder(Order, Protocol):
    """An order in which a sample may come more than once."""

    def draws(self, positions: IndexArray) -> IndexArray:
        """Return numbers that tell apart the positions of each sample, both int64 (k,)."""
        ...


class Sampling(Protocol):
    """What an epoch serves.

    Attributes:
        positions: Samples that an epoch serves.
        dealt: Whether the order depends on the number of ranks and the batch size.
        shuffles: Whether samples are always in random order.
        identity: What decides the order, with the keys of saved states.
    """

    positions: int
    dealt: bool
    shuffles: bool
    identity: dict[str, Any]

    def order(self, setting: EpochSetting) -> RepeatingOrder:
        """Return the order of an epoch: the sample at each position in [0, positions)."""
        ...

    def given_before(self, setting: EpochSetting, position: int) -> tuple[int, ...] | None:
        """Return what was dealt before a position of an epoch, so that others can deal the rest.

        None if the order does not change there: it does not depend on ranks, or the position is within a step of them.
        """
        ...

    def check_given(self, given: tuple[int, ...], begin: int) -> bool:
        """Return whether these numbers of samples can have been dealt before a position."""
        ...

    def stand_ins(self, index: int) -> Iterator[int]:
        """Yield the samples that may be served in place of one that cannot be decoded."""
        ...


class SamplingBase:
    """The parts of samplings whose order does not depend on ranks."""

    dealt = False

    def given_before(self, setting: EpochSetting, position: int) -> tuple[int, ...] | None:  # noqa: ARG002 - as above
        """Return None: the order is the same for any number of ranks."""
        return None

    def check_given(self, given: tuple[int, ...], begin: int) -> bool:  # noqa: ARG002 - as above
        """Return whether nothing is noted as dealt."""
        return not given


class RepeatedOrder:
    """An order in which each sample comes several times in succession.

    Args:
        order: The order of the samples.
        times: How often each comes.
        repeating: The same order, if a sample may come more than once in it.
    """

    def __init__(self, order: Order, times: int, repeating: RepeatingOrder | None = None) -> None:
        self._order, self._times, self._repeating = order, times, repeating

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at positions of an epoch, both int64 (k,)."""
        return self._order.at(positions // self._times)

    def draws(self, positions: IndexArray) -> IndexArray:
        """Return which copy of its sample each position is, both int64 (k,)."""
        turn, copy = np.divmod(positions, self._times)
        return copy + self._times * self._repeating.draws(turn) if self._repeating else copy


class Repeats(SamplingBase):
    """Repeated augmentation: every sample several times an epoch, by default from a shuffled store.

    The copies have successive positions, and ranks take positions in turn. So up to as many copies as there are ranks
    go to different ranks, in the same step. The name is that of Berman et al., "MultiGrain", 2019; see also Hoffer et
    al., "Augment your batch", CVPR 2020.

    Args:
        samples: Samples in the store.
        times: How often each is served.
        inner: The sampling whose samples are repeated.
    """

    def __init__(self, samples: int, times: int, inner: Sampling | None = None) -> None:
        at_least_one("repeats", times)
        self._samples, self._times, self._inner = samples, times, inner
        self.positions = (inner.positions if inner else samples) * times
        self.shuffles = inner is not None and inner.shuffles
        self.identity = (inner.identity if inner else {}) | {"repeats": times}

    def order(self, setting: EpochSetting) -> RepeatedOrder:
        """Return the order of an epoch."""
        if self._inner:
            once = self._inner.order(replace(setting, end=-(-setting.end // self._times)))
            return RepeatedOrder(once, self._times, once)
        plain = EpochOrder(self._samples, setting.seed, setting.epoch) if setting.shuffled else StoreOrder()
        return RepeatedOrder(plain, self._times)

    def stand_ins(self, index: int) -> Iterator[int]:
        """Yield the samples that may be served in place of one that cannot be decoded."""
        return self._inner.stand_ins(index) if self._inner else further_on(0, self._samples, index)


def further_on(begin: int, end: int, index: int) -> Iterator[int]:
    """Yield the samples 1, 2, 4, 8 and so on further than one in [begin, end), going on from its begin.

    That soon leaves a damaged stretch of a store behind.
    """
    samples = end - begin
    for power in range((samples - 1).bit_length()):
        yield begin + (index - begin + (1 << power)) % samples


def refuse_shuffle(shuffle: PlainShuffle, sampling: Sampling) -> None:
    """Raise UsageError for a shuffle that a sampling cannot have.

    Block and sticky shuffles deal each sample to one rank, once; samplings deal positions.
    """
    if isinstance(shuffle, BlockShuffle | StickyShuffle):
        raise UsageError(
            "shuffle", rule='must be "global" with mixtures, weights and repeats', found=repr(shuffle),
            action="Blocks and shares hold each sample once. Leave `shuffle` out.",
        )  # fmt: skip
    if not shuffle and sampling.shuffles:
        raise UsageError(
            "shuffle", rule="must be True with weights and sampled mixtures, which draw at random", found="False",
            action="Leave `shuffle` out.",
        )  # fmt: skip
