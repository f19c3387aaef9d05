"""`tiering recommend`: where and how to keep a dataset, and what that gains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiering.cli import completion
from tiering.cli.asked_advice import assumptions_of, calibrated, command_line, takes_job_options
from tiering.cli.job_options import JobOptions
from tiering.cli.output import JsonFlag, emit_json, note
from tiering.cli.panels import OUTPUT
from tiering.cli.progress import progress
from tiering.errors import InputError


@takes_job_options
def recommend(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET|PROFILE",
            autocompletion=completion.profiles_and_stores,
            help="Directory of images or packed store, or its profile.json. Path or URL.",
        ),
    ],
    asked: JobOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Save the advice and its basis, for `tiering report`.",
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", rich_help_panel=OUTPUT, help="Say in full what the advice takes for granted.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Recommend the storage tier, the packed format, the codec and the cache for a dataset.

    Predicts the time and cost of every feasible combination, drops those that break a limit, and ranks the rest. If the
    profile contains a trace, the advice is for the workload of that trace. Nothing is changed.

    With --samples-per-second alone, the job must not wait, whatever that costs. --reencode also chooses from stores
    made for training; the originals stay. What --originals does with the original files beside a packed store counts:
    cheapest keeps them where that costs least, stay where they are, and drop deletes them.

    Example: `tiering recommend profile.json --tier nfs --ram 64GiB --epochs 90 --max-epoch-time 30min`
    """
    # Imported here so that `tiering --help` does not wait for Polars.
    from tiering.advice.saved_advice import advise, write_advice
    from tiering.cli.advised import show
    from tiering.workload.profile import profile_at

    given = assumptions_of(asked)
    with progress(f"reading {dataset}", "images") as advance:
        profile = profile_at(dataset, reencoded=asked.reencode, progress=advance)
    if profile.dataset is None:
        raise InputError(
            dataset,
            found="this profile has traces alone, and no dataset",
            action="Make it with the dataset: tiering profile DATASET --trace FILE -o profile.json",
        )
    found = advise(profile, calibrated(given, profile, asked), command=command_line())
    if len(profile.traces) > 1:
        note(f"Note: The profile has {len(profile.traces)} traces; only the first counts, {found.led_by}.")
    if output is not None:
        write_advice(found, output)
        note(f"Wrote {output}. To see it with charts: tiering report {output}")
    if json:
        emit_json(found.recommendation, "recommendation")
        return
    show(found.recommendation, explain=explain)
