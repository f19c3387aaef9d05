"""`tiering watch`: see what a job that is already running reads, and where it waits."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiering.cli import completion
from tiering.cli.output import MetricsHost, MetricsPort, json_line, note, talk
from tiering.cli.panels import INPUT, OUTPUT
from tiering.errors import TieringError, UsageError, command
from tiering.units import counted, format_bytes, format_percent, format_seconds

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile
    from tiering.trace.watching.job_progress import ProgressTally
    from tiering.trace.watching.observation import Observation, SourceUse
    from tiering.trace.watching.watch import Watched
    from tiering.workload.cause import Cause

#: Images that tell how large all are.
_PROBES = 50
#: Where Polars looks for the number of its threads.
_POLARS_THREADS = "POLARS_MAX_THREADS"


def watch(
    job: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PID | -- COMMAND...", show_default=False, help="The process to watch, or a command to start."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            rich_help_panel=INPUT,
            help="Watch the process whose command line matches this expression.",
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="TIME",
            show_default=False,
            rich_help_panel=INPUT,
            help="Stop after this time, such as 90s or 10min.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="Trace to write.")
    ] = Path("trace.parquet"),
    dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET",
            show_default=False,
            rich_help_panel=INPUT,
            autocompletion=completion.stores,
            help="What the job reads: its bytes tell how far an epoch is.",
        ),
    ] = None,
    warm_maps: Annotated[
        bool,
        typer.Option(
            "--warm-maps",
            rich_help_panel=INPUT,
            help="Also watch mapped files in memory. Clears the kernel's marks of used pages.",
        ),
    ] = False,
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--no-live",
            show_default=False,
            rich_help_panel=OUTPUT,
            help="Show the job on stderr. By default on a terminal, without a command.",
        ),
    ] = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            rich_help_panel=OUTPUT,
            help="Print a document for each look, one a line. The command's own output goes to stderr.",
        ),
    ] = False,
) -> None:
    """Watch a running job: what it reads and writes, its epochs, and what its processes wait for.

    The job is neither stopped nor changed. With it, all processes that it has started and will start are watched, until
    they end, or until Ctrl-C. `tiering classify` and `tiering profile --trace` read the trace that this writes.

    Example: `tiering watch --for 10min -o train.parquet -- python train.py`
    """
    target = _target(job, name)
    # Imported here so that `tiering --help` does not wait for Polars.
    with _one_thread():
        from tiering.cli.watch_view import WatchView
        from tiering.trace.watching.job_progress import ProgressTally
        from tiering.trace.watching.watch import watch as record
    from tiering.units import parse_seconds
    from tiering.workload.causes import causes

    seconds = None if duration is None else parse_seconds(duration)
    if seconds is not None and seconds <= 0:
        raise UsageError("--for", rule="must be a time above 0", found=repr(duration))
    starts = isinstance(target, list)
    total = None if dataset is None else _bytes_of(dataset)
    tally = ProgressTally(from_start=starts, dataset_bytes=total)
    view = WatchView(tally)
    with ExitStack() as around:
        if metrics_port is not None:
            around.enter_context(_metrics(tally, metrics_port, metrics_host))
        emit = around.enter_context(_json_lines(aside=starts)) if json else None
        if live or (live is None and sys.stderr.isatty() and not starts and not json):
            around.enter_context(view.shown())
            hint = False
        else:
            hint = starts and sys.stderr.isatty()

        def look(seen: Observation) -> None:
            nonlocal hint
            tally.add(seen)
            view.refresh()
            if hint and seen.processes:
                number = seen.processes[0].pid
                note(f"The command has this terminal. To see it live, in another one: tiering watch {number}")
                hint = False
            if emit is not None and (progress := tally.progress()) is not None:
                emit(progress, "look")

        watched = record(target, output, seconds=seconds, dataset=dataset, warm_maps=warm_maps, on_look=look)
        waits = causes(watched.waiting, dataset_bytes=total)
        if dataset is not None and any(cause.name == "decoding" for cause in waits):
            waits = causes(watched.waiting, dataset_bytes=total, dataset=_images_of(dataset))
        if emit is not None:
            emit(_result(watched, waits), "watch")
    _conclude(watched, waits, dataset)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let Polars begin with one thread, unless the user says otherwise.

    To wake others for the little that a look has to do takes longer than that, and the processors are the job's. A
    command that is started does not see the setting.
    """
    before = os.environ.get(_POLARS_THREADS)
    os.environ.setdefault(_POLARS_THREADS, "1")
    try:
        from polars import thread_pool_size

        # The threads begin when somebody first asks for them.
        thread_pool_size()
        yield
    finally:
        if before is None:
            del os.environ[_POLARS_THREADS]


def _target(job: list[str] | None, name: str | None) -> int | str | list[str]:
    """Return the number, the pattern or the command that was named."""
    if name is not None and not job:
        return name
    if job and name is None:
        return int(job[0]) if len(job) == 1 and job[0].isascii() and job[0].isdecimal() else job
    raise UsageError(
        "tiering watch",
        rule=f"{'needs' if name is None else 'takes'} one of PID, --name PATTERN and -- COMMAND",
        found="" if name is None else "two",
        action="For example: tiering watch --name train.py",
    )


def _bytes_of(dataset: Path) -> int:
    """Return the bytes of a file, or of all files of a directory: the job may read any of them."""
    from tiering.placement.survey import survey

    if dataset.is_file():
        return dataset.stat().st_size
    found = survey([dataset])
    if found.unreadable:
        note(f"Warning: {dataset}: {found.unreadable} of its directories could not be listed; their bytes are missing.")
    return found.bytes


def _images_of(dataset: Path) -> DatasetProfile | None:
    """Return a profile of a few images; None if the job reads something else."""
    from tiering.dataset.profile import profile_dataset
    from tiering.store.open import is_store
    from tiering.store.profile import profile_store

    try:
        if is_store(dataset):
            return profile_store(dataset, probes=_PROBES)
        return profile_dataset(dataset, sample=_PROBES, probes=_PROBES)
    except TieringError:
        return None


@contextmanager
def _metrics(tally: ProgressTally, port: int, host: str) -> Iterator[None]:
    from tiering.cache.metrics import serve_collector
    from tiering.cli.watch_metrics import JobMetrics

    with serve_collector(JobMetrics(tally.progress), port, host) as bound:
        note(f"Metrics: http://{host}:{bound}/metrics")
        yield


@contextmanager
def _json_lines(*, aside: bool) -> Iterator[Callable[[object, str], None]]:
    """Yield a function that prints a document as one line. aside: send what others print on stdout to stderr meanwhile.

    When the reader of the lines has gone, the watching ends as by Ctrl-C; a command that was started goes on.
    """
    sys.stdout.flush()
    gone = False
    with ExitStack() as around:
        lines = sys.stdout
        if aside:
            lines = around.enter_context(os.fdopen(os.dup(1), "w"))
            os.dup2(2, 1)
            around.callback(os.dup2, lines.fileno(), 1)

        def emit(document: object, name: str) -> None:
            nonlocal gone
            if gone:
                return
            try:
                lines.write(json_line(document, name))
                lines.flush()
            except BrokenPipeError:
                gone = True
                if not aside:
                    signal.raise_signal(signal.SIGINT)

        yield emit
        if gone:
            raise BrokenPipeError


def _result(watched: Watched, waits: list[Cause]) -> dict[str, Any]:
    """Return the result as its document has it."""
    names = ("path", "status", "seconds", "sources", "events", "bytes_read", "bytes_written", "notes", "watcher_share")
    found = {name: getattr(watched, name) for name in names}
    return found | {"interrupted": watched.interruption is not None, "waiting": watched.waiting, "causes": waits}


def _conclude(watched: Watched, waits: list[Cause], dataset: Path | None) -> None:
    """Say what was seen and what to do with it. Exit as the command did, or as an interrupted program does."""
    from tiering.system.signals import exit_code_of

    data = "DATASET" if dataset is None else dataset
    read, written = format_bytes(watched.bytes_read), format_bytes(watched.bytes_written)
    _say(f"In {format_seconds(watched.seconds)} the job read {read} and wrote {written}.")
    for cause in waits:
        _say(f"Where it waits, {cause.name}: {cause.evidence} {cause.fix}")
        if cause.command is not None:
            note(f"  {cause.command.replace('DATASET', command(data))}")
    note("What was seen:")
    for source in watched.sources:
        _say(_said(source), 2)
    for line in watched.notes:
        _say(f"Note: {line}")
    ended = "Interrupted. " if watched.interruption is not None else ""
    # Where the trace is stands last, where a small terminal still shows it.
    _say(
        f"{ended}Wrote {watched.path}: {counted(watched.events, 'event')}, {read} read, {written} written. "
        f"Watching took {format_percent(watched.watcher_share, digits=2)} of a core."
    )
    note("Next, what kind of workload it is, and where and how to keep its data:")
    note(f"  {command('tiering', 'classify', watched.path)}")
    note(f"  {command('tiering', 'profile', data, '--trace', watched.path, '-o', 'profile.json')}")
    note("  tiering recommend profile.json")
    if watched.interruption is not None:
        raise typer.Exit(exit_code_of(watched.interruption))
    if watched.status:
        raise typer.Exit(watched.status)


def _say(text: str, indented: int = 0) -> None:
    """Print a remark, broken between words on a terminal."""
    import textwrap

    width = talk().width if sys.stderr.isatty() else sys.maxsize
    first, further = " " * indented, " " * (2 * indented)
    for line in textwrap.wrap(text, width, initial_indent=first, subsequent_indent=further, break_on_hyphens=False):
        note(line)


def _said(source: SourceUse) -> str:
    if not source.used:
        return f"{source.name}: not used, {source.reason}. It would show {source.shows}."
    return f"{source.name}: {source.shows}. Not seen: {source.lacks}."
