"""`tiering estimate`: how much a training run reads and writes."""

from __future__ import annotations

from typing import Annotated

import typer

from tiering.cli.output import JsonFlag, emit_json, note, out, table
from tiering.cli.panels import JOB


def estimate(
    images: Annotated[str, typer.Option(metavar="COUNT", rich_help_panel=JOB, help="Images in the dataset.")] = "100M",
    image_size: Annotated[str, typer.Option(metavar="SIZE", rich_help_panel=JOB, help="Size of one image.")] = "45.9MB",
    epochs: Annotated[
        str, typer.Option(metavar="COUNT", rich_help_panel=JOB, help="Passes over the dataset.")
    ] = "5000",
    checkpoint_size: Annotated[
        str, typer.Option(metavar="SIZE", rich_help_panel=JOB, help="Size of one checkpoint.")
    ] = "40MB",
    checkpoint_every: Annotated[
        str, typer.Option(metavar="COUNT", rich_help_panel=JOB, help="Epochs from one checkpoint to the next.")
    ] = "100",
    batch_size: Annotated[str, typer.Option(metavar="COUNT", rich_help_panel=JOB, help="Images in a batch.")] = "32",
    json: JsonFlag = False,
) -> None:
    """Calculate how much a training run reads and writes, exactly: epochs x images x bytes.

    Without options it shows the example of the documentation: 100 million TIFF images of 45.9 MB over 5,000
    epochs. Published text about that example says 50 billion file reads, but 100 million x 5,000 is 500 billion.

    Example: `tiering estimate --images 1.28M --image-size 110kB --epochs 90`
    """
    # Imported here so that `tiering --help` stays quick.
    from tiering.advice.estimate import TrainingRun
    from tiering.advice.estimate import estimate as run
    from tiering.units import format_bytes, parse_bytes, parse_capacity, parse_count

    found = run(
        TrainingRun(
            images=parse_count(images),
            image_bytes=parse_bytes(image_size),
            epochs=parse_count(epochs),
            checkpoint_bytes=parse_capacity(checkpoint_size),
            checkpoint_every=parse_count(checkpoint_every),
            batch_size=parse_count(batch_size),
        )
    )
    if json:
        emit_json({**found.figures, "text": found.texts, "kept_as": found.kept_as}, "estimate")
        return
    text = found.texts
    out().say(
        f"An epoch reads {text['epoch_bytes_read']} in {text['epoch_file_reads']} file reads; a run of "
        f"{text['epochs']} epochs reads {text['run_bytes_read']} and writes {text['run_bytes_written']}."
    )
    shown = table("quantity", "value")
    shown.columns[1].justify = "left"
    for column in shown.columns:
        column.no_wrap = False
    for quantity, value in found.rows:
        shown.add_row(quantity, value)
    out().show(shown)
    if len(found.kept_as) < 2:
        return
    forms = table("kept as", "an image", "read in one epoch", "bytes read in the whole run")
    for form in found.kept_as:
        sizes = (form.image_bytes, form.dataset_bytes, form.run_bytes_read)
        # Typical sizes have three digits at most.
        forms.add_row(form.name, *(format_bytes(size, 4 if form.name == "originals" else 3) for size in sizes))
    out().print()
    out().show(forms)
    note(
        "Note: Sizes of re-encoded images are those of typical photographs: tiering profile --reencoded measures them."
    )
