"""What all samplings are tested by: ranks, interruptions, workers and states."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import tiering
from tiering.serve.batches import Batch

#: Makes a loader of a batch size and ranks.
Maker = Callable[..., tiering.Loader]


def maker(source: Any, **options: Any) -> Maker:
    """What makes the loaders of a store or a mixture. Ranks serve each position once: no padding."""
    return lambda **deal: tiering.Loader(source, seed=5, even=False, **options, **deal)


def epoch_of(loader: tiering.Loader, epoch: int) -> list[Batch]:
    """The batches of an epoch."""
    return list(loader.epoch(epoch))


def drawn(batches: list[Batch]) -> list[int]:
    """The samples of batches, in order."""
    return [index for batch in batches for index in batch.indices.tolist()]


def dealt(make: Maker, ranks: int, batch_size: int, epoch: int, state: Any = None) -> list[list[Batch]]:
    """The batches of every rank, from the start of an epoch or from a state."""
    found = []
    for rank in range(ranks):
        loader = make(batch_size=batch_size, ranks=tiering.Ranks(rank, ranks))
        if state is not None:
            loader.load_state_dict(state)
        found.append(epoch_of(loader, epoch))
    return found


def in_turn(ranks: list[list[Batch]]) -> list[int]:
    """The samples of all ranks in the order of their positions."""
    served = [drawn(batches) for batches in ranks]
    return [served[at % len(served)][at // len(served)] for at in range(sum(map(len, served)))]


def interrupted(make: Maker, plan: list[tuple[int, int, int]], epoch: int) -> list[list[int]]:
    """What each leg of an interrupted epoch serves. plan: ranks, batch size, and batches of each rank in each leg."""
    legs, state = [], None
    for ranks, batch_size, steps in plan:
        served = dealt(make, ranks, batch_size, epoch, state)
        legs.append([index for batches in served for index in drawn(batches[:steps])])
        loader = make(batch_size=batch_size, ranks=tiering.Ranks(0, ranks))
        if state is None:
            loader.set_epoch(epoch)
        else:
            loader.load_state_dict(state)
        state = json.loads(json.dumps(loader.state_dict(min(steps, len(served[0])))))
        assert len(json.dumps(state)) < 300
    return legs
