"""`tiering classify`: the kind of workload that a trace shows, its probability, and the reasons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli.choices import Lenient, TraceColumns
from tiering.cli.output import JsonFlag, emit_json, out, plain, status
from tiering.errors import ProfileError

if TYPE_CHECKING:
    from tiering.trace.trace_profile import TraceProfile
    from tiering.workload.verdict import Verdict


def classify(
    source: Annotated[
        Path,
        typer.Argument(metavar="TRACE|PROFILE", help="An I/O trace, or a profile.json made with --trace."),
    ],
    dataset: Annotated[
        Path | None,
        typer.Option(
            "--dataset",
            metavar="DIR",
            help="Images that the traced program reads. The share that it read makes the verdict surer.",
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="FILE", help="Use this model instead of the one that ships.")
    ] = None,
    columns: TraceColumns = None,
    lenient: Lenient = False,
    json: JsonFlag = False,
) -> None:
    """Name the kind of workload that a trace shows, with its probability and the three strongest reasons.

    The verdict is re-read-heavy, write-heavy, read-once, mixed or inconclusive. It is a forecast for the whole run,
    even if the trace shows only the beginning. A profile with several traces gets one verdict for each.

    Example: `tiering classify train.strace`
    """
    # Imported here so that `tiering --help` does not wait for Polars.
    from tiering.workload.classifier import load_model
    from tiering.workload.profile_mark import is_profile
    from tiering.workload.verdict import classify as judge

    with status(f"Reading {source}"):
        chosen = load_model(model) if model is not None else None
        traces = (
            _of_profile(source)
            if is_profile(source)
            else [_of_trace(source, dataset, lenient=lenient, columns=columns)]
        )
        verdicts = [(trace.source, judge(trace, chosen)) for trace in traces]
    if json:
        emit_json({"verdicts": [{"source": name, **plain(verdict)} for name, verdict in verdicts]}, "verdicts")
        return
    console = out()
    for name, verdict in verdicts:
        console.print(f"Trace {name}", style="bold")
        for head, text in _rows(verdict):
            console.print(f"  {head:<8} {text}", soft_wrap=True)


def _rows(verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield "verdict", f"{verdict.workload} (probability {verdict.probability:.2f})"
    for fact in verdict.facts:
        yield "despite" if fact.against else "because", fact.text
    for line in verdict.notes:
        yield "note", line


def _of_profile(path: Path) -> list[TraceProfile]:
    from tiering.workload.profile import read_profile

    traces = read_profile(path).traces
    if not traces:
        raise ProfileError(
            str(path),
            expected="a profile with at least one trace",
            found="none",
            action="Make it with --trace: tiering profile DATASET --trace FILE -o profile.json",
        )
    return traces


def _of_trace(path: Path, dataset: Path | None, *, lenient: bool, columns: str | None) -> TraceProfile:
    from tiering.trace.profile import profile_trace

    total = None if dataset is None else _bytes_of(dataset)
    return profile_trace(path, dataset_root=dataset, dataset_bytes=total, lenient=lenient, columns=columns)


def _bytes_of(dataset: Path) -> int:
    from tiering.dataset.profile import profile_dataset
    from tiering.store.open import is_store
    from tiering.store.profile import profile_store

    return (profile_store if is_store(dataset) else profile_dataset)(str(dataset), probes=1).bytes
