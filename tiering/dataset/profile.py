"""DatasetProfile: what a dataset directory holds, estimated from file names, sizes and image headers."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from tiering.dataset.images import ImageHeader, check_end, probe
from tiering.dataset.labels import Layout, class_labels, layout
from tiering.dataset.scan import Scan, display, scan
from tiering.errors import DatasetError, TieringError

QUANTILES = ("0", "0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99", "1")
MAX_SHAPES = 20
MAX_DAMAGED = 20
# Headers are waited for, not computed: on a network file system many requests in flight hide the latency.
PROBE_THREADS = 16


class Shape(BaseModel):
    """One combination of size and colour mode, and how many of the probed images have it."""

    model_config = ConfigDict(frozen=True)

    width: int
    height: int
    mode: str = Field(description="colour mode as Pillow names it: RGB, L, RGBA, P, CMYK, I;16 ...")
    count: int


class DatasetProfile(BaseModel):
    """A dataset directory in figures. Sizes are bytes.

    Counts, sizes and labels are exact; formats, shapes and damage are those of a random sample of `probed`
    files.
    """

    model_config = ConfigDict(frozen=True)

    root: str
    layout: Layout
    files: int = Field(description="image files")
    bytes: int = Field(description="sum of their sizes")
    size_mean: float
    size_quantiles: dict[str, int] = Field(description="sizes by quantile, the keys being QUANTILES")
    labels: dict[str, int] = Field(description="images of each label; empty for a flat directory")
    probed: int = Field(description="image headers read, drawn at random without replacement")
    formats: dict[str, int] = Field(description="probed images by format")
    shapes: list[Shape] = Field(description="the most common shapes first, at most 20")
    distinct_shapes: int
    pixel_bytes_mean: float = Field(description="mean of width x height x 3 over probed images")
    damaged: list[str] = Field(
        default=[], description="probed files that are no whole image, at most 20, each with its reason"
    )
    damaged_count: int = Field(default=0, description="all probed files that are no whole image")
    other_files: int = 0
    other_bytes: int = 0
    skipped: dict[str, int] = Field(default={}, description="entries left out, by reason: FIFO, socket, ...")
    notes: list[str] = Field(default=[], description="what else a user should know, one sentence each")


def profile_dataset(root: str | Path, *, probes: int = 2000, seed: int = 0) -> DatasetProfile:
    """Profile a dataset directory: walk it, and read the headers of a random sample of its images.

    root: a local directory. probes: headers to read at most, at least 1. seed: of the sample.
    Raises what scan raises, and ValueError for fewer than one probe. A file that cannot be read or is no
    whole image is no error here: it is counted in damaged.
    """
    if probes < 1:
        message = f"probes: expected at least 1, found {probes}"
        raise ValueError(message)
    found = scan(root)
    sizes = found.files["size"]
    headers, damaged = _probe_sample(found, probes, seed)
    shapes = Counter((header.width, header.height, header.mode) for header in headers)
    pixels = [header.width * header.height * 3 for header in headers]
    return DatasetProfile(
        root=display(os.fsencode(found.root)),
        layout=layout(found.files["key"]),
        files=len(sizes),
        bytes=int(sizes.sum()),
        size_mean=float(sizes.sum()) / len(sizes),
        size_quantiles=_quantiles(sizes),
        labels=_count_labels(found.files["key"]),
        probed=len(headers) + len(damaged),
        formats=dict(Counter(header.format for header in headers).most_common()),
        shapes=[
            Shape(width=width, height=height, mode=mode, count=count)
            for (width, height, mode), count in shapes.most_common(MAX_SHAPES)
        ],
        distinct_shapes=len(shapes),
        pixel_bytes_mean=float(np.mean(pixels)) if pixels else 0.0,
        damaged=damaged[:MAX_DAMAGED],
        damaged_count=len(damaged),
        other_files=found.other_files,
        other_bytes=found.other_bytes,
        skipped=found.skipped,
        notes=_notes(found),
    )


def _quantiles(sizes: pl.Series) -> dict[str, int]:
    """Return exact quantiles, each the size of a file that exists."""
    ordered = np.sort(sizes.to_numpy())
    return {name: int(ordered[round(float(name) * (len(ordered) - 1))]) for name in QUANTILES}


def _count_labels(keys: pl.Series) -> dict[str, int]:
    labels, names = class_labels(keys)
    counts = np.bincount(labels[labels >= 0], minlength=len(names))
    # Two names that differ only in bytes that are not UTF-8 may look the same: add those up.
    totals: Counter[str] = Counter()
    for name, count in zip(names, counts, strict=True):
        totals[name] += int(count)
    return dict(totals)


def _probe_sample(found: Scan, probes: int, seed: int) -> tuple[list[ImageHeader], list[str]]:
    """Return the headers of a random sample of files, and a line for each of it that is no whole image."""
    total = len(found.files)
    chosen = np.arange(total)
    if total > probes:
        chosen = np.sort(np.random.default_rng(seed).choice(total, probes, replace=False))
    keys = [bytes(key) for key in found.files["key"].gather(chosen)]
    root = os.fsencode(found.root)
    # Pillow warns of large and of odd headers; here the headers are only counted.
    with warnings.catch_warnings(), ThreadPoolExecutor(PROBE_THREADS) as pool:
        warnings.simplefilter("ignore")
        results = list(pool.map(lambda key: _inspect(Path(os.fsdecode(root + b"/" + key))), keys))
    headers = [result for result in results if isinstance(result, ImageHeader)]
    lines = zip(keys, results, strict=True)
    return headers, [f"{display(key)}: {reason}" for key, reason in lines if isinstance(reason, str)]


def _inspect(path: Path) -> ImageHeader | str:
    """Return a file's header, or the reason why it is no whole image."""
    try:
        header = probe(path)
        check_end(path)
    except DatasetError as error:
        return error.found
    except TieringError as error:
        return f"cannot be read: {error.found}"
    return header


def _notes(found: Scan) -> list[str]:
    notes = []
    if empty := int((found.files["size"] == 0).sum()):
        notes.append(f"{empty:,} of the image files have zero bytes.")
    if found.odd_names:
        notes.append(
            f"{found.odd_names:,} of the image files have a name that is not UTF-8; such names are kept "
            "byte for byte and shown with backslashes."
        )
    if found.skipped:
        notes.append(f"Left out: {'; '.join(found.examples)}.")
    return notes
