"""TraceProfile: what a trace says about a workload, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field


class TraceProfile(BaseModel):
    """The features of one trace. Sizes are bytes, times are seconds, shares are ratios in [0, 1].

    Traffic of the interpreter, of libraries, of /proc, /sys and /dev and of terminals and pipes is left out
    of every figure and counted in excluded_bytes alone.
    """

    model_config = ConfigDict(frozen=True)

    source: str = Field(description="path of the trace")
    format: str = Field(description="name of the reader that read it")
    level: Literal["application", "file", "object", "block"]
    events: int
    skipped_lines: int = Field(default=0, description="lines that a lenient reading left out")
    duration: float
    processes: int
    files: int = Field(description="distinct files with data read, written or mapped")

    reads: int
    writes: int
    opens: int
    bytes_read: int
    bytes_written: int
    bytes_reread: int = Field(description="read again by the process group that had read them before")
    bytes_shared: int = Field(description="read first by another process group")
    unique_bytes_read: int
    mapped_bytes: int = Field(description="an upper bound: touches of a mapping are invisible to a tracer")
    excluded_bytes: int

    reread_share: float = Field(description="bytes_reread / (bytes_read + bytes_written)")
    write_share: float = Field(description="bytes_written / (bytes_read + bytes_written)")
    opens_per_file: float = Field(description="mean opens of a file that was opened")
    reopened_share: float = Field(description="share of opened files that were opened more than once")
    whole_file_share: float = Field(description="share of open-read-close runs that read the file from 0 to its end")
    read_only_files: float = Field(description="share of files only read")
    write_only_files: float = Field(description="share of files only written")
    read_write_files: float = Field(description="share of files both read and written")
    sequentiality: float = Field(description="share of reads that begin where the last read of that file ended")
    order_randomness: float = Field(
        description="how random the order of first touches between files is: 0 sorted or repeated, 1 as in a shuffle"
    )
    file_size_mean: float = Field(description="mean over read files of the highest byte read")
    epochs: float = Field(description="bytes read / unique bytes read, over the files that are read more than once or "
                                      "over all; 1 is a single pass")
    coverage: float | None = Field(
        default=None, description="unique bytes read / bytes of the dataset, where the dataset is known"
    )


def profile_trace(
    batches: Iterable[pl.DataFrame],
    *,
    source: str = "",
    format: str = "events",  # noqa: A002
    level: Literal["application", "file", "object", "block"] = "file",
    dataset_bytes: int | None = None,
) -> TraceProfile:
    """Profile a stream of event batches (EVENT_SCHEMA)."""
    raise NotImplementedError
