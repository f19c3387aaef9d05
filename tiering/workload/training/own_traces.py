"""Your own labelled traces, as further examples to train on.

The traces lie in one folder for each workload, named like it: DIR/re-read-heavy/imagenet/monday.strace. A folder
between is one program, which is held out as one when the model is tested; a trace without is a program of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from tiering.errors import TraceError, UsageError
from tiering.progress import Progress, no_progress
from tiering.trace.profile import profile_events, profile_trace
from tiering.trace.program_files import is_noise
from tiering.trace.readers import read_trace
from tiering.trace.trace_profile import TraceProfile
from tiering.workload.label import WORKLOADS, Workload
from tiering.workload.training.corpus import OWN, PARTS, Example

#: Traces to train on are read without any option.
_UNREADABLE: Final = "Leave it out of the directory, or record it again."


def own_examples(directory: str | os.PathLike[str], progress: Progress = no_progress) -> Iterator[Example]:
    """Read labelled traces: of each the whole, and its first parts as in the corpus.

    The label is believed, even where the bytes in the trace say otherwise: a trace may show a part of a run.

    Args:
        directory: Has a folder for one workload or several: re-read-heavy, write-heavy, read-once, mixed. Below are
            traces of any known format. Names that begin with a dot are left out.
        progress: Called with the traces read, all of them, and 0.

    Yields:
        Examples, in the order of names.

    Raises:
        UsageError: The directory has another entry than such folders, or no trace.
        TraceError: A trace cannot be read.

    Example:
        >>> len(list(own_examples("traces")))  # doctest: +SKIP
        60
    """
    root = Path(directory)
    labelled = list(_labelled(root))
    progress(0, len(labelled), 0)
    for number, (workload, trace) in enumerate(labelled, 1):
        inside = trace.relative_to(root / workload)
        name = inside.parts[0] if len(inside.parts) > 1 else inside.name.split(".")[0]
        try:
            parts = list(_parts(trace))
        except TraceError as error:
            raise error.with_parts(action=_UNREADABLE) from error
        for part, profile in parts:
            yield Example(f"{OWN}{name}", profile, part, workload)
        progress(number, len(labelled), 0)
    if not labelled:
        raise _refused(root, "no trace")


def _labelled(root: Path) -> Iterator[tuple[Workload, Path]]:
    if not root.is_dir():
        raise _refused(root, "no directory")
    names: Final = {str(workload): workload for workload in WORKLOADS}
    for folder in sorted(root.iterdir()):
        if folder.name.startswith("."):
            continue
        if folder.name not in names or not folder.is_dir():
            raise _refused(root, folder.name)
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.is_file() and not hidden:
                yield names[folder.name], path


def _refused(root: Path, found: str) -> UsageError:
    return UsageError(
        "own",
        expected=f"a directory with traces in folders named {', '.join(WORKLOADS)}",
        found=f"{found} in {root}" if root.is_dir() else f"{root}, which is none",
        action=f"Put each trace below the workload of its run: {root}/re-read-heavy/PROGRAM/TRACE",
    )


def _parts(trace: Path) -> Iterator[tuple[str, TraceProfile]]:
    """Profile a trace, and up to each of PARTS of its events that move data (in its first epoch, if it has epochs)."""
    counted: list[int] = []
    whole = profile_trace(trace, beside=lambda _, data: counted.append(int(data.select(_MOVES.sum()).item())))
    yield "whole", whole
    total = sum(counted)
    if whole.epochs_found is not None and whole.epochs_found.boundaries:
        total = max(1, round(total / max(1.0, whole.epochs or 1.0)))
    for part in PARTS:
        batches = read_trace(trace).batches
        yield f"{part:g}", profile_events(_first(batches, max(1, round(total * part))), source=str(trace))


_MOVES: Final = pl.col("op").is_in(["read", "write", "mmap"]) & (pl.col("size") > 0) & ~is_noise(None)


def _first(batches: Iterator[pl.DataFrame], moves: int) -> Iterator[pl.DataFrame]:
    """Yield events up to that many that move data."""
    left = moves
    for batch in batches:
        numbers = batch.select(_MOVES.cast(pl.Int64).cum_sum()).to_series()
        inside = int((numbers < left).sum())
        yield batch.head(inside + 1)
        left -= int(numbers[-1]) if len(numbers) else 0
        if left <= 0:
            return
