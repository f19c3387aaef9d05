"""The training corpus: labelled runs, generated from published characterisations or recorded from real programs.

A family is one program or service. Its runs differ in size, speed, processes and habits. The model mostly sees only the
first part of a run, and the label is that of the whole run, so it learns to forecast. Open `rereading` for an example
of a family, and `rows` for the building blocks.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tiering.trace.profile import profile_events
from tiering.trace.trace_profile import TraceProfile
from tiering.workload.label import Workload, label
from tiering.workload.training.corpus import (
    further_programs,
    large_files,
    looking_up,
    mixing,
    rereading,
    scanning,
    writing,
)
from tiering.workload.training.corpus.rows import SyntheticRun

Generator = Callable[[np.random.Generator, float], SyntheticRun]


@dataclass(frozen=True, slots=True)
class Family:
    """A generator of runs, and the workload of each of them.

    generate: takes a random generator and a scale (1 gives about 10^3 to 10^4 events) and returns a SyntheticRun.
    """

    generate: Generator
    promises: Workload

    @property
    def name(self) -> str:
        """The name of the generator."""
        return self.generate.__name__


FAMILIES: tuple[Family, ...] = (
    *(
        Family(generate, "re-read-heavy")
        for generate in (
            rereading.shuffled_files,
            rereading.worker_files,
            rereading.packed_random,
            rereading.packed_batches,
            rereading.packed_mapped,
            rereading.mapped_arrays,
            rereading.record_files,
            rereading.sequential_epochs,
            rereading.tuning_jobs,
        )
    ),
    *(
        Family(generate, "write-heavy")
        for generate in (
            writing.log_appending,
            writing.database_rows,
            writing.simulation_checkpoints,
            writing.backup_target,
            writing.table_output,
            writing.merge_tree,
            writing.resumed_simulation,
            writing.capture,
            writing.autosaving,
        )
    ),
    *(
        Family(generate, "read-once")
        for generate in (
            scanning.table_scan,
            scanning.archive_source,
            scanning.text_search,
            scanning.inference,
            scanning.checksums,
            scanning.mapped_scan,
            scanning.mapped_tables,
            looking_up.index_lookups,
            looking_up.point_queries,
            looking_up.range_requests,
            looking_up.column_scan,
        )
    ),
    *(
        Family(generate, "mixed")
        for generate in (
            mixing.office_server,
            mixing.database_server,
            mixing.build,
            mixing.mail,
            mixing.conversion,
            mixing.external_sort,
            mixing.rereading_editor,
        )
    ),
    Family(further_programs.windowed_shuffle, "re-read-heavy"),
    Family(further_programs.weighted_sampling, "re-read-heavy"),
    Family(further_programs.growing_dataset, "re-read-heavy"),
    Family(further_programs.web_serving, "re-read-heavy"),
    Family(further_programs.media_streams, "read-once"),
    Family(further_programs.log_analysis, "read-once"),
    Family(further_programs.image_dump, "read-once"),
    Family(further_programs.photo_store, "read-once"),
    Family(further_programs.restarted_solver, "write-heavy"),
    Family(further_programs.unpacking, "write-heavy"),
    Family(further_programs.spilling_join, "mixed"),
    Family(further_programs.copying, "mixed"),
    Family(large_files.language_pretraining, "write-heavy"),
    Family(large_files.tar_shards, "re-read-heavy"),
    Family(large_files.indexed_records, "re-read-heavy"),
    Family(large_files.object_gets, "read-once"),
)


#: Shares of the first epoch on which forecasts are trained and judged.
PARTS = (0.1, 0.25, 0.5, 1.0)

#: Least number of events of a part.
FEWEST = 30


@dataclass(frozen=True, slots=True)
class Example:
    """A part of a run as a model sees it, and the workload of the whole run.

    part: "whole", or the share of the first epoch (or of the whole run if it has no epochs) that the profile covers.
    """

    family: str
    trace: TraceProfile
    part: str
    workload: Workload


def whole_run(run: SyntheticRun) -> tuple[TraceProfile, Workload]:
    """Profile a whole run and label it, including the touches that no tracer shows."""
    trace = profile_events([run.events], source="corpus", dataset_bytes=run.dataset_bytes)
    read = trace.bytes_read + run.unseen_read + run.unseen_reread
    return trace, label(read, trace.bytes_written, trace.bytes_reread + run.unseen_reread)


#: Runs of each family by default, and examples in all: a whole run, and its first parts.
_RUNS = 15
GENERATED = len(FAMILIES) * _RUNS * (1 + len(PARTS))


def examples(
    seed: int = 0, *, runs: int = _RUNS, parts: Sequence[float] = PARTS, scale: float = 0.5
) -> Iterator[Example]:
    """Generate the corpus: for each family, `runs` whole runs and the first parts of each.

    parts: shares of the first epoch, or of the whole run if it has no epochs. The same seed gives the same corpus. The
    dataset's size is known in half of the examples, so that a model learns to do without it. One example in eight lacks
    opens and closes, like traces of block devices and network file systems.
    """
    for number, family in enumerate(FAMILIES):
        for index in range(runs):
            rng = np.random.default_rng([seed, number, index])
            run = family.generate(rng, scale)
            trace, workload = whole_run(run)
            unknown = trace.model_copy(update={"coverage": None})
            yield Example(family.name, trace if rng.random() < 0.5 else unknown, "whole", workload)
            span = first_epoch(run.events, trace)
            for part in parts:
                events = run.events.head(max(FEWEST, int(span * part)))
                if rng.random() < 0.125:
                    events = events.filter(pl.col("op").is_in(["read", "write", "mmap", "sync"]))
                known = run.dataset_bytes if rng.random() < 0.5 else None
                seen = profile_events([events], source="corpus", dataset_bytes=known)
                yield Example(family.name, seen, f"{part:g}", workload)


def first_epoch(events: pl.DataFrame, trace: TraceProfile) -> int:
    """Return the number of events in a run's first epoch, or of all events if it has no epochs."""
    if trace.epochs_found is None:
        return len(events)
    times = events["time"].to_numpy()
    return int((times < times.min() + trace.epochs_found.boundaries[0]).sum())


#: The prefix of the families of recorded runs.
RECORDED = "recorded "


def recorded() -> Iterator[Example]:
    """Read the recorded runs that come with the package. The family is "recorded" and the program's name."""
    lines = (importlib.resources.files("tiering.workload.training") / "recorded.jsonl").read_text(encoding="utf-8")
    for line in lines.splitlines():
        found = json.loads(line)
        family, trace = f"{RECORDED}{found['program']}", TraceProfile.model_validate(found["trace"])
        yield Example(family, trace, found["part"], found["workload"])
