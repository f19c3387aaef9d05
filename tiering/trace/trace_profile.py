"""TraceProfile: the figures of a trace that describe its workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from tiering.notebook import Shown, Summary, data_frame
from tiering.trace.bursts import WriteBursts
from tiering.trace.program_evidence import ProgramEvidence
from tiering.trace.readers.base import Level
from tiering.trace.reuse_distance import CurvePoint, Passes
from tiering.trace.waiting import Waiting
from tiering.units import format_bytes, format_count, format_number, format_percent

if TYPE_CHECKING:
    import polars as pl

#: Bytes without a known position do not matter up to this share of the bytes read.
_UNPLACED = 0.05
#: The fields that a profile lacks if they do matter.
_WITHOUT_PLACES: dict[str, object] = {
    "sequentiality": None,
    "epochs_found": None,
    "working_set": [],
    "miss_ratio_curve": [],
}


class TraceProfile(Shown, BaseModel):
    """The figures of one trace. Sizes are bytes, times are seconds, shares are ratios in [0, 1].

    Traffic of the interpreter, of libraries, of /proc, /sys and /dev, and of terminals and pipes is left out of every
    figure. It is counted only in excluded_bytes. Figures that the trace does not show are null, and a note says why.
    tiering.profile_trace makes a TraceProfile.
    """

    model_config = ConfigDict(frozen=True)

    source: str = Field(description="path of the trace")
    format: str = Field(description="name of the reader that read it")
    level: Level = Field(description="layer at which it was taken; a block trace lacks reads served by the page cache")
    events: int = Field(description="events of any kind, including excluded ones")
    whole: bool = Field(default=False, description="the trace shows a run from its start to its own end, with status 0")
    gaps: list[str] = Field(default=[], description='why it cannot contain the whole run: "it was killed by SIGINT"')
    calls_missing: bool = Field(default=False, description="calls that move data are known to be missing")
    untimed: bool = Field(default=False, description="no times: figures that need them are null or missing")
    skipped_lines: int = Field(default=0, description="lines that a lenient reading skipped")
    duration: float | None = Field(description="s from the first event to the end of the last; null without times")
    processes: int = Field(description="distinct processes with any event")
    files: int | None = Field(description="distinct files with data read, written or mapped")
    untouched_share: float | None = Field(
        default=0.0, description="share of the files opened only for reading that no call reads or maps"
    )
    untouched_output_share: float | None = Field(
        default=0.0, description="share of the files opened for writing that no call reads, writes, maps or syncs"
    )
    failed_share: float = Field(
        default=0.0,
        description="share of the bytes moved by processes that failed or were ended, although the run was not",
    )

    reads: int = Field(description="calls that read at least one byte; probes for the end of a file do not count")
    reads_again: int | None = Field(
        default=0, description="those of them that begin where the same process group began an earlier one"
    )
    writes: int
    opens: int | None
    bytes_read: int
    bytes_written: int
    accesses: int = Field(default=0, description="requests that the trace does not identify as reads or writes")
    bytes_accessed: int = Field(default=0, description="B requested by them; included only in the cache curves")
    bytes_reread: int = Field(
        description="re-read by the process group that had read them, without being overwritten in between"
    )
    bytes_unplaced: int = Field(
        default=0,
        description="read at unknown positions in their files (parts of objects): any of them may "
        "have been read again, so bytes_reread is the least possible",
    )
    bytes_shared: int | None = Field(description="read first by another process group")
    unique_bytes_read: int | None = Field(description="distinct bytes of files, read by any process")
    unique_bytes_written: int | None = Field(default=0, description="distinct bytes of files that were written")
    mapped_bytes: int = Field(description="an upper bound, since tracers do not see accesses through a mapping")
    mapped_seen: bool = Field(
        default=False, description="reads of mapped files are among the reads, as page faults showed them"
    )
    mapped_once_seen: bool = Field(
        default=False,
        description="the first touch of each mapped page is among the reads; later touches may be missing",
    )
    bytes_mapped_unsure: int = Field(
        default=0, description="B of mapped files that may have been read beyond those among the reads"
    )
    bytes_mapped_unread: int | None = Field(
        default=None,
        description="the largest part of bytes_mapped_unsure that may have been read for the first time; null if "
        "that part is unknown",
    )
    excluded_bytes: int = Field(description="read and written by the machinery of programs")
    excluded_bytes_read: int = Field(default=0, description="the part of excluded_bytes that was read")

    reread_share: float = Field(description="bytes_reread / (bytes_read + bytes_written)")
    write_share: float = Field(description="bytes_written / (bytes_read + bytes_written)")
    opens_per_file: float | None = Field(description="mean opens of a file that was opened")
    opens_deviation: float | None = Field(
        default=0.0, description="standard deviation of the opens of a file that was opened"
    )
    reopened_share: float | None = Field(description="share of opened files that were opened again")
    reopened_once_share: float | None = Field(
        default=0.0, description="of the files opened again, share opened just twice"
    )
    reopened_rarely_share: float | None = Field(
        default=0.0, description="of the same files, share re-opened up to 4 times"
    )
    overwrite_factor: float | None = Field(
        default=0.0, description="bytes_written / unique_bytes_written; 0 without writes"
    )
    busiest_share: float = Field(
        default=0.0, description="share of the bytes moved by the busiest hundredth of the processes, at least one"
    )
    whole_file_share: float | None = Field(
        description="share of runs of reads, from an open to the close, that cover the file from 0 to "
        "the highest byte read of it, without skipping ahead"
    )
    read_only_files: float | None = Field(description="share of files only read")
    write_only_files: float | None = Field(description="share of files only written")
    read_write_files: float | None = Field(description="share of files both read and written")
    sequentiality: float | None = Field(
        description="share of reads that begin where the last since the open ended, or the first at byte 0; null "
        "if the trace does not show the positions of reads"
    )
    order_randomness: float | None = Field(
        description="how random the order of visits to files is: 0 sorted or repeated, 1 as in a shuffle"
    )
    file_size_mean: float | None = Field(description="mean over read files of the highest byte read")
    file_size_spread: float | None = Field(
        default=0.0, description="standard deviation over read files of log10 of the highest byte read"
    )
    file_coverage: float | None = Field(
        default=0.0, description="unique_bytes_read / sum over read files of the highest byte read"
    )
    epochs: float | None = Field(
        description="passes: bytes_read / (bytes_read - bytes_reread); 1 is a single pass, 0 no reads. If the trace "
        "does not show the places of reads: bytes_read / bytes of the dataset, or null if that is unknown"
    )
    coverage: float | None = Field(
        default=None,
        description="unique bytes read below dataset_root (of all files without one) / bytes of the dataset, "
        "if that is known",
    )
    epochs_found: Passes | None = Field(default=None, description="epochs with their boundaries, if reads have any")
    write_bursts: WriteBursts | None = None
    working_set: list[int] = Field(default=[], description="distinct B read in each 32nd of the reading time")
    miss_ratio_curve: list[CurvePoint] = []
    sample_rate: float = Field(
        default=1.0, description="share of the blocks from which epochs, working set and curve were computed"
    )
    range_rate: float = Field(default=1.0, description="the same for distinct and re-read bytes; 1 is exact")
    evidence: ProgramEvidence | None = Field(
        default=None, description="who reads, by kinds of programs and files; null in profiles of before"
    )
    waiting: Waiting | None = Field(
        default=None, description="where the processes of a watched job spend their time; null of other traces"
    )
    notes: list[str] = Field(default=[], description="remarks of the reader about the trace")

    def summary(self) -> Summary:
        """Return how much the trace moves, how often it reads again, and how many passes it shows."""
        rows = [
            ("moved", self.moved()),
            ("files", "unknown" if self.files is None else format_count(self.files)),
            ("read again", f"{format_percent(self.reread_share)} of all bytes moved"),
            ("passes", "unknown" if self.epochs is None else format_number(self.epochs)),
        ]
        return f"Trace {self.source}", rows

    def moved(self) -> str:
        """Return the bytes read and written, in words."""
        return f"{format_bytes(self.bytes_read)} read, {format_bytes(self.bytes_written)} written"

    def to_frame(self) -> pl.DataFrame:
        """Return the miss ratio curve: a row for each cache size in bytes, with the ratios `lru` and `static`."""
        names = "cache_bytes", "lru", "static"
        return data_frame({name: [getattr(point, name) for point in self.miss_ratio_curve] for name in names})

    @property
    def bytes_mapped_unseen(self) -> int:
        """B of mapped files whose reads nothing showed: 0 if page faults and accessed bits did."""
        return 0 if self.mapped_seen else self.mapped_bytes

    @property
    def is_placed(self) -> bool:
        """Whether the trace shows the position of nearly all bytes that were read."""
        return self.bytes_unplaced <= _UNPLACED * self.bytes_read

    def without_guesses(self) -> TraceProfile:
        """Drop the figures that need the positions of reads, if the trace does not show them."""
        return self if self.is_placed else self.model_copy(update=_WITHOUT_PLACES)
