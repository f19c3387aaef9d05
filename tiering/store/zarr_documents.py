"""The zarr.json files of groups and arrays, byte for byte as zarr writes them.

They are written without zarr, because importing it takes longer than packing a thousand images. See the Zarr v3
specification for their content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def zarr_documents(groups: Sequence[str], arrays: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """Describe groups and arrays to Zarr v3 readers.

    groups: their paths, "" for the root. arrays: by path; shape, chunks, shards, dtype and compressors of each, as
    zarr.create_array takes them.
    Returns the contents of each zarr.json by its path.
    """
    described = {group: {"attributes": {}, "zarr_format": 3, "node_type": "group"} for group in groups}
    described |= {path: _array(**about) for path, about in arrays.items()}
    return {
        f"{path}/zarr.json".lstrip("/"): json.dumps(document, indent=2).encode() for path, document in described.items()
    }


def _array(
    *,
    shape: Sequence[int],
    chunks: Sequence[int],
    dtype: Any,
    compressors: Sequence[dict[str, Any]] | None,
    shards: Sequence[int] | None = None,
) -> dict[str, Any]:
    kind = np.dtype(dtype)
    codecs = [_bytes(kind.itemsize), *(compressors or ())]
    if shards is not None:
        sharding = {
            "chunk_shape": list(chunks),
            "codecs": codecs,
            "index_codecs": [_bytes(8), {"name": "crc32c"}],
            "index_location": "end",
        }
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    return {
        "shape": list(shape),
        "data_type": kind.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks if shards is None else shards)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": kind.type(0).item(),
        "codecs": codecs,
        "attributes": {},
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _bytes(itemsize: int) -> dict[str, Any]:
    return {"name": "bytes", "configuration": {"endian": "little"}} if itemsize > 1 else {"name": "bytes"}
