"""The zarr.json files of groups and arrays. zarr itself creates them in memory; the caller writes them to a store."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer


def zarr_documents(groups: Sequence[str], arrays: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """Describe groups and arrays to Zarr v3 readers.

    groups: their paths, "" for the root; arrays: arguments of zarr.create_array by path.
    Returns the contents of each zarr.json by its path.
    """
    # Imported here, because workers and readers do not need zarr, and it takes a fifth of their start-up time.
    import zarr  # noqa: PLC0415
    from zarr.errors import ZarrUserWarning  # noqa: PLC0415
    from zarr.storage import MemoryStore  # noqa: PLC0415

    written: dict[str, Buffer] = {}
    memory = MemoryStore(store_dict=written)
    for group in groups:
        zarr.create_group(memory, path=group, zarr_format=3)
    with warnings.catch_warnings():
        # zarr warns that other readers may not support lz4. The documentation says so to users who choose it.
        warnings.simplefilter("ignore", ZarrUserWarning)
        for path, described in arrays.items():
            zarr.create_array(memory, name=path, zarr_format=3, **described)
    names = [f"{path}/zarr.json".lstrip("/") for path in [*groups, *arrays]]
    return {name: written[name].to_bytes() for name in names}
