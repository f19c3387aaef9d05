"""Print a plan for datasets: the tiers, the datasets, the moves that gain most, caches to buy, and shares of jobs."""

from __future__ import annotations

import csv
import io
import json as json_text
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tiering.cli.output import emit_json, note, out, table
from tiering.cli.placed import compare, show_plan
from tiering.cli.progress import progress
from tiering.errors import UsageError
from tiering.text import first_few, shown
from tiering.units import (
    format_bytes,
    format_count,
    format_percent,
    format_rate,
    format_seconds,
    format_usd,
)

if TYPE_CHECKING:
    from tiering.placement.dataset_plan import DatasetPlacement
    from tiering.placement.survey import Survey

#: Rows of the table of datasets.
_ROWS: Final = 40


def survey_of(traces: Sequence[Path], root: Path | None, *, lenient: bool, columns: str | None) -> Survey:
    """Read a survey, or make one of the directory below which datasets are placed."""
    from tiering.placement.survey import survey
    from tiering.placement.survey_file import is_survey, read_survey

    if is_survey(traces[0]):
        if len(traces) > 1 or root is not None:
            raise UsageError(
                str(traces[0]),
                found="a survey is placed alone",
                action="Give traces and directories to tiering survey.",
            )
        return read_survey(traces[0])
    if root is None:
        raise UsageError("--by dataset", rule="needs --root DIR, or a survey in place of traces")
    with progress(f"surveying {root}", "files") as advance:
        return survey([root], traces=traces, lenient=lenient, columns=columns, progress=advance)


def refuse_files(lists: Path | None, heat: Path | None) -> None:
    """Raise UsageError for outputs that only a placement of files has."""
    for flag, value in (("--lists", lists), ("--heat", heat)):
        if value is not None:
            raise UsageError(flag, found="only a placement of files has it", action="Leave it out.")


def show_datasets(
    plans: Sequence[DatasetPlacement], output: Path | None, names: tuple[str, str], *, json: bool
) -> None:
    """Write and print the first plan, and compare it with the second if there are two. names: of their catalogs."""
    from tiering.storage.output_file import write_output

    first = plans[0]
    if output is not None:
        write_output(output, as_file(first, output))
        note(f"Wrote {output}.")
    if json:
        other = {"what_if": plans[1].summary} if len(plans) > 1 else {}
        parts = {name: getattr(first, name) for name in ("datasets", "moves", "caches", "jobs")}
        emit_json({"plan": first.summary, **other, **parts, "lists": []}, "placement")
        return
    show_plan(first.summary)
    _show_datasets(first)
    if len(plans) > 1:
        compare([each.summary for each in plans], names)
    for line in first.summary.notes:
        note(f"Note: {line}")


def _show_datasets(plan: DatasetPlacement) -> None:
    """Print where each dataset goes, and what follows from the plan."""
    console = out()
    view = table("dataset", "bytes", "read/month", "known by", "now", "plan", "USD/month")
    largest = sorted(plan.datasets, key=lambda dataset: (-dataset.monthly_usd, dataset.path))
    for each in largest[:_ROWS]:
        view.add_row(
            each.path,
            format_bytes(each.bytes),
            format_bytes(each.read_bytes),
            each.evidence,
            each.from_tier or "?",
            each.to_tier,
            format_usd(each.monthly_usd),
        )
    console.print()
    console.show(view)
    if len(largest) > _ROWS:
        console.say(f"... and {format_count(len(largest) - _ROWS)} cheaper ones: --json or -o lists all.")
    _show_moves(plan)
    for cache in plan.caches:
        names = first_few([shown(path) for path in cache.datasets], 3, separator=", ")
        console.say(
            f"Cache to buy: {format_bytes(cache.bytes)} of {cache.tier} in front of {cache.origin}, for {names}. It "
            f"costs {format_usd(cache.monthly_usd)} USD a month and saves {format_seconds(cache.won_s)} of waiting, "
            f"worth {format_usd(cache.won_usd)} USD."
        )
    if plan.jobs:
        view = table("job", "tier", "asks", "gets", "waits")
        for share in plan.jobs:
            view.add_row(
                share.job, share.tier, format_rate(share.asked), format_rate(share.got), format_percent(share.waiting)
            )
        console.print("While all jobs run, each gets its max-min share:")
        console.show(view)


def _show_moves(plan: DatasetPlacement) -> None:
    console = out()
    if not plan.moves:
        return
    view = table("move", "bytes", "from", "to", "USD/month saved", "waiting saved", "USD once")
    for move in plan.moves:
        view.add_row(
            move.path,
            format_bytes(move.bytes),
            move.from_tier,
            move.to_tier,
            _signed(move.saved_usd),
            f"-{format_seconds(-move.won_s)}" if move.won_s < 0 else format_seconds(move.won_s),
            format_usd(move.once_usd),
        )
    console.print()
    console.show(view)


def _signed(usd: float) -> str:
    return f"-{format_usd(-usd)}" if usd < 0 else format_usd(usd)


def as_file(plan: DatasetPlacement, path: Path) -> str:
    """Return the text of a plan file: all of it as JSON, or one row a dataset as CSV."""
    if path.suffix.lower() == ".json":
        return json_text.dumps(asdict(plan), indent=1) + "\n"
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [field.name for field in fields(plan.datasets[0])]
    writer.writerow(names)
    writer.writerows([getattr(each, name) for name in names] for each in plan.datasets)
    return buffer.getvalue()
