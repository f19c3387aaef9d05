"""Pack one shard: the unit of work, of retry and of resume."""

from __future__ import annotations

import errno
from array import array
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import google_crc32c
import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray, stretches
from tiering.errors import DatasetError, from_os_error
from tiering.images.encoder_build import encoder_build
from tiering.images.image import check_image, decode
from tiering.images.pixels import to_pixels
from tiering.images.raw import is_raw_array
from tiering.images.reencoding import reencode, remake
from tiering.literals import Check, PackedFormat
from tiering.packing.executors import end_if_unwanted
from tiering.packing.listing import Rows
from tiering.packing.original_fields import with_original
from tiering.packing.receipts import BadImage, Receipt, receipt_location, write_receipt
from tiering.packing.shard_fields import pack_fields
from tiering.packing.shard_plan import packable
from tiering.packing.small_images import SmallBatch, small_batches
from tiering.sources.account import kind_of
from tiering.sources.source import Source
from tiering.storage.direct_file import DirectFile
from tiering.storage.location import Location
from tiering.store import lmdb, lmdb_library, zarr
from tiering.store.columns import file_crc, keys_at, lay_end_to_end
from tiering.store.image_run import ImageRun, Images, one_by_one
from tiering.store.layout import FIELDS, shard_name
from tiering.store.manifest import Shard
from tiering.store.schema import ORIGINAL, Field
from tiering.store.settings import Settings
from tiering.text import display

#: Errors of a single file. All others are errors of the machine.
_OF_THE_FILE: Final = (
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
)

#: Samples, and bytes of them, that one thread packs in a second: copied from the page cache, and decoded.
_COPIED: Final = (80_000, 1_200_000_000)
_DECODED: Final = (500, 10_000_000)

#: What a sample was made from, in the order of ORIGINAL.
_Original = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class ShardTask:
    """Everything a worker needs to pack one shard, small enough to send to another machine.

    target: the store that is being made. work: directory of the conversion's notes. plan: digest of its plan. number:
    of the shard. rows: its samples in packed order. generation: of the store that is made. wanted: CRC-32C that the
    file must have, if that is known.
    """

    source: Source
    target: Location
    work: Location
    kind: PackedFormat
    settings: Settings
    plan: str
    number: int
    rows: Rows
    check: Check = "quick"
    generation: int = 1
    wanted: int | None = None


@dataclass(frozen=True, slots=True)
class PackedShard:
    """The answer of a worker; the receipt has the rest. size: bytes of the samples that were packed."""

    number: int
    samples: int
    size: int


def pack_shard(task: ShardTask) -> PackedShard:
    """Pack one shard, give it its name, and leave a receipt of what is in it.

    Images that are damaged, empty, gone or changed since the listing are left out and named in the receipt.
    Raises MachineError for a disk that is full or fails, or a server that is down.
    """
    try:
        shard, columns, fields, bad = _pack(task)
        write_receipt(receipt_location(task.work, task.number), Receipt(task.plan, shard, columns, bad, fields))
    except OSError as error:
        raise from_os_error(error, task.target) from error
    return PackedShard(task.number, shard.samples, int(columns["size"].sum()))


def packing_seconds(samples: int, size: int, *, decoded: bool) -> float:
    """Return about how long one thread needs to pack samples, s. size: their bytes in the source."""
    samples_per_s, bytes_per_s = _DECODED if decoded else _COPIED
    return samples / samples_per_s + size / bytes_per_s


def stored_bytes(image: bytes, settings: Settings, key: bytes = b"") -> bytes:
    """Return an image as a store holds it: its own bytes, smaller ones, or its pixels. key: the path of the file.

    Raises DatasetError if it does not decode, or if its numbers do not fit the store's.
    """
    if settings.reencoded is not None:
        return reencode(image, display(key), settings.reencoded.how)
    pixels = settings.pixels
    if pixels is None or (pixels.raw and is_raw_array(image, key, pixels.shape)):
        return image
    return to_pixels(image, display(key), pixels.shape, pixels.resize, narrow=pixels.narrowed).tobytes()


def _pack(task: ShardTask) -> tuple[Shard, dict[str, npt.NDArray[Any]], list[Field], list[BadImage]]:
    # Fields first: a sample with a field that cannot be packed is left out as a whole.
    packed = pack_fields(task.rows.fields, task.source, task.target, task.work, task.number, task.generation)
    reader = _Reader(task, packed.bad)
    settings = task.settings
    name = shard_name(task.kind, task.number, pixels=settings.pixels is not None)
    place = task.target / name
    offset, size, crc = write_images(place, task.work, task.kind, settings, reader.images(), task.number)
    if task.kind == "lmdb" and settings.original and task.wanted not in (None, crc):
        # Perhaps an earlier version wrote it. Repair takes the file alone: its offsets are in the store's index.
        again, capacity = _Reader(task, packed.bad), lmdb_library.capacity_for(packable(task.rows.size))
        with place.building(task.work) as path:
            lmdb_library.write_shard(path, one_by_one(again.images()), capacity=capacity)
            size, crc = path.stat().st_size, file_crc(path)
    kept = np.frombuffer(reader.kept, dtype=np.int64)
    rows = task.rows
    key, key_end = rows.key, rows.key_end
    if len(kept) < len(rows):
        key, key_end = lay_end_to_end(keys_at(key, key_end, kept))
    columns: dict[str, npt.NDArray[Any]] = {
        "label": task.rows.label[kept],
        "split": task.rows.split[kept],
        "size": np.frombuffer(reader.sizes, dtype=np.int64),
        "crc32c": np.frombuffer(reader.crcs, dtype=np.uint32),
        "offset": offset,
        "key": key,
        "key_end": key_end,
        **{f"{FIELDS}/{name}": column[kept] for name, column in packed.columns.items()},
        **reader.originals(),
    }
    fields = [
        rows.field.model_copy(update={"files": [] if rows.field.numeric else [packed.files[rows.field.name]]})
        for rows in task.rows.fields
    ]
    encoder = None if settings.reencoded is None else encoder_build(settings.reencoded.format)
    shard = Shard(name=name, samples=len(kept), bytes=size, crc32c=crc, encoder=encoder)
    return shard, columns, with_original(fields, settings), reader.bad


def write_images(
    shard: Location, work: Location, kind: PackedFormat, settings: Settings, images: Images, number: int
) -> tuple[IndexArray, int, int]:
    """Write the file of a shard. Returns the offset of each image, the file's bytes and its CRC-32C.

    work: directory for the temporary file. images: in packed order. number: of the shard.
    """
    # The head of an LMDB file is written last, so it cannot be streamed to a server.
    build = _opened(shard.building(work)) if kind == "lmdb" else shard.writing(work)
    with build as file, DirectFile(file, local=kind == "lmdb" or shard.local is not None) as written:
        if kind == "lmdb":
            offset = lmdb.write_shard(written, images)
        else:
            offset = zarr.write_shard(cast("BinaryIO", written), images, settings, number)
            written.finish()
        # The file is durable, so that nothing slow lies between the last look and the shard's appearance.
        end_if_unwanted()
    return offset, written.size, written.crc


@contextmanager
def _opened(built: AbstractContextManager[Path]) -> Iterator[BinaryIO]:
    with built as path, path.open("wb") as file:
        yield file


class _Reader:
    """Reads and checks a shard's images in order, and collects the columns of the index."""

    def __init__(self, task: ShardTask, bad_fields: dict[int, DatasetError]) -> None:
        self.kept, self.sizes, self.crcs = array("q"), array("q"), array("I")
        self.bad: list[BadImage] = []
        self._originals: list[_Original] = []
        self._room = task.settings.shard_bytes if task.kind == "zarr" and task.settings.reencoded else None
        self._task = task
        self._bad_fields = bad_fields

    def images(self) -> Iterator[bytes | ImageRun]:
        task = self._task
        copied = task.settings.original and task.settings.reencoded is None and task.check == "quick"
        for part in small_batches(task.source, task.rows) if copied else [(0, len(task.rows))]:
            if isinstance(part, SmallBatch):
                yield from self._of_batch(part)
            else:
                yield from self._one_by_one(*part)

    def _of_batch(self, batch: SmallBatch) -> Iterator[bytes | ImageRun]:
        """Yield the images that are plainly whole in runs, and the others as they come."""
        end_if_unwanted()
        sizes = self._task.rows.size[batch.begin : batch.end]
        ends = np.cumsum(sizes)
        good = batch.whole.copy()
        good[[row - batch.begin for row in self._bad_fields if batch.begin <= row < batch.end]] = False
        for begin, end in stretches(good):
            if not good[begin]:
                yield from self._one_by_one(batch.begin + begin, batch.begin + end)
                continue
            self.kept.extend(range(batch.begin + begin, batch.begin + end))
            self.sizes.frombytes(sizes[begin:end].tobytes())
            self.crcs.frombytes(batch.crcs[begin:end].tobytes())
            yield ImageRun(batch.data[ends[begin] - sizes[begin] : ends[end - 1]], sizes[begin:end])

    def _one_by_one(self, begin: int, end: int) -> Iterator[bytes]:
        rows = self._task.rows.part(begin, end)
        found = rows.read(self._task.source)
        for row, key in enumerate(rows.keys(), begin):
            end_if_unwanted()
            try:
                # Nothing else refers to the image, so its memory is free before the next one is read.
                stored, original = self._stored(next(found), key)
                if (wrong := self._bad_fields.get(row)) is not None:
                    raise wrong
            except DatasetError as error:
                self.bad.append(BadImage(key, kind_of(error), max(int(rows.size[row - begin]), 0), error.found))
                continue
            self._take_room(len(stored))
            self.kept.append(row)
            self._originals += [] if original is None else [original]
            self.sizes.append(len(stored))
            self.crcs.append(google_crc32c.value(stored))
            yield stored
            del stored

    def originals(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of what re-encoded samples were made from; none for other samples."""
        if self._task.settings.reencoded is None:
            return {}
        found = np.array(self._originals, dtype=np.int64).reshape(-1, len(ORIGINAL))
        return {f"{FIELDS}/{field.name}": found[:, at].astype(field.dtype) for at, field in enumerate(ORIGINAL)}

    def _take_room(self, size: int) -> None:
        """Raise DatasetError if a shard of Zarr is full: how large re-encoded images are is not known before."""
        if self._room is None:
            return
        self._room -= size
        if self._room < 0:
            raise DatasetError(
                f"{self._task.target}: shard {self._task.number}",
                expected=f"re-encoded images of at most {self._task.settings.shard_bytes:,} bytes",
                found="more: they are larger in relation to their files than those from which the plan was made",
                action="Choose larger shards, `shards.bytes`, or LMDB, whose shards have no such bound.",
            )

    def _stored(self, image: bytes | OSError | DatasetError, key: bytes) -> tuple[bytes, _Original | None]:
        """Return a sample; and what it was made from, if it is re-encoded."""
        if isinstance(image, OSError):
            raise self._of_the_file(image, display(key)) from image
        if isinstance(image, DatasetError):
            raise image
        settings = self._task.settings
        if settings.original:
            check_image(image, display(key))
            if self._task.check == "decode":
                decode(image, display(key))
        if settings.reencoded is None:
            return stored_bytes(image, settings, key), None
        made = remake(image, display(key), settings.reencoded.how)
        return made.data, (made.width, made.height, len(image), google_crc32c.value(image))

    def _of_the_file(self, error: OSError, shown: str) -> DatasetError:
        local = "://" not in self._task.source.url
        if error.errno not in _OF_THE_FILE and not (local and error.errno == errno.EIO):
            raise error
        gone = error.errno == errno.ENOENT
        return DatasetError(shown, found="no such file" if gone else (error.strerror or str(error)).lower())
