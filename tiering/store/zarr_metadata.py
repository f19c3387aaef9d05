"""Check the zarr.json files of a store against its manifest, so that plain zarr reads the same data as tiering."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from tiering.storage.json_text import parse_json
from tiering.storage.location import Location
from tiering.store.codecs import parse_codec
from tiering.store.columns import damaged
from tiering.store.index import Index, index_columns
from tiering.store.manifest import Manifest
from tiering.store.schema import Field
from tiering.store.zarr import array_sides

#: The most bytes in a zarr.json; ours have less than two thousand.
_LONGEST: Final = 1 << 20

#: The values in an array's document that determine where its bytes lie: (path of names) -> value.
_Said = dict[tuple[str | int, ...], Any]


def check_array(store: Location, manifest: Manifest) -> None:
    """Compare the zarr.json of the array of samples with the manifest. If it is missing, verify will report that.

    The array may be longer, because an append updates this file just before the manifest.
    Raises StoreError if shape, type, codec, or the size of chunks or shards differs.
    """
    settings = manifest.settings
    if manifest.kind != "zarr" or settings is None:
        return
    sides = array_sides(settings, manifest.shards)
    sharding: tuple[str | int, ...] = ("codecs", 0, "configuration")
    compressors = parse_codec(settings.codec).compressors()
    wrong = _differs(
        store / ("images" if settings.pixels else "data"),
        {
            **_plain(sides["shape"], sides["shards"], settings.numbers),
            (*sharding, "chunk_shape"): list(sides["chunks"]),
            (*sharding, "codecs", 1, "name"): compressors[0]["name"] if compressors else None,
        },
        longer=True,
    )
    if wrong:
        raise wrong


def index_problems(index: Location, found: Index, fields: Sequence[Field] = ()) -> Iterator[str]:
    """Compare the documents of an index with its columns, and yield what differs."""
    for name, about in index_columns(fields).items():
        n = len(found.key) if name == "key" else len(found)
        sides = (n, *about.shape), (max(1, n), *(max(1, side) for side in about.shape))
        wrong = _differs(index / name, _plain(*sides, np.dtype(about.dtype)))
        if wrong:
            yield f"{index.name}/{name}/zarr.json: expected {wrong.expected}, found {wrong.found}"


def _plain(shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype[Any]) -> _Said:
    return {
        ("zarr_format",): 3,
        ("node_type",): "array",
        ("shape",): list(shape),
        ("data_type",): dtype.name,
        ("chunk_grid", "configuration", "chunk_shape"): list(chunks),
    }


def _differs(array: Location, expected: _Said, *, longer: bool = False) -> Any:
    """Return the error for the first value that differs in a document. longer: the array may have more rows."""
    location = array / "zarr.json"
    try:
        document = parse_json(location.read(most=_LONGEST))
    except FileNotFoundError:
        return None
    except ValueError as error:
        return damaged(location, "a document of Zarr v3", str(error))
    for path, value in expected.items():
        found: Any = document
        for step in path:
            if isinstance(step, str):
                found = found.get(step) if isinstance(found, dict) else None
            else:
                found = found[step] if isinstance(found, list) and step < len(found) else None
        if longer and path == ("shape",) and _is_longer(found, value):
            continue
        if found != value or type(found) is not type(value):
            return damaged(location, f"{'.'.join(map(str, path))} {value}, as the manifest has it", repr(found)[:200])
    return None


def _is_longer(found: Any, expected: list[int]) -> bool:
    """Return whether a shape differs from another one only by more rows."""
    return (
        isinstance(found, list)
        and all(type(side) is int for side in found)
        and found[1:] == expected[1:]
        and bool(found)
        and found[0] > expected[0]
    )
