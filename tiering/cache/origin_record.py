"""OriginRecord: a trace of what a cache reads of its origin."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import numpy as np

from tiering.arrays import IndexArray
from tiering.store.protocol import Store
from tiering.text import without_secrets

if TYPE_CHECKING:
    from tiering.cache.fetcher import Span

_NOTE: Final = (
    "The cache recorded its reads of the origin; samples that it held are not in this trace. Repeated requests are."
)


class OriginRecord:
    """Records the reads of an origin, on any thread.

    Args:
        store: The origin.
        trace: The directory of the trace.

    Raises:
        UsageError: For a trace that cannot be a directory.
    """

    def __init__(self, store: Store, trace: str | os.PathLike[str]) -> None:
        # Imported here: a machine that only serves packed stores needs no Polars.
        from tiering.store.places import places_of  # noqa: PLC0415
        from tiering.trace.recorded_reads import Places, joined_places  # noqa: PLC0415
        from tiering.trace.recording import Recorder  # noqa: PLC0415

        self._store, self._places_of, self._places = store, places_of, Places
        self._recorder = Recorder(trace, joined_places, _NOTE, timed=True)

    def add_range(self, span: Span, size: int, seconds: float) -> None:
        """Tell of a range that was read.

        Args:
            span: The range.
            size: Bytes that came.
            seconds: How long that took.
        """
        path, begin, _ = span
        file, offset, count = (np.array([number], np.int64) for number in (0, begin, size))
        opens = np.array(["://" not in path])  # of a local origin, each range is read from a file opened for it
        self._recorder.add(self._places([without_secrets(path)], file, offset, count, opens), 1, seconds)

    def add_samples(self, samples: IndexArray, seconds: float) -> None:
        """Tell of samples that the origin read itself, because it decodes them.

        Args:
            samples: int64 (n,), their numbers.
            seconds: How long that took.
        """
        (places,) = self._places_of([self._store], [samples])
        self._recorder.add(places, len(samples), seconds)

    def close(self) -> None:
        """Finish the trace."""
        self._recorder.close()
