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
    misleading,
    mixing,
    relatives,
    rereading,
    scanning,
    writing,
)
from tiering.workload.training.corpus.rows import SyntheticRun
from tiering.workload.training.corpus.surroundings import surrounded

Generator = Callable[[np.random.Generator, float], SyntheticRun]


@dataclass(frozen=True, slots=True)
class Family:
    """A generator of runs, the workload of each of them, and the kind of program that they are.

    generate: takes a random generator and a scale (1 gives about 10^3 to 10^4 events) and returns a SyntheticRun.
    kind: one of surroundings.KINDS.
    """

    generate: Generator
    promises: Workload
    kind: str

    @property
    def name(self) -> str:
        """The name of the generator."""
        return self.generate.__name__


FAMILIES: tuple[Family, ...] = (
    Family(rereading.shuffled_files, "re-read-heavy", "training"),
    Family(rereading.worker_files, "re-read-heavy", "training"),
    Family(rereading.packed_random, "re-read-heavy", "training"),
    Family(rereading.packed_batches, "re-read-heavy", "training"),
    Family(rereading.packed_mapped, "re-read-heavy", "training"),
    Family(rereading.mapped_arrays, "re-read-heavy", "training"),
    Family(rereading.record_files, "re-read-heavy", "training"),
    Family(rereading.sequential_epochs, "re-read-heavy", "training"),
    Family(rereading.tuning_jobs, "re-read-heavy", "training"),
    Family(writing.log_appending, "write-heavy", "logging"),
    Family(writing.database_rows, "write-heavy", "database"),
    Family(writing.simulation_checkpoints, "write-heavy", "simulation"),
    Family(writing.backup_target, "write-heavy", "archiving"),
    Family(writing.table_output, "write-heavy", "tables"),
    Family(writing.merge_tree, "write-heavy", "database"),
    Family(writing.resumed_simulation, "write-heavy", "simulation"),
    Family(writing.capture, "write-heavy", "media"),
    Family(writing.autosaving, "write-heavy", "office"),
    Family(scanning.table_scan, "read-once", "tables"),
    Family(scanning.archive_source, "read-once", "archiving"),
    Family(scanning.text_search, "read-once", "scanning"),
    Family(scanning.inference, "read-once", "inference"),
    Family(scanning.checksums, "read-once", "scanning"),
    Family(scanning.mapped_scan, "read-once", "inference"),
    Family(scanning.mapped_tables, "read-once", "tables"),
    Family(looking_up.index_lookups, "read-once", "database"),
    Family(looking_up.point_queries, "read-once", "database"),
    Family(looking_up.range_requests, "read-once", "serving"),
    Family(looking_up.column_scan, "read-once", "tables"),
    Family(mixing.office_server, "mixed", "office"),
    Family(mixing.database_server, "mixed", "database"),
    Family(mixing.build, "mixed", "building"),
    Family(mixing.mail, "mixed", "serving"),
    Family(mixing.conversion, "mixed", "preparing"),
    Family(mixing.external_sort, "mixed", "database"),
    Family(mixing.rereading_editor, "mixed", "tables"),
    Family(further_programs.windowed_shuffle, "re-read-heavy", "training"),
    Family(further_programs.weighted_sampling, "re-read-heavy", "training"),
    Family(further_programs.growing_dataset, "re-read-heavy", "training"),
    Family(further_programs.web_serving, "re-read-heavy", "serving"),
    Family(further_programs.media_streams, "read-once", "media"),
    Family(further_programs.log_analysis, "read-once", "tables"),
    Family(further_programs.image_dump, "read-once", "archiving"),
    Family(further_programs.photo_store, "read-once", "serving"),
    Family(further_programs.restarted_solver, "write-heavy", "simulation"),
    Family(further_programs.unpacking, "write-heavy", "archiving"),
    Family(further_programs.spilling_join, "mixed", "database"),
    Family(further_programs.copying, "mixed", "archiving"),
    Family(large_files.language_pretraining, "write-heavy", "pretraining"),
    Family(large_files.tar_shards, "re-read-heavy", "training"),
    Family(large_files.indexed_records, "re-read-heavy", "training"),
    Family(large_files.object_gets, "read-once", "serving"),
    Family(misleading.archiving_images, "mixed", "archiving with a framework"),
    Family(misleading.inference_server, "read-once", "inference server"),
    Family(misleading.training_elsewhere, "re-read-heavy", "training without a framework"),
    Family(misleading.searching_dataset, "read-once", "searching a dataset"),
    Family(misleading.preparing_images, "read-once", "preparing with a framework"),
    Family(relatives.streamed_text, "re-read-heavy", "training"),
    Family(relatives.mapped_tokens, "re-read-heavy", "training"),
    Family(relatives.chunk_files, "re-read-heavy", "training"),
    Family(relatives.detection, "re-read-heavy", "training"),
    Family(relatives.native_training, "re-read-heavy", "training without a framework"),
    Family(relatives.extracted_features, "read-once", "preparing with a framework"),
    Family(relatives.evaluated_network, "read-once", "inference"),
    Family(relatives.picture_service, "read-once", "inference server"),
    Family(relatives.loaded_model, "read-once", "inference"),
    Family(relatives.scanned_tree, "read-once", "searching a dataset"),
    Family(relatives.loaded_tables, "read-once", "tables"),
    Family(relatives.finetuning, "write-heavy", "pretraining"),
    Family(relatives.weather, "write-heavy", "simulation"),
)

#: The families that were made to mislead.
MISLEADING = frozenset(family.name for family in FAMILIES if family.generate.__module__ == misleading.__name__)


#: Shares of the first epoch on which forecasts are trained and judged.
PARTS = (0.1, 0.25, 0.5, 1.0)

#: Other parts, of recorded runs: a run from somewhere in it to its end, and one that was killed on the way.
CUT = ("attached", "killed")

#: Least number of events of a part.
FEWEST = 30


@dataclass(frozen=True, slots=True)
class Example:
    """A part of a run as a model sees it, and the workload of the whole run.

    part: "whole", or the share of the first epoch (or of the whole run if it has no epochs) that the profile covers, or
    one of CUT. kind: what held-out runs have in common: the framework or the sort of program; "" if not known.
    """

    family: str
    trace: TraceProfile
    part: str
    workload: Workload
    kind: str = ""


def whole_run(run: SyntheticRun, lead: pl.DataFrame | None = None) -> tuple[TraceProfile, Workload]:
    """Profile a whole run and label it, including the touches that no tracer shows. lead: the events before its own."""
    batches = [run.events] if lead is None else [lead, run.events]
    trace = profile_events(batches, source="corpus", dataset_bytes=run.dataset_bytes)
    read = trace.bytes_read + run.unseen_read + run.unseen_reread
    return trace, label(read, trace.bytes_written, trace.bytes_reread + run.unseen_reread)


#: Runs of each family by default, and the examples that they make: each whole, and its first parts.
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
    for number in range(len(FAMILIES)):
        for index in range(runs):
            yield from examples_of_run(seed, number, index, parts, scale)


def examples_of_run(seed: int, number: int, index: int, parts: Sequence[float], scale: float) -> Iterator[Example]:
    """Generate the examples of one run of the family of that number, as `examples` does."""
    family = FAMILIES[number]
    rng = np.random.default_rng([seed, number, index])
    made = family.generate(rng, scale)
    # Another generator, so that what a run reads does not depend on its surroundings.
    lead, run = surrounded(np.random.default_rng([seed, number, index, 1]), made, family.kind)
    trace, workload = whole_run(run, lead)
    unknown = trace.model_copy(update={"coverage": None})
    yield Example(family.name, trace if rng.random() < 0.5 else unknown, "whole", workload)
    span = first_epoch(run.events, lead, trace)
    for part in parts:
        events = run.events.head(max(FEWEST, int(span * part)))
        if rng.random() < 0.125:
            events = events.filter(pl.col("op").is_in(["read", "write", "mmap", "sync"]))
        known = run.dataset_bytes if rng.random() < 0.5 else None
        seen = profile_events([lead, events], source="corpus", dataset_bytes=known)
        yield Example(family.name, seen, f"{part:g}", workload)


def first_epoch(events: pl.DataFrame, lead: pl.DataFrame, trace: TraceProfile) -> int:
    """Return the number of events in a run's first epoch, or of all if it has no epochs. lead: the events before."""
    if trace.epochs_found is None:
        return len(events)
    times = events["time"].to_numpy()
    begin = times.min() if lead.is_empty() else lead["time"].to_numpy().min()
    return int((times < begin + trace.epochs_found.boundaries[0]).sum())


#: The prefix of the families of recorded runs.
RECORDED = "recorded "
#: The prefix of the families of users' own traces.
OWN = "own "


def recorded() -> Iterator[Example]:
    """Read the recorded runs that come with the package. The family is "recorded" and the program's name."""
    lines = (importlib.resources.files("tiering.workload.training") / "recorded.jsonl").read_text(encoding="utf-8")
    for line in lines.splitlines():
        found = json.loads(line)
        family, trace = f"{RECORDED}{found['program']}", TraceProfile.model_validate(found["trace"])
        yield Example(family, trace, found["part"], found["workload"], found.get("kind", ""))
