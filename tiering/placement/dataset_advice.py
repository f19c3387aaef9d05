"""What follows from a plan for datasets: the moves that gain most, the caches to buy, and what each job gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tiering.advice.catalog import Tier
from tiering.placement.dataset_costs import DatasetCosts, rows_of, traced_a_month
from tiering.placement.fair_shares import fair_shares
from tiering.placement.problem import Choice
from tiering.placement.survey import Survey

#: Moves that are named.
TOP: Final = 10


@dataclass(frozen=True, slots=True)
class Move:
    """A dataset that the plan moves. Money is USD.

    Attributes:
        path: The dataset's directory.
        from_tier: Where it is now.
        to_tier: Where the plan has it.
        bytes: Bytes to move.
        saved_usd: Saving a month in storage, requests and retrieval; negative if the new tier costs more.
        won_s: Seconds of waiting that it saves a month; negative if jobs wait longer.
        once_usd: Cost of the move itself.
        gain_usd: saved_usd plus the value of won_s at the price of an hour.
    """

    path: str
    from_tier: str
    to_tier: str
    bytes: int
    saved_usd: float
    won_s: float
    once_usd: float
    gain_usd: float


@dataclass(frozen=True, slots=True)
class CacheToBuy:
    """A cache in front of a tier, for datasets that stay there and are read again and again. Money is USD.

    Attributes:
        origin: The tier behind the cache.
        tier: The tier that it is made of.
        bytes: Bytes of all its datasets.
        datasets: Their directories.
        monthly_usd: Cost of the cache.
        won_s: Seconds of waiting that it saves a month.
        won_usd: Value of that time.
    """

    origin: str
    tier: str
    bytes: int
    datasets: tuple[str, ...]
    monthly_usd: float
    won_s: float
    won_usd: float


@dataclass(frozen=True, slots=True)
class JobShare:
    """What a job gets of a tier while all jobs run at the same time (max-min, fair_shares.py).

    Attributes:
        job: The job's trace.
        tier: The tier.
        asked: Bytes/s that it reads and writes there, as its trace shows.
        got: Bytes/s that the tier gives it.
        waiting: Share of the time that the job waits for the others.
    """

    job: str
    tier: str
    asked: float
    got: float
    waiting: float


def top_moves(
    found: Survey,
    costs: DatasetCosts,
    tiers: Sequence[Tier],
    now: Sequence[int | None],
    choice: Choice,
    hour_usd: float,
) -> tuple[Move, ...]:
    """Return the moves of a plan that gain most.

    now: number of the tier that holds each dataset, None where that is not known. choice: that of the plan.
    """
    moves = []
    for at, (dataset, here, there) in enumerate(zip(found.datasets, now, choice.tolist(), strict=True)):
        if here is None or here == there:
            continue
        bill = costs.storage[:, at] + costs.access[:, at]
        saved, won = float(bill[here] - bill[there]), float(costs.waiting_s[here, at] - costs.waiting_s[there, at])
        moves.append(
            Move(
                path=dataset.path,
                from_tier=tiers[here].name,
                to_tier=tiers[there].name,
                bytes=dataset.bytes,
                saved_usd=saved,
                won_s=won,
                once_usd=float(costs.moving[there, at]),
                gain_usd=saved + won / 3600 * hour_usd,
            )
        )
    return tuple(sorted(moves, key=lambda move: (-move.gain_usd, move.path))[:TOP])


def caches(
    found: Survey, costs: DatasetCosts, tiers: Sequence[Tier], choice: Choice, hour_usd: float
) -> tuple[CacheToBuy, ...]:
    """Return the caches that save more than they cost, for datasets that the plan leaves on slower tiers.

    A cache keeps what it has read once. Of n passes in a month, the first comes from the origin and n - 1 from the
    cache.
    """
    passes = traced_a_month(found, costs.terms) / [max(1, dataset.bytes) for dataset in found.datasets]
    from_cache = 1 - 1 / np.maximum(1.0, passes)
    # Seconds a month that a cache on each tier saves for each dataset: [tier, dataset].
    won = from_cache * (costs.waiting_s[choice, np.arange(len(choice))] - costs.waiting_s)
    gains = won / 3600 * hour_usd - costs.storage
    local = [number for number, tier in enumerate(tiers) if tier.is_local]
    bought: dict[tuple[int, int], list[int]] = {}
    for at, origin in enumerate(choice.tolist()):
        level = max((level for level in local if level != origin), key=lambda level: gains[level, at], default=None)
        if level is not None and gains[level, at] > 0:
            bought.setdefault((origin, level), []).append(at)
    return tuple(
        CacheToBuy(
            origin=tiers[origin].name,
            tier=tiers[level].name,
            bytes=sum(found.datasets[at].bytes for at in datasets),
            datasets=tuple(found.datasets[at].path for at in datasets),
            monthly_usd=float(costs.storage[level, datasets].sum()),
            won_s=float(won[level, datasets].sum()),
            won_usd=float(won[level, datasets].sum()) / 3600 * hour_usd,
        )
        for (origin, level), datasets in bought.items()
    )


def job_shares(found: Survey, costs: DatasetCosts, tiers: Sequence[Tier], choice: Choice) -> tuple[JobShare, ...]:
    """Return what each job gets of each tier that it uses, while all of them run."""
    rows = rows_of(found)
    moved = np.zeros((len(found.jobs), len(tiers)))
    busy = np.zeros_like(moved)
    for row, (job, terms) in enumerate(zip(found.jobs, costs.terms, strict=True)):
        for heat in job.datasets:
            there = int(choice[rows[heat.path]])
            moved[row, there] += (heat.bytes_read + heat.bytes_written) / terms.duration * terms.overlap
        np.add.at(busy[row], choice, costs.busy[row, choice, np.arange(len(choice))])
    shares = []
    for column, tier in enumerate(tiers):
        given = fair_shares(busy[:, column].tolist(), 1.0)
        for row, job in enumerate(found.jobs):
            if busy[row, column] > 0:
                part = given[row] / float(busy[row, column])
                asked = float(moved[row, column])
                shares.append(JobShare(job.trace, tier.name, asked, asked * part, 1 - part))
    return tuple(shares)
