"""A cause for which a job waits, with what to do about it and the command that does it."""

from __future__ import annotations

from statistics import median_low
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from tiering.errors import command

if TYPE_CHECKING:
    # Importing it takes as long as a verdict.
    from tiering.dataset.profile import DatasetProfile

CauseName = Literal[
    "storage", "opens", "decoding", "workers", "transfer", "training step", "lock", "memory", "cache", "loader"
]


class Cause(BaseModel):
    """One reason why a job waits."""

    model_config = ConfigDict(frozen=True)

    name: CauseName
    share: float = Field(description="share of the loader's time, or of the consumer's, that it explains, in [0, 1]")
    evidence: str = Field(description="what was seen, with its figures")
    fix: str = Field(description="what to do about it")
    command: str | None = Field(description="the command that does it, or looks further; null if no command does")


class Fix(NamedTuple):
    """What to do, in a sentence; and the command, None if no command does it."""

    text: str
    command: str | None


#: By the name of the cause.
FIXES: Final[dict[CauseName, Fix]] = {
    "storage": Fix(
        "Keep the data nearer: on a faster tier, or in a cache on this node that holds what each epoch reads again.",
        "tiering recommend DATASET",
    ),
    "opens": Fix(
        "Pack the files: a store is a few large files, which stay open.",
        "tiering convert DATASET STORE --to lmdb",
    ),
    "decoding": Fix(
        "Decode less: tiering.Loader decodes only the part that is needed. If the images have shorter sides above 256 "
        "pixels, store smaller ones (convert --short-side 256). If not, that would not help: store pixels, which need "
        "no decoding (convert --resize HEIGHTxWIDTH --codec none). The profile has their sizes.",
        "tiering profile DATASET",
    ),
    "workers": Fix("Load with more workers, such as num_workers={workers}, or with tiering.Loader.", None),
    "transfer": Fix(
        "Move less between processes: send uint8 pixels in place of floats, and normalise on the accelerator; or load "
        "with the threads of tiering.Loader, which share the process's memory.",
        "tiering bench STORE",
    ),
    "training step": Fix(
        "The storage and the loader keep up, so no change of them makes the job faster. Look at the training "
        "step itself: its accelerator, precision and batch size.",
        None,
    ),
    "lock": Fix(
        "Let workers share nothing: open files and databases in each worker, without a lock around reads.",
        "tiering convert DATASET STORE --to lmdb",
    ),
    "memory": Fix(
        "Give the job more memory, or let it need less: fewer workers, less prefetching, smaller images.",
        "tiering cache size PROFILE",
    ),
    "cache": Fix(
        "Use a cache that does not evict what the epoch still needs (tiering's keeps what it has), or a larger one.",
        "tiering cache size PROFILE",
    ),
    "loader": Fix("Watch the job, which shows what its workers wait for.", "tiering watch PID"),
}

#: Pixels of the shorter side of an image from which on a smaller one is advised.
_SIDE: Final = 256


def fix_of_decoding(dataset: DatasetProfile | None) -> Fix:
    """Return what makes decoding cheaper for the images of a dataset; if they are unknown, what it depends on."""
    if dataset is None or dataset.is_decoded or not dataset.shapes:
        return FIXES["decoding"]
    side = median_low([min(shape.width, shape.height) for shape in dataset.shapes for _ in range(shape.count)])
    if side > _SIDE:
        return Fix(
            f"Decode less: half of the images have a shorter side of {side} pixels or more, so store them at the size "
            "that the training needs. tiering.Loader decodes only the part that is needed.",
            command("tiering", "convert", "DATASET", "STORE", "--to", "lmdb", "--short-side", _SIDE),
        )
    common = dataset.shapes[0]
    resize = f"{common.height}x{common.width}"
    return Fix(
        "Store pixels, which need no decoding, but more room. The images are small already, most often "
        f"{common.width} x {common.height} pixels, so smaller ones would not help.",
        command("tiering", "convert", "DATASET", "STORE", "--to", "zarr", "--resize", resize, "--codec", "none"),
    )


def named(name: CauseName, share: float, evidence: str, fix: Fix | None = None, **words: str) -> Cause:
    """Make a cause. fix: by default that of `FIXES`. words: what its text leaves open."""
    fix = fix or FIXES[name]
    return Cause(
        name=name,
        share=min(1.0, share),
        evidence=evidence,
        fix=fix.text.format(**words) if words else fix.text,
        command=fix.command,
    )
