"""DatasetProfile: the contents of a dataset, counted or estimated from file names, sizes and image headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tiering.dataset.class_sizes import describe, labelled, splits_of
from tiering.dataset.estimates import EstimatedValue
from tiering.dataset.field_counts import ProfiledField
from tiering.dataset.field_files import with_sizes
from tiering.dataset.gathering import gather
from tiering.dataset.profile_account import close_account, failed_kinds, notes_on
from tiering.dataset.profile_estimates import MAX_SHAPES, estimates_of
from tiering.dataset.reencoded_sample import ReencodedFigures, reencoded_figures
from tiering.dataset.totals import MAX_DAMAGED, Gathered
from tiering.images.image import ImageHeader
from tiering.literals import TrainingFormat
from tiering.notebook import Shown, Summary, data_frame
from tiering.progress import Progress, no_progress
from tiering.sources.account import Account
from tiering.sources.labels.folders import Layout
from tiering.sources.left_out import DAMAGED, NOT_AN_IMAGE, NOT_FETCHED, NOT_PACKED, SIDECAR, UNREADABLE_FILE
from tiering.sources.source import AnySource, open_source
from tiering.text import display, without_secrets
from tiering.units import format_bytes, format_count

if TYPE_CHECKING:
    import polars as pl

#: Files that are not images, and images that cannot be packed. Each has a figure of its own.
_OTHERS: Final = (NOT_AN_IMAGE, SIDECAR)
_OF_IMAGES: Final = (DAMAGED, NOT_FETCHED, NOT_PACKED, UNREADABLE_FILE)
#: Stands for the format of samples that are decoded.
PIXELS: Final = "pixels"

#: The layouts of packed stores.
PACKED_LAYOUTS: Final[frozenset[Layout]] = frozenset({"LMDB store", "Zarr store"})


class ImageShape(BaseModel):
    """A combination of size and colour mode, and how many of the probed images have it."""

    model_config = ConfigDict(frozen=True)

    width: int
    height: int
    mode: str = Field(description="colour mode as Pillow names it: RGB, L, RGBA, P, CMYK, I;16 ...")
    count: int


class DatasetProfile(Shown, BaseModel):
    """A dataset in figures. Sizes are bytes.

    Formats, modes, shapes and damage are those of a random sample of `probed` files. Counts, sizes and labels are
    exact, or estimates if `sampled`. Every estimate is in `estimates` with its 95 % interval.
    """

    model_config = ConfigDict(frozen=True)

    root: str
    layout: Layout
    files: int = Field(description="image files")
    bytes: int = Field(description="sum of their sizes")
    size_mean: float
    size_quantiles: dict[str, int] = Field(description="sizes by quantile, as in QUANTILES")
    labels: dict[str, int] = Field(description="images of each label; empty for a flat directory")
    probed: int = Field(description="image headers read, drawn at random without replacement")
    formats: dict[str, int] = Field(description="probed images by format")
    shapes: list[ImageShape] = Field(description="the most common shapes first, at most 20")
    distinct_shapes: int
    pixel_bytes_mean: float = Field(description="mean of width x height x 3 over probed images")
    damaged: list[str] = Field(
        default=[], description="probed files that are not complete images, at most 20, each with the reason"
    )
    damaged_count: int = Field(
        default=0,
        description="how many images are incomplete: of those probed, or of all with sample all",
    )
    other_files: int = 0
    other_bytes: int = 0
    skipped: dict[str, int] = Field(default={}, description="entries left out, by kind: broken link, hidden, ...")
    account: Account | None = Field(
        default=None,
        description="all entries: images to pack, and those left out; estimated if sampled",
    )
    fields: list[ProfiledField] = Field(
        default=[], description="what images have beside their class, as packing takes it"
    )
    notes: list[str] = Field(default=[], description="notes for the user, one sentence each")
    arrangement: str = Field(default="", description="the layout of the dataset, in a sentence")
    sampled: bool = Field(default=False, description="whether files, bytes, sizes and labels are estimates")
    modes: dict[str, int] = Field(default={}, description="probed images by colour mode")
    extensions: dict[str, int] = Field(default={}, description="images by extension; those of the sample if sampled")
    estimates: dict[str, EstimatedValue] = Field(
        default={},
        description="by name, with 95 % intervals: files, bytes, size_mean, labels, label_imbalance (label size that a "
        "random image sees, over the mean label size), damaged_share, duplicate_share, pixel_bytes_mean, "
        "format NAME, mode NAME, shape WxH, left out KIND (files), images by content (without an image's name), "
        "field files",
    )
    size_intervals: dict[str, tuple[int, int]] = Field(
        default={}, description="95 % intervals of size_quantiles if sampled; for 0 and 1 the sizes seen"
    )
    reencoded: dict[TrainingFormat, ReencodedFigures] = Field(
        default={}, description="images as stores made for training would keep them, by format; empty if not asked for"
    )

    @property
    def is_packed(self) -> bool:
        """Whether this is the profile of a packed store."""
        return self.layout in PACKED_LAYOUTS

    @property
    def is_decoded(self) -> bool:
        """Whether the samples are pixels, not encoded images."""
        return PIXELS in self.formats

    def summary(self) -> Summary:
        """Return the number of images, their sizes, labels and formats."""
        held = f"{format_count(self.files)}, {format_bytes(self.bytes)}{' (estimates)' if self.sampled else ''}"
        labels, formats = format_count(len(self.labels)), ", ".join(self.formats)
        return f"Dataset {self.root}", [("images", held), ("labels", labels), ("formats", formats)]

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each label, with its number of images."""
        return data_frame({"label": self.labels, "images": self.labels.values()})


def profile_dataset(
    root: AnySource,
    *,
    fields: Mapping[str, str] | None = None,
    sample: Literal["auto", "all"] | int = "auto",
    probes: int | None = None,
    seed: int = 0,
    reencoded: bool = False,
    progress: Progress = no_progress,
) -> DatasetProfile:
    """Profile a dataset: a directory of images, a table that lists them, or tar files, on this machine or behind a URL.

    Tables and tar files are always read completely. A file that cannot be read or is not a complete image is no error:
    it is counted in `damaged`.

    Args:
        root: Path or URL of the dataset, or a TableSource that says how to read a table.
        fields: As for tiering.convert. With them, or with a table of metadata, every file of a folder is counted.
        sample: "all" counts every file and inspects every image, so that the account equals that of a conversion; other
            figures from headers use up to 100,000 of them. A number, at least 2, estimates everything from about that
            many files in some directories, without listing the others. "auto" counts up to about 100,000 files,
            inspecting every image if there are at most 10,000, and draws 2,000 files of a larger dataset.
        probes: Most headers to read of a counted dataset, at least 1. By default all if there are at most 10,000 images
            or sample is "all", else 2,000.
        seed: Seed of the random choices.
        reencoded: Re-encode 300 of the images as well, and measure what that saves and loses. Takes about 5 s.
        progress: Called with the images counted, or inspected, how many there are (0 if unknown), and bytes counted.

    Returns:
        The profile.

    Raises:
        DatasetError: There is no image.
        UsageError: The driver of a URL is missing.
        MachineError: The dataset cannot be read.
        ValueError: sample or probes is too small.

    Example:
        >>> profile = tiering.profile_dataset("photos")  # doctest: +SKIP
        >>> profile.files, profile.size_mean, profile.labels  # doctest: +SKIP
        (60000, 784.0, {'cat': 6000, 'dog': 54000})
    """
    if probes is not None and probes < 1:
        message = f"probes: expected at least 1, found {probes}"
        raise ValueError(message)
    if isinstance(sample, int) and sample < 2:
        message = f"sample: expected at least 2, found {sample}"
        raise ValueError(message)
    source = open_source(root).with_fields(fields)
    found = gather(source, sample, probes, seed, progress)
    found.progress = progress
    if suffixes := found.left_out.suffixes:
        found.fields = with_sizes(found.fields, suffixes, found.sample, found.tree, seed)
    layout, labels, notes = labelled(source, found)
    arrangement = describe(source, layout, len(labels), splits_of(found))
    profile = profile_of(without_secrets(display(root)), found, layout, labels, arrangement, notes)
    return with_reencoded(profile, found, seed) if reencoded else profile


def with_reencoded(profile: DatasetProfile, found: Gathered, seed: int) -> DatasetProfile:
    """Return a profile with figures of some images that are re-encoded. found: that of which the profile was made."""
    figures, notes = reencoded_figures(found.tree, found.sample, found.inspected, seed)
    return profile.model_copy(update={"reencoded": figures, "notes": [*profile.notes, *notes]})


def profile_of(
    root: str,
    found: Gathered,
    layout: Layout,
    labels: dict[str, int],
    arrangement: str,
    notes: list[str],
    account: Account | None = None,
) -> DatasetProfile:
    """Return the profile of what was gathered; inspects the sampled images unless that is done.

    Args:
        root: The place of the dataset, to show.
        found: Its figures.
        layout: See DatasetProfile.
        labels: Images of each label.
        arrangement: The layout in a sentence.
        notes: Further notes for the user.
        account: All entries; by default it is closed from `found`.
    """
    sample = found.sample
    seen = found.inspected
    headers = [header for header in seen if isinstance(header, ImageHeader)]
    whole = np.array([isinstance(header, ImageHeader) for header in seen], bool)
    damaged = found.damaged or [
        f"{display(key)}: {why}" for key, why in zip(sample.key, seen, strict=True) if isinstance(why, str)
    ]
    shapes = Counter((header.width, header.height, header.mode) for header in headers)
    estimates = estimates_of(found, seen, whole, labels)
    failed = failed_kinds(found, seen)
    estimates |= {f"left out {kind}": count for kind, count in failed.items() if not count.exact}
    account = account or close_account(found, seen, failed)
    return DatasetProfile(
        root=root,
        layout=layout,
        files=round(found.files.value),
        bytes=round(found.size.value),
        size_mean=estimates["size_mean"].value,
        size_quantiles={name: round(size.value) for name, size in found.quantiles.items()},
        labels=labels,
        probed=len(seen),
        formats=dict(Counter(header.format for header in headers).most_common()),
        shapes=[
            ImageShape(width=width, height=height, mode=mode, count=count)
            for (width, height, mode), count in shapes.most_common(MAX_SHAPES)
        ],
        distinct_shapes=len(shapes),
        pixel_bytes_mean=estimates["pixel_bytes_mean"].value,
        damaged=damaged[:MAX_DAMAGED],
        damaged_count=len(damaged) if found.failed is None else found.failed.count(),
        other_files=account.count(*_OTHERS),
        other_bytes=account.size(*_OTHERS),
        skipped={kind: left.count for kind, left in account.left_out.items() if kind not in (*_OTHERS, *_OF_IMAGES)},
        account=account,
        fields=found.fields,
        notes=[*notes_on(found), *notes],
        arrangement=arrangement,
        sampled=found.sampled,
        modes=dict(Counter(header.mode for header in headers).most_common()),
        extensions=found.extensions,
        estimates=estimates,
        size_intervals={name: (round(size.low), round(size.high)) for name, size in found.quantiles.items()}
        if found.sampled
        else {},
    )
