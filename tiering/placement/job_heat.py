"""What a job reads and writes of each dataset, as values that a survey holds."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DatasetHeat(BaseModel):
    """How much one job read and wrote of one dataset."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(description="the dataset's directory")
    files: int = Field(ge=0, description="files that were read or written")
    opens: int = Field(ge=0)
    reads: int = Field(ge=0)
    bytes_read: int = Field(ge=0)
    writes: int = Field(ge=0)
    bytes_written: int = Field(ge=0)


class JobHeat(BaseModel):
    """What one trace shows: a job, the datasets that it reads and writes, and the rest."""

    model_config = ConfigDict(frozen=True)

    trace: str = Field(description="the file of the trace")
    duration: float = Field(ge=0, description="s that it spans; 0 if it has no times")
    processes: float = Field(ge=1, description="processes that read or write at the same time")
    datasets: tuple[DatasetHeat, ...] = Field(description="those that it reads or writes")
    elsewhere_files: int = Field(ge=0, description="files that it reads or writes outside the datasets")
    elsewhere_bytes: int = Field(ge=0, description="B read and written there")
    notes: tuple[str, ...] = Field(default=(), description="what was left out of the trace")
