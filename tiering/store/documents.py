"""The zarr.json files of groups and arrays, as bytes: described by zarr itself, placed by us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import zarr
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore


def zarr_documents(groups: Sequence[str], arrays: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """Describe groups and arrays to Zarr v3 readers.

    groups: their paths, "" for the root; arrays: arguments of zarr.create_array by path.
    Returns the contents of each zarr.json by its path.
    """
    written: dict[str, Buffer] = {}
    memory = MemoryStore(store_dict=written)
    for group in groups:
        zarr.create_group(memory, path=group, zarr_format=3)
    for path, described in arrays.items():
        zarr.create_array(memory, name=path, zarr_format=3, **described)
    names = [f"{path}/zarr.json".lstrip("/") for path in [*groups, *arrays]]
    return {name: written[name].to_bytes() for name in names}
