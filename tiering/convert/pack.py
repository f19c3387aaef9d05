"""Pack one shard: the unit of work. Reads and checks the images, writes the shard, and returns its columns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt

from tiering.convert.plan import Kind
from tiering.dataset.images import check_image
from tiering.errors import DatasetError, from_os_error
from tiering.store import lmdb, zarr
from tiering.store.base import Settings, Shard
from tiering.store.index import Index, column_crc


@dataclass(frozen=True, slots=True)
class ShardTask:
    """What a worker needs to pack one shard: small, and able to travel to another machine.

    source: the dataset directory; store: the directory being written; number: of the shard; first: number of its
    first sample in the store; rows: label, size and key of its samples in packed order.
    """

    source: Path
    store: Path
    kind: Kind
    settings: Settings
    number: int
    first: int
    rows: Index


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What a worker hands back: the manifest's entry and the index columns, or the images that cannot be packed."""

    shard: Shard | None
    columns: dict[str, npt.NDArray[np.generic]]
    bad: list[str] = field(default_factory=list)


def pack_shard(task: ShardTask) -> ShardResult:
    """Pack one shard.

    Images that are damaged, empty, gone or changed since the scan come back in `bad`, all of the shard's at once, and
    the shard is then worthless. Raises MachineError for a disk that is full or fails, or a file without permission.
    """
    reader = _Reader(task)
    settings = task.settings
    name = (lmdb if task.kind == "lmdb" else zarr).shard_name(task.number)
    path = task.store / name
    if task.kind == "lmdb":
        capacity = lmdb.capacity_for(task.rows.size)
        offset = lmdb.write_shard(path, reader.images(), first=task.first, capacity=capacity)
    else:
        offset = zarr.write_shard(
            path,
            reader.images(),
            first_byte=task.number * settings.shard_bytes,
            shard_bytes=settings.shard_bytes,
            chunk_bytes=settings.chunk_bytes,
            codec=settings.codec,
        )
    if reader.bad:
        return ShardResult(None, {}, reader.bad)
    columns: dict[str, npt.NDArray[np.generic]] = {
        "label": task.rows.label,
        "size": task.rows.size,
        "crc32c": np.array(reader.crcs, dtype=np.uint32),
        "offset": offset,
        "key": task.rows.key,
        "key_end": task.rows.key_end,
    }
    return ShardResult(
        Shard(name=name, samples=len(task.rows), bytes=path.stat().st_size, crc32c=column_crc(path)), columns
    )


class _Reader:
    """Reads a shard's images one after another, checks each, and keeps what the index needs."""

    def __init__(self, task: ShardTask) -> None:
        self.crcs: list[int] = []
        self.bad: list[str] = []
        self._root = os.fsencode(task.source)
        self._rows = task.rows

    def images(self) -> Iterator[bytes]:
        everything = np.arange(len(self._rows))
        for key, size in zip(self._rows.keys(everything), self._rows.size.tolist(), strict=True):
            shown = key.decode("utf-8", "backslashreplace")
            try:
                image = _read(os.path.join(self._root, key), size)  # noqa: PTH118 - keys are bytes
                check_image(image, shown)
            except DatasetError as error:
                self.bad.append(f"{error.where}: {error.found}")
                image = b""
            except FileNotFoundError:
                self.bad.append(f"{shown}: vanished since the scan")
                image = b""
            except OSError as error:
                raise from_os_error(error) from error
            if not self.bad:
                self.crcs.append(google_crc32c.value(image))
                yield image


def _read(path: bytes, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # One byte more than the scan saw tells a file that grew.
        image = os.read(descriptor, size + 1)
    finally:
        os.close(descriptor)
    if len(image) != size:
        shown = path.decode("utf-8", "backslashreplace")
        raise DatasetError(shown, expected=f"{size:,} bytes as scanned", found="changed while it was being packed")
    return image
