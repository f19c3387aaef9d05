"""The documents that tiering writes are those that zarr writes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import zarr

from tiering.store.codecs import parse_codec
from tiering.store.schema import DTYPES
from tiering.store.zarr_documents import zarr_documents


def by_zarr(path, **array):
    """Return the documents of a group and of an array in it, as zarr writes them."""
    written = {}
    memory = zarr.storage.MemoryStore(store_dict=written)
    zarr.create_group(memory, zarr_format=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)  # not every reader knows lz4
        zarr.create_array(memory, name=path, zarr_format=3, filters=None, fill_value=0, **array)
    return {name: data.to_bytes() for name, data in written.items()}


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_columns_of_every_type_are_described_as_zarr_does(dtype):
    for shape, chunks in (((7,), (7,)), ((0,), (1,)), ((5, 2, 3), (5, 2, 3))):
        array = {"shape": shape, "chunks": chunks, "dtype": np.dtype(dtype), "compressors": None}
        assert zarr_documents([""], {"column": array}) == by_zarr("column", **array)


@pytest.mark.parametrize("codec", ["none", "zstd:7", "lz4", "gzip", "blosc-lz4-bitshuffle"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_shards_with_every_kind_of_codec_are_described_as_zarr_does(codec, dtype):
    array = {
        "shape": (40, 8, 3),
        "chunks": (5, 8, 3),
        "shards": (20, 8, 3),
        "dtype": dtype,
        "compressors": parse_codec(codec, np.dtype(dtype).itemsize).compressors(),
    }
    assert zarr_documents([""], {"images": array}) == by_zarr("images", **array)
