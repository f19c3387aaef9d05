"""The case that a recommendation decides: what all options share, which of them keep the limits, and which is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tiering.advice.catalog import Tier
from tiering.advice.checkpoints import while_writing
from tiering.advice.constraints import Limits, within
from tiering.advice.job import Job
from tiering.advice.option import Option
from tiering.advice.originals import Originals, with_originals, without_room
from tiering.advice.ranking import choose, others, pareto, warned_of_crowding
from tiering.advice.reasons import reason_for_one_pass, reason_for_training, reason_for_writes


@dataclass(frozen=True, slots=True)
class Case:
    """What the options of one recommendation share.

    Attributes:
        workload: The workload that the advice is for.
        trains: Whether a job trains.
        catalog: The tiers.
        job: The training.
        limits: Limits that the choice must keep.
        home: Where the dataset is now.
        baseline: The dataset as it is now.
        originals: Where the originals are kept beside a store.
        passes: Epochs of a run.
        reading: Seconds and USD to read the dataset from where it is, by the number of copies that are read.
    """

    workload: str
    trains: bool
    catalog: tuple[Tier, ...]
    job: Job
    limits: Limits
    home: Tier
    baseline: Option
    originals: Originals
    passes: int
    reading: Mapping[int, tuple[float, float]]

    def judged(self, options: Sequence[Option]) -> tuple[list[Option], list[str]]:
        """Return the options that keep the limits, with their bills and gains, and a sentence for each limit.

        Raises:
            UsageError: No option keeps the limits.
        """
        crowded: list[str] = []
        if self.trains:
            beside = [with_originals(option, self.originals, self.baseline) for option in options]
            options, crowded = without_room(beside, self.originals)
            options = [while_writing(option, self.catalog, self.job) for option in options]
        if self.job.runs_per_month:
            options = warned_of_crowding(options)
        kept, broken = within([self._compared(option) for option in options], self.limits)
        front = pareto(kept, self.passes)
        return [option.on_front(option in front) for option in kept], [*crowded, *broken]

    def best(self, kept: Sequence[Option]) -> tuple[Option, str]:
        """Return the best of options that were judged, with its reason, and the criterion in words."""
        choice, criterion = choose(
            kept, self.workload, self.home.name, self.passes,
            hour_usd=self.job.hour_usd, months=self.job.months, runs=self.job.runs_per_month,
        )  # fmt: skip
        return self._explained(choice), criterion

    def others(self, kept: Sequence[Option], choice: Option) -> tuple[Option, ...]:
        """Return the options that are worth a line beside the choice, with their reasons."""
        job = self.job
        shown = others(kept, choice, self.passes, job.waiting_usd, job.runs_per_month, job.months)
        return tuple(map(self._explained, shown))

    def _compared(self, option: Option) -> Option:
        reading = (0.0, 0.0) if option.by_rule else self.reading[option.copies]
        return option.compared_with(self.baseline, self.passes, *reading)

    def _explained(self, option: Option) -> Option:
        if self.workload == "write-heavy":
            return option.because(reason_for_writes(option, self.catalog, self.job.written_per_day))
        once = self.workload == "read-once"
        return option.because(reason_for_one_pass(option) if once else reason_for_training(option))
