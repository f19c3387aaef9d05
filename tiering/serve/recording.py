"""A recorder of the samples that a loader or a dataset serves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from tiering.arrays import IndexArray
from tiering.store.protocol import Store

if TYPE_CHECKING:
    from tiering.trace.recording import Recorder

_NOTE: Final = (
    "The loader recorded the samples that it served, each as one read at its place in the store. Reads of mapped files "
    "have no durations."
)


def recorder_of(
    store: Store, fields: Sequence[str], trace: str | os.PathLike[str] | None
) -> Recorder[IndexArray] | None:
    """Return what records the samples of a store that are served; None without a trace.

    Args:
        store: The store of the samples.
        fields: The fields that are read with each image. Values in files are recorded as reads of their own.
        trace: The directory of the trace.

    Raises:
        UsageError: For a trace that cannot be a directory.
    """
    if trace is None:
        return None
    # Imported here: a machine that only serves packed stores needs no Polars.
    from tiering.store.places import places_of  # noqa: PLC0415
    from tiering.trace.recording import Recorder  # noqa: PLC0415

    read = [store, *(store.runs[name] for name in fields if name in store.runs)]
    return Recorder(trace, partial(places_of, read), _NOTE)
