"""A trace that is given in the place of a dataset: `tiering profile run.parquet`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiering.errors import DatasetError, UsageError, command


@contextmanager
def no_trace(dataset: str) -> Iterator[None]:
    """Say so if what is read as a dataset in this block is a trace of tiering."""
    try:
        yield
    except DatasetError as error:
        from tiering.trace.readers.captured import is_trace

        if not is_trace(Path(dataset)):
            raise
        raise UsageError(
            dataset,
            expected="a dataset",
            found="a trace",
            action=f"Type: {command('tiering', 'profile', '--trace', dataset)}",
        ) from error
