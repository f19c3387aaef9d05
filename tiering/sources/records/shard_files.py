"""Reads the shards of MDS and LitData, plain or compressed, within the sizes that their index gives."""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import zstandard
from pydantic import BaseModel, ValidationError

from tiering.errors import DatasetError, StoreError
from tiering.sources.records.encoded_columns import damaged
from tiering.sources.records.files import mapped, opened
from tiering.storage.json_text import parse_json
from tiering.storage.location import Location
from tiering.text import display, shown

_Model = TypeVar("_Model", bound=BaseModel)

#: The largest index, in bytes: a million shards.
_LARGEST_INDEX: Final = 1 << 30

#: The largest shard of both formats, whose offsets have 32 bits.
LARGEST_SHARD: Final = 1 << 32

#: Compressions that are read. Those of others need a library.
COMPRESSIONS: Final = ("zstd", "gz", "bz2")


def read_index(url: str, model: type[_Model]) -> _Model:
    """Read and check the index.json of a dataset. Raises DatasetError for anything else."""
    location = Location.of(url)
    try:
        return model.model_validate(parse_json(location.read(_LARGEST_INDEX)))
    except FileNotFoundError:
        found = "nothing at that path"
    except ValidationError as error:
        first = error.errors()[0]
        found = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, RecursionError) as error:
        found = str(error)
    except StoreError as error:
        found = error.found
    raise DatasetError(display(url), expected="the index of a dataset", found=shown(found), action="Copy it again.")


@contextmanager
def shard_bytes(url: str, size: int, compression: str | None) -> Iterator[memoryview]:
    """Yield the bytes of a shard. A plain local one is mapped.

    size: its unpacked size in bytes, by the index. compression: one of COMPRESSIONS, or None.
    Raises DatasetError if the size is another one.
    """
    if size > LARGEST_SHARD:
        raise damaged(url, f"it has {size:,} bytes by the index, and a shard has at most {LARGEST_SHARD:,}")
    with opened(url) as (file, length):
        if compression is not None:
            yield memoryview(_decompressed(file.read(LARGEST_SHARD), size, compression, url))
            return
        if length != size:
            raise damaged(url, f"it has {length:,} bytes, and {size:,} by the index")
        if "://" in url or not size:
            yield memoryview(file.read(size))
            return
        with mapped(file) as data:
            yield data


def _decompressed(data: bytes, size: int, compression: str, url: str) -> bytes:
    source = io.BytesIO(data)
    try:
        file: Any
        if compression == "zstd":
            file = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
        elif compression == "gz":
            file = gzip.GzipFile(fileobj=source)
        else:
            file = bz2.BZ2File(source)
        # One byte more than expected reveals a shard that is larger than the index says.
        found = file.read(size + 1)
    except (zstandard.ZstdError, OSError, EOFError, zlib.error, ValueError) as error:
        raise damaged(url, f"it cannot be decompressed: {error}") from error
    if len(found) != size:
        more = "more" if len(found) > size else f"{len(found):,}"
        raise damaged(url, f"it has {more} bytes, and {size:,} by the index")
    return bytes(found)
