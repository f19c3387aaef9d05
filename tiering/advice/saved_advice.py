"""A recommendation with all that it was made from, as a file: `recommend -o advice.json`, `report --advice`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tiering import __version__
from tiering.advice.catalog import Tier, load_catalog
from tiering.advice.constraints import NO_LIMITS, Limits
from tiering.advice.cpu_costs import Costs
from tiering.advice.current_tier import CurrentTier, current_tier
from tiering.advice.job import Job
from tiering.advice.option import Option
from tiering.advice.recommend import recommend
from tiering.advice.recommendation import Recommendation
from tiering.dataset.profile import DatasetProfile
from tiering.errors import ProfileError, UsageError
from tiering.notebook import Shown, Summary
from tiering.storage.output_file import write_output
from tiering.text import without_secrets
from tiering.trace.trace_profile import TraceProfile
from tiering.units import format_bytes, format_count
from tiering.workload.profile import Profile
from tiering.workload.verdict import Verdict, classify

_SNIFFED: Final = 4096


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What advice is based on besides the profile. Each field is the parameter of `recommend` with its name.

    Attributes:
        job: The training.
        current: The tier where the dataset is now, by name; by default the one that the mount table shows.
        tiers: The catalog; by default the shipped one.
        limits: Limits that the choice must keep.
        costs: Processor time of a sample; by default typical costs.

    Example:
        >>> given = Assumptions(job=Job(epochs=90), current="nfs")
        >>> tiering.write_report("photos", "report.html", assumptions=given)  # doctest: +SKIP
    """

    job: Job = field(default_factory=Job)
    current: str | CurrentTier | None = None
    tiers: Sequence[Tier] | None = None
    limits: Limits = NO_LIMITS
    costs: Costs | None = None


class Origin(BaseModel):
    """Where, when and by what something was made."""

    model_config = ConfigDict(frozen=True)

    command: str = Field(description='the command line, without secrets; "" if it was made from Python')
    host: str = Field(description="name of the machine")
    time: str = Field(description="when, in UTC: 2026-11-29T03:43:08Z")
    version: str = Field(description="version of tiering")


class WhatIf(BaseModel):
    """What would be chosen if one assumption were different."""

    model_config = ConfigDict(frozen=True)

    assumption: str = Field(description="the assumption that differs, in words")
    choice: Option | None = Field(description="what would be chosen; null if that is not possible")
    reason: str = Field(default="", description="why it is not possible")


class SavedAdvice(Shown, BaseModel):
    """A recommendation, and what it was made from.

    Example:
        >>> saved = tiering.advise(tiering.read_profile("profile.json"))  # doctest: +SKIP
        >>> tiering.write_advice(saved, "advice.json")  # doctest: +SKIP
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    format: Literal["tiering-advice"] = "tiering-advice"
    format_version: Literal[1] = 1
    origin: Origin
    profile: Profile = Field(description="the dataset, and the traces of jobs that read it")
    led_by: str | None = Field(description="path of the trace whose verdict led the advice; null without a trace")
    job: Job
    recommendation: Recommendation
    what_if: list[WhatIf] = Field(description="the choice under other assumptions; the first is as given")

    def summary(self) -> Summary:
        """Return the summary of the recommendation."""
        return self.recommendation.summary()


def origin_now(command: str = "") -> Origin:
    """Return the origin of what is made now. command: the command line, if there is one."""
    time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Origin(command=without_secrets(command), host=platform.node(), time=time, version=__version__)


def advise(profile: Profile, assumptions: Assumptions | None = None, *, command: str = "") -> SavedAdvice:
    """Recommend where and how to keep a dataset, and again under other assumptions.

    Args:
        profile: The dataset, and any traces. The verdict on the first trace leads the advice.
        assumptions: The training, its limits and the catalog.
        command: The command line that this is for, if there is one.

    Returns:
        The recommendation with its basis. `write_advice` saves it.

    Raises:
        UsageError: As recommend does, or the profile has no dataset.

    Example:
        >>> saved = tiering.advise(tiering.read_profile("profile.json"))  # doctest: +SKIP
        >>> saved.recommendation.choice.tier  # doctest: +SKIP
        'nvme'
    """
    dataset = profile.dataset
    if dataset is None:
        raise UsageError(
            "profile",
            found="it has traces alone, and no dataset",
            action="Make it with the dataset: tiering profile DATASET --trace FILE -o profile.json",
        )
    given = assumptions or Assumptions()
    tiers = tuple(load_catalog() if given.tiers is None else given.tiers)
    first = profile.traces[0] if profile.traces else None
    job = given.job
    if job.written_per_day is None and first is not None:
        job = replace(job, written_per_day=_written_per_day(first))
    given = replace(given, job=job, tiers=tiers, current=given.current or current_tier(dataset.root, tiers))
    verdict = None if first is None else classify(first)
    found = _recommended(dataset, verdict, given)
    cases = [WhatIf(assumption="as given", choice=found.choice)]
    for title, other in _others(given, tiers, reencode=bool(found.forms)):
        try:
            cases.append(WhatIf(assumption=title, choice=_recommended(dataset, verdict, other).choice))
        except UsageError as error:
            cases.append(WhatIf(assumption=title, choice=None, reason=str(error)))
    return SavedAdvice(
        origin=origin_now(command),
        profile=profile,
        led_by=None if first is None else first.source,
        job=given.job,
        recommendation=found,
        what_if=cases,
    )


def _written_per_day(trace: TraceProfile) -> float | None:
    if not trace.duration or trace.duration < 0:
        return None
    return trace.bytes_written / trace.duration * 86400


def _recommended(dataset: DatasetProfile, verdict: Verdict | None, given: Assumptions) -> Recommendation:
    return recommend(
        dataset,
        verdict=verdict,
        tiers=given.tiers,
        job=given.job,
        limits=given.limits,
        current=given.current,
        costs=given.costs,
    )


def _others(given: Assumptions, tiers: tuple[Tier, ...], *, reencode: bool) -> Iterator[tuple[str, Assumptions]]:
    """Yield other assumptions, with titles: more RAM, more epochs, slower tiers, lower prices, re-encoded images."""
    job = given.job
    more_ram, longer = replace(job, ram=2 * job.ram), replace(job, epochs=2 * job.epochs)
    if job.ram:
        yield f"double the RAM: {format_bytes(more_ram.ram)}", replace(given, job=more_ram)
    yield f"twice the epochs: {format_count(longer.epochs)}", replace(given, job=longer)
    names = {tier.name for tier in tiers}
    for name in ("nfs", "object"):
        if name in names:
            yield f"the dataset is on {name}", replace(given, current=name)
    half = tuple(tier.model_copy(update={"price": tier.price / 2}) for tier in tiers)
    yield "storage at half the price", replace(given, tiers=half)
    if reencode and not job.reencode and job.originals != "drop":
        yield "training may read re-encoded images", replace(given, job=replace(job, reencode=True))


def write_advice(advice: SavedAdvice, path: str | os.PathLike[str]) -> None:
    """Write advice.json, which appears complete or not at all.

    Args:
        advice: What `advise` returned.
        path: The file. An existing one is replaced.

    Raises:
        OSError: The file cannot be written.

    Example:
        >>> saved = tiering.advise(tiering.read_profile("profile.json"))  # doctest: +SKIP
        >>> tiering.write_advice(saved, "advice.json")  # doctest: +SKIP
    """
    write_output(path, advice.model_dump_json(indent=2) + "\n")


def is_advice(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is an advice.json, judging by its beginning. Raises OSError."""
    if not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        start = file.read(_SNIFFED).lstrip()
    return start.startswith(b"{") and b'"tiering-advice"' in start


def read_advice(path: str | os.PathLike[str]) -> SavedAdvice:
    """Read advice.json.

    Args:
        path: A file that `tiering recommend -o` or `write_advice` wrote.

    Returns:
        The recommendation with its basis.

    Raises:
        ProfileError: It is not saved advice, or has a newer format version.
        OSError: It cannot be read.

    Example:
        >>> tiering.read_advice("advice.json").recommendation.choice.tier  # doctest: +SKIP
        'nvme'
    """
    text = Path(path).read_bytes()
    try:
        return SavedAdvice.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        part = ".".join(str(part) for part in first["loc"]) or "the document"
        raise ProfileError(
            str(path),
            found=f"not advice that tiering recommend -o saved (format version 1): {part}: {first['msg'].lower()}",
            action="Save it again: tiering recommend PROFILE -o advice.json",
        ) from error
