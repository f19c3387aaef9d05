"""Program evidence: who reads, beside what is read: kinds of programs, libraries and files, and habits of programs.

Names stand for kinds (`name_kinds`), and only kinds are kept. Kinds of libraries and programs are counted by the bytes
that processes with them moved: a shell that starts an archiver, or a program that imports a framework and leaves the
reading to another one, is judged by who reads.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ProgramEvidence(BaseModel):
    """What a trace shows of who reads. None, or a kind that is missing: the trace cannot tell. Shares are in [0, 1]."""

    model_config = ConfigDict(frozen=True)

    process_kinds: dict[str, float] | None = Field(
        default=None,
        description="share of the bytes read, written or mapped by processes that had executed a program, or opened a "
        "library, of each kind; kinds without any are left out; null if that is known of less than half of the bytes. "
        "In a log of requests: the share of the clients' names",
    )
    unnamed: float | None = Field(
        default=None, description="of the same bytes, the share of processes without any kind; null likewise"
    )
    alike: int | None = Field(
        default=None,
        description="processes of one parent that read at the same time, each at least a quarter of what the busiest "
        "of them reads; null without reads",
    )
    alike_share: float | None = Field(default=None, description="share of the bytes read that these processes read")

    file_kinds: dict[str, float] | None = Field(
        default=None,
        description="share of the bytes read or mapped that lie in files of each kind; null if nothing is, or the "
        "trace has no names",
    )
    class_folders: float | None = Field(
        default=None,
        description="share of the read files that lie in one of several folders side by side, each with at least "
        "three files of one kind; null likewise",
    )
    alike_names: float | None = Field(
        default=None, description="share of the read files with the most common name, digits left out; null likewise"
    )
    largest_file: float | None = Field(
        default=None, description="share of the bytes read or mapped that lie in the file with the most; null likewise"
    )

    checkpoints: int | None = Field(
        default=None, description="files written, or renamed into place, whose names are those of checkpoints"
    )
    checkpoint_share: float | None = Field(default=None, description="share of the written bytes that went into them")
    renamed_share: float | None = Field(
        default=None, description="files renamed into place / files written; null if nothing was written"
    )

    splits: dict[str, float] | None = Field(
        default=None,
        description="share of the bytes read from files below a folder of each split: training, validation, test",
    )
    validation_between: bool | None = Field(
        default=None, description="files of the validation split are read, and then others of the training split again"
    )

    burst_spread: float | None = Field(
        default=None,
        description="standard deviation / mean of the bytes of bursts of reads, at most 3; 0 as in batches; null "
        "below eight bursts, and without times",
    )
    interval_spread: float | None = Field(default=None, description="the same of the times from one burst to the next")
    idle_share: float | None = Field(default=None, description="share of the time that lies between bursts")

    def without_times(self) -> ProgramEvidence:
        """Drop what needs times."""
        return self.model_copy(update=dict.fromkeys(("burst_spread", "interval_spread", "idle_share")))

    def with_clients(self, kinds: dict[str, float], unnamed: float) -> ProgramEvidence:
        """Count the names of clients in a log as processes, if the trace shows no better."""
        return self if self.process_kinds else self.model_copy(update={"process_kinds": kinds, "unnamed": unnamed})
