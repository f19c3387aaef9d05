"""What advice takes for granted, and what doing nothing costs, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tiering.advice.catalog import Tier
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.job import Job
from tiering.advice.option import Option
from tiering.advice.prediction import Setting
from tiering.advice.stored_size import ZSTD_RATIO
from tiering.units import format_bytes, format_percent, format_seconds, format_usd

#: Hours below which waiting is said in a smaller unit.
_SHORT: Final = 0.1


@dataclass(frozen=True, slots=True)
class Assumption:
    """Something that advice takes for granted, or a detail of it.

    Attributes:
        brief: A few words, such as "2 decoding threads (`threads`)"; "" for what only the full text needs to say.
        text: The same as a sentence.
    """

    brief: str
    text: str


def doing_nothing(stay: Option, epochs: int, job: Job) -> str:
    """Return the cost of leaving the dataset as it is. epochs: of a run."""
    waiting = stay.run_s(epochs) / 3600 * stay.nodes
    waited = f"{waiting:,.{0 if waiting >= 100 else 2}f} {'node hours' if stay.nodes > 1 else 'hours'}"
    if waiting < _SHORT and stay.nodes == 1:
        waited = format_seconds(stay.run_s(epochs))
    usd = job.waiting_usd
    # Where time comes first, no price was given for it.
    first = job.hour_usd is None and stay.stall_fraction is not None
    price = "" if first else f": {format_usd(waiting * usd)} USD at {format_usd(usd)} USD an hour"
    return (
        f"Doing nothing costs {format_usd(stay.monthly_usd)} USD a month for plain files on {stay.tier_title}, and "
        f"{waited} of a run of {epochs:,} epoch{'s' if epochs > 1 else ''}"
        f"{price}."
    )


def taken_for_granted(
    home: Tier, setting: Setting, data: DatasetSizes, job: Job, *, named: bool, trains: bool
) -> Iterator[Assumption]:
    """Yield what the advice assumes. named: whether the tier of the dataset is known; trains: whether a job trains."""
    if not named:
        yield Assumption(
            f"the dataset is on {home.title} now (`current`)",
            f"The dataset is assumed to be on {home.title} now; `current` changes that.",
        )
    if trains:
        yield _memory(job)
        yield Assumption("", "Zarr without a codec is as fast as LMDB, so it is listed only where LMDB is impossible.")
        if data.raw:
            saving = format_percent(1 - ZSTD_RATIO)
            yield Assumption(
                f"zstd saves {saving}",
                f"Most images are uncompressed: zstd is assumed to save {saving}; tiering convert measures it.",
            )
        if job.decode:
            yield from _decoding(job)
        if job.decode and not data.row_bytes:
            yield Assumption("", "Images have many shapes; `resize` also considers storing pixels of one shape.")
    if setting.loading.decode:
        counted = "Decoding is counted. tiering bench decodes nothing: compare it with advice without decoding"
        yield Assumption("", f"{counted} (`decode`).")
    elif trains:
        yield Assumption("no decoding", "No decoding is counted, as in tiering bench.")
    measured = "measured here" if setting.costs.measured else "typical (give `costs` for measured ones)"
    yield Assumption(
        "processor times measured here" if setting.costs.measured else "typical processor times (`costs`)",
        f"Times are predictions, prices are the catalog's, and processor times are {measured}; tiering bench "
        "checks them.",
    )


def _memory(job: Job) -> Assumption:
    if not job.ram:
        return Assumption("no memory as cache (`ram`)", "No memory is used as a cache; `ram` adds some.")
    size = format_bytes(job.ram)
    return Assumption(
        f"{size} of memory as cache (`ram`)", f"{size} of the host's memory cache data at no cost; `ram` changes that."
    )


def _decoding(job: Job) -> Iterator[Assumption]:
    threads = f"{job.threads_each} thread{'s' if job.threads_each > 1 else ''}"
    workers = f"{job.processes} processes of {threads}" if job.processes > 1 else threads
    yield Assumption(
        f"decoding in {workers} (`threads`)",
        f"The loader decodes the images in {workers}; `threads` and `processes` change that, and `decode` can leave "
        "decoding to the training.",
    )
    if job.threads is None and job.cpus is None:
        yield Assumption(
            "hosts with as many cores as this one (`cpus`)",
            "The hosts that train are taken to have as many cores as this machine; `cpus` changes that.",
        )
