"""`tiering classify`: the kind of workload that a trace shows, its probability, and the reasons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli import completion
from tiering.cli.choices import Lenient, TraceColumns
from tiering.cli.output import JsonFlag, emit_json, out, plain
from tiering.cli.panels import INPUT
from tiering.cli.progress import progress
from tiering.errors import ProfileError

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile
    from tiering.trace.trace_profile import TraceProfile
    from tiering.workload.cause import Cause
    from tiering.workload.profile import Profile
    from tiering.workload.verdict import Verdict

#: Headers of images that tell how large they are.
_PROBES = 50


def classify(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="TRACE|PROFILE",
            autocompletion=completion.traces,
            help="An I/O trace, or a profile.json made with --trace.",
        ),
    ],
    dataset: Annotated[
        Path | None,
        typer.Option(
            "--dataset",
            metavar="DIR",
            rich_help_panel=INPUT,
            autocompletion=completion.stores,
            help="Images that the traced program reads: makes the verdict surer.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="FILE", rich_help_panel=INPUT, help="Use this model instead of the one that ships."
        ),
    ] = None,
    columns: TraceColumns = None,
    lenient: Lenient = False,
    json: JsonFlag = False,
) -> None:
    """Name the kind of workload that a trace shows, with its probability and the three strongest reasons.

    Of a trace of `tiering watch`, or of PyTorch's profiler, it also says where the job waits, and what to do about it.

    The verdict is re-read-heavy, write-heavy, read-once, mixed or inconclusive. It is a forecast for the whole run,
    even if the trace shows only the beginning. A profile with several traces gets one verdict for each.

    Example: `tiering classify train.strace`
    """
    # Imported here so that `tiering --help` does not wait for Polars.
    from tiering.trace.profile import profile_trace
    from tiering.workload.causes import causes
    from tiering.workload.classifier import load_model
    from tiering.workload.profile_mark import is_profile
    from tiering.workload.verdict import classify as judge

    chosen = load_model(model) if model is not None else None
    images = None if dataset is None else _profile_of(dataset)
    total = None if images is None else images.bytes
    if is_profile(source):
        kept = _of_profile(source)
        traces, images = kept.traces, images or kept.dataset
    else:
        with progress(f"reading {source}", "events") as advance:
            found = profile_trace(
                source,
                dataset_root=dataset,
                dataset_bytes=total,
                lenient=lenient,
                columns=columns,
                progress=advance,
            )
        traces = [found]
    verdicts = [
        (trace, judge(trace, chosen), causes(trace.waiting, trace, dataset_bytes=total, dataset=images))
        for trace in traces
    ]
    if json:
        shown = [
            {"source": trace.source, **plain(verdict), "causes": [plain(cause) for cause in named]}
            for trace, verdict, named in verdicts
        ]
        emit_json({"verdicts": shown}, "verdicts")
        return
    console = out()
    for trace, verdict, named in verdicts:
        console.print(f"Trace {trace.source}", style="bold")
        for head, text in (*_rows(verdict), *_waits(trace, named)):
            console.say(f"  {head:<8} {text}", indent=11)


def _waits(trace: TraceProfile, named: list[Cause]) -> Iterator[tuple[str, str]]:
    """Say where the job waits, if the trace shows it."""
    if trace.waiting is None:
        return
    if not named:
        yield "waits", "for nothing that stands out"
    for cause in named:
        yield "waits", f"{cause.name}: {cause.evidence}"
        yield "", cause.fix + (f" Try: {cause.command}" if cause.command else "")


def _rows(verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield "verdict", f"{verdict.workload} (probability {verdict.probability:.2f})"
    for fact in verdict.facts:
        yield "despite" if fact.against else "because", fact.text
    for line in verdict.notes:
        yield "note", line


def _of_profile(path: Path) -> Profile:
    from tiering.workload.profile import read_profile

    kept = read_profile(path)
    if not kept.traces:
        raise ProfileError(
            str(path),
            found="this profile has no trace",
            action="Make it with --trace: tiering profile DATASET --trace FILE -o profile.json",
        )
    return kept


def _profile_of(dataset: Path) -> DatasetProfile:
    from tiering.dataset.profile import profile_dataset
    from tiering.store.open import is_store
    from tiering.store.profile import profile_store

    with progress(f"counting {dataset}", "images") as advance:
        profile = profile_store if is_store(dataset) else profile_dataset
        return profile(str(dataset), probes=_PROBES, progress=advance)
