"""The monthly cost of whole datasets on each tier, from the traces of jobs or, without any, from access times.

A dataset that a trace reads costs storage, requests, retrieval and waiting, as a file does (file_costs.py), added up
over the jobs. Of a dataset that no trace reads, only access times are known:

    not read since it was written    no reading is priced
    read at some time                all of it once in as many days as have passed since, but at most once a month
    reads not recorded (noatime)     all of it once a month: it is not known to be cold

Such reads are priced for requests and retrieval alone: no job is known to wait for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl

from tiering.advice.catalog import Tier
from tiering.errors import UsageError
from tiering.io_sizes import PAGE_BYTES
from tiering.placement.file_costs import at_least, charges, occupied
from tiering.placement.heat import COUNTS
from tiering.placement.job_heat import DatasetHeat
from tiering.placement.month import Month, Terms
from tiering.placement.problem import Floats
from tiering.placement.survey import Survey, SurveyedDataset
from tiering.placement.traced_pace import at_traced_pace
from tiering.units import MONTH_SECONDS

#: What is known of the reads of a dataset.
Evidence = Literal["trace", "access times", "nothing"]

#: Bytes of one read of a pass that no trace shows.
_READ: Final = 1 << 20
_DAY: Final = 86400.0
#: A month without waiting, for datasets that no job reads.
_QUIET: Final = Terms(MONTH_SECONDS, 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class DatasetCosts:
    """Costs of each dataset on each tier. Arrays are [tier, dataset], USD a month.

    storage, access: of a month. moving: once, for bringing it there. waiting_s: s a month that jobs wait. busy: share
    of the tier's time while each job runs, [job, tier, dataset]. occupied: bytes on the tier. terms: of each job.
    """

    storage: Floats
    access: Floats
    moving: Floats
    waiting_s: Floats
    busy: Floats
    occupied: Floats
    terms: tuple[Terms, ...]


def evidence_of(found: Survey) -> list[Evidence]:
    """Return what is known of the reads of each dataset."""
    traced = {heat.path for job in found.jobs for heat in job.datasets}
    return [
        "trace" if each.path in traced else "nothing" if each.access_times == "not kept" else "access times"
        for each in found.datasets
    ]


def passes_a_month(dataset: SurveyedDataset, taken: int) -> float:
    """Return how often a dataset without a trace is assumed to be read as a whole in a month: 0 to 1."""
    if dataset.access_times == "not kept":
        return 1.0
    if dataset.read is None or (dataset.changed is not None and dataset.read <= dataset.changed):
        return 0.0
    return min(1.0, MONTH_SECONDS / max(_DAY, float(taken - dataset.read)))


def rows_of(found: Survey) -> dict[str, int]:
    """Return the row of each dataset, by its path."""
    return {dataset.path: row for row, dataset in enumerate(found.datasets)}


def traced_a_month(found: Survey, terms: Sequence[Terms]) -> Floats:
    """Return the bytes of each dataset that the jobs read in a month."""
    rows, read = rows_of(found), np.zeros(len(found.datasets))
    for job, each in zip(found.jobs, terms, strict=True):
        for heat in job.datasets:
            read[rows[heat.path]] += each.runs * heat.bytes_read
    return read


def read_a_month(found: Survey, terms: Sequence[Terms]) -> Floats:
    """Return the bytes of each dataset that are read in a month, by its traces or by its access times."""
    read = traced_a_month(found, terms)
    for at, (dataset, known) in enumerate(zip(found.datasets, evidence_of(found), strict=True)):
        if known != "trace":
            read[at] = passes_a_month(dataset, found.taken) * dataset.bytes
    return read


def months_of(found: Survey, month: Month, runs_per_month: Mapping[str, float]) -> tuple[Month, ...]:
    """Return the month of each job: its own runs where they are given by the path or the name of its trace.

    Raises UsageError for runs of a trace that the survey does not have, and impossible ones.
    """
    months = []
    for job in found.jobs:
        given = (runs_per_month[name] for name in (job.trace, Path(job.trace).name) if name in runs_per_month)
        months.append(replace(month, runs_per_month=next(given, month.runs_per_month)))
    known = {name for job in found.jobs for name in (job.trace, Path(job.trace).name)}
    if unknown := sorted(runs_per_month.keys() - known):
        raise UsageError(
            "runs_per_month", expected=f"a trace of the survey: {', '.join(sorted(known)) or 'none'}", found=unknown[0]
        )
    return tuple(months)


def dataset_costs(
    found: Survey, tiers: Sequence[Tier], months: Sequence[Month], now: Sequence[Tier | None]
) -> DatasetCosts:
    """Return the costs of each dataset on each tier.

    Args:
        found: The survey, with the traces of its jobs.
        tiers: The tiers to price.
        months: The month that is priced, of each job.
        now: The tier that holds each dataset; None where that is not known.

    Raises:
        UsageError: For a job whose trace spans no time.
    """
    terms = tuple(month.terms(job.duration, job.processes) for job, month in zip(found.jobs, months, strict=True))
    shape = len(tiers), len(found.datasets)
    storage, access, moving, waiting, held = (np.zeros(shape) for _ in range(5))
    busy = np.zeros((len(terms), *shape))
    untraced = _units(found.datasets, tiers, _untraced_reads(found))
    traced = [_units(found.datasets, tiers, job.datasets) for job in found.jobs]
    terms = tuple(
        at_traced_pace(units, each, tiers, now) if month.in_flight is None else each
        for units, each, month in zip(traced, terms, months, strict=True)
    )
    for at, tier in enumerate(tiers):
        charged = charges(untraced, tier, _QUIET)
        storage[at], access[at], held[at] = charged.storage, charged.access, occupied(untraced, tier)
        moving[at] = _moving(untraced, tier, now)
        for job, (units, each) in enumerate(zip(traced, terms, strict=True)):
            charged = charges(units, tier, each)
            access[at] += charged.access
            waiting[at] += charged.waiting_s
            busy[job, at] = charged.busy
    return DatasetCosts(storage, access, moving, waiting, busy, held, terms)


def _moving(units: pl.DataFrame, tier: Tier, now: Sequence[Tier | None]) -> Floats:
    """Return USD for bringing each dataset to a tier, once, from where it is now."""
    names, moving = np.array([each.name if each else "" for each in now]), np.zeros(len(units))
    for name, current in dict(zip(names.tolist(), now, strict=True)).items():
        mine = names == name
        moving[mine] = charges(units, tier, _QUIET, current).moving[mine]
    return moving


def _untraced_reads(found: Survey) -> Iterable[DatasetHeat]:
    """Yield the reads of datasets that only access times show, as a job of one month."""
    for dataset, known in zip(found.datasets, evidence_of(found), strict=True):
        passes = 0.0 if known == "trace" else passes_a_month(dataset, found.taken)
        yield DatasetHeat(
            path=dataset.path,
            files=dataset.files,
            opens=round(passes * dataset.files),
            reads=round(passes * max(dataset.files, dataset.bytes // _READ)),
            bytes_read=round(passes * dataset.bytes),
            writes=0,
            bytes_written=0,
        )


def _units(datasets: Sequence[SurveyedDataset], tiers: Sequence[Tier], heats: Iterable[DatasetHeat]) -> pl.DataFrame:
    """Return datasets as units of a placement (bundles.bundle).

    Only the number and the sum of the file sizes are known. So each file is assumed to fill half a page more, and each
    object to have the mean size where a tier bills a minimum.
    """
    by_path = {heat.path: heat for heat in heats}
    rows = []
    for dataset in datasets:
        heat = by_path.get(dataset.path)
        counts = {name: getattr(heat, name) if heat else 0 for name in COUNTS}
        billed = {
            at_least(tier.minimum_object): max(dataset.bytes, dataset.files * tier.minimum_object)
            for tier in tiers
            if tier.minimum_object
        }
        paged = dataset.bytes + dataset.files * (PAGE_BYTES // 2)
        rows.append({"files": dataset.files, "size": dataset.bytes, "paged": paged, **counts, **billed})
    names = ["files", "size", "paged", *COUNTS, *(at_least(t.minimum_object) for t in tiers if t.minimum_object)]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Int64))
