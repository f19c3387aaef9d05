"""`tiering report`: a dataset and its traces in one HTML file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tiering.cli import completion
from tiering.cli.asked_advice import assumptions_of, calibrated, command_line, takes_job_options, typed_job_options
from tiering.cli.choices import Lenient, TraceColumns
from tiering.cli.flags import with_flags
from tiering.cli.job_options import JobOptions
from tiering.cli.output import note
from tiering.cli.panels import INPUT, OUTPUT
from tiering.cli.progress import progress
from tiering.errors import UsageError
from tiering.units import counted, format_bytes


@takes_job_options
def report(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PROFILE|ADVICE|DATASET",
            autocompletion=completion.profiles_and_stores,
            help="A profile.json or advice.json, a directory of images, or a packed store.",
        ),
    ],
    asked: JobOptions,
    others: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TRACE|OTHER...",
            autocompletion=completion.traces,
            help="Further traces; or one profile, advice or store to compare with.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            show_default=False,
            rich_help_panel=OUTPUT,
            help="HTML file to write. By default report.html.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", rich_help_panel=OUTPUT, help="Replace existing files.")] = False,
    advice: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=INPUT,
            help="Show this advice, saved by `tiering recommend -o`, and make none.",
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=OUTPUT,
            help="Write the charts as SVG, PDF and CSV here. HTML only with -o then.",
        ),
    ] = None,
    columns: TraceColumns = None,
    lenient: Lenient = False,
) -> None:
    """Write an HTML report of a dataset, its traces, their verdicts and the recommendations.

    The report is one file that opens offline. Traces that the profile names are read again if they still exist. Takes
    every option of `tiering recommend`, or the advice that it saved, so that both say the same. Needs
    `pip install 'tiering[report]'`; --figures needs `pip install 'tiering[figures]'`, and leaves a caption for each.

    Example: `tiering report profile.json -o report.html`
    """
    from tiering.advice.saved_advice import SavedAdvice, read_advice
    from tiering.reporting.comparison import write_comparison
    from tiering.reporting.content import gather, read_source
    from tiering.reporting.page import write_report
    from tiering.reporting.printed import write_figures
    from tiering.workload.profile import Profile

    page = output if output is not None or figures is not None else Path("report.html")
    if not force:
        _keep(page, figures)
    other, traces = _told_apart(others or [])
    given = assumptions_of(asked)
    with progress("reading", "images") as advance:
        read = [read_source(each, reencoded=asked.reencode, progress=advance) for each in (source, *other)]
        saved = None if advice is None else read_advice(advice)
    if saved is not None or any(isinstance(each, SavedAdvice) for each in read):
        _refuse(typed_job_options())
    found = []
    for each in read:
        basis = calibrated(given, each, asked) if isinstance(each, Profile) else given
        with progress("reading traces", "events") as advance:
            found.append(
                gather(
                    each,
                    traces if each is read[0] else [],
                    assumptions=basis,
                    advice=saved if each is read[0] else None,
                    lenient=lenient,
                    columns=columns,
                    command=command_line(),
                    progress=advance,
                )
            )
    say = partial(with_flags, "recommend")
    if page is not None:
        if len(found) > 1:
            write_comparison(found[0], found[1], page, wording=say)
        else:
            write_report(found[0], page, wording=say)
        note(f"Wrote {page} ({format_bytes(page.stat().st_size)}).")
    if figures is not None:
        names = write_figures(found[0], figures, other=found[1] if len(found) > 1 else None)
        note(f"Wrote {counted(len(names), 'file')} into {figures}; captions.txt says what each figure shows.")


def _keep(page: Path | None, figures: Path | None) -> None:
    """Refuse to replace what exists."""
    if page is not None and page.exists():
        raise UsageError(str(page), found="it exists already", action="Replace it with --force.")
    if figures is not None and figures.is_dir() and any(figures.iterdir()):
        raise UsageError(str(figures), found="the directory is not empty", action="Replace them with --force.")


def _told_apart(others: list[str]) -> tuple[list[str], list[Path]]:
    """Return what to compare with, at most one and perhaps a URL, and the traces."""
    from tiering.advice.saved_advice import is_advice
    from tiering.store.open import is_store
    from tiering.workload.profile_mark import is_profile

    compared = [
        path for path in others if is_store(path) or is_advice(path) or (Path(path).is_file() and is_profile(path))
    ]
    if len(compared) > 1:
        raise UsageError(
            " ".join(compared),
            expected="one profile, advice or store to compare with",
            found=str(len(compared)),
            action="Compare two at a time.",
        )
    traces = [path for path in others if path not in compared]
    if compared and traces:
        raise UsageError(
            " ".join(traces),
            found="traces cannot be shown beside a comparison",
            action="Put each trace into a profile: tiering profile DATASET --trace FILE -o profile.json",
        )
    return compared, [Path(path) for path in traces]


def _refuse(typed: list[str]) -> None:
    if typed:
        raise UsageError(
            ", ".join(typed),
            found="the saved advice has options of its own",
            action="Give them to tiering recommend -o, or leave the saved advice out.",
        )
