"""DatasetProfile: what a dataset directory holds, estimated from file names, sizes and image headers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """One combination of size and colour mode, and how many of the probed images have it."""

    model_config = ConfigDict(frozen=True)

    width: int
    height: int
    mode: str = Field(description="colour mode as Pillow names it: RGB, L, RGBA, P, CMYK, I;16 ...")
    count: int


class DatasetProfile(BaseModel):
    """A dataset directory in figures. Sizes are bytes."""

    model_config = ConfigDict(frozen=True)

    root: str
    layout: Literal["class folders", "split and class folders", "flat"]
    files: int = Field(description="image files")
    bytes: int = Field(description="sum of their sizes")
    size_mean: float
    size_quantiles: dict[str, int] = Field(description='"0", "0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99", "1"')
    labels: dict[str, int] = Field(description="images of each label; empty for a flat directory")
    probed: int = Field(description="image headers read, drawn at random without replacement")
    formats: dict[str, int] = Field(description="formats found in the probed headers")
    shapes: list[Shape] = Field(description="the most common shapes first, at most 20")
    distinct_shapes: int
    pixel_bytes_mean: float = Field(description="mean of width x height x 3 over probed images")
    damaged: list[str] = Field(default=[], description="probed files that are no image, at most 20, each with its reason")
    damaged_count: int = 0
    other_files: int = 0
    other_bytes: int = 0
    skipped: dict[str, int] = Field(default={}, description="entries left out, by reason: FIFO, broken link, ...")
    notes: list[str] = []


def profile_dataset(root: str | Path, *, probes: int = 2000, seed: int = 0) -> DatasetProfile:
    """Profile a dataset directory."""
    raise NotImplementedError
