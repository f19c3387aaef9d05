"""Files of packed datasets that are compressed, unpacked once, so that samples can be read in any order.

A sample is a range of a file. That does not hold for the pages of Parquet and for compressed records. While such a
source is listed, the images of each file are written to one plain file in a directory: `00003` for file 3. This
directory is in the workspace of a conversion, so that workers on other machines find it, a conversion that was killed
finds it again, and it is removed with the workspace. It needs as much room as the images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from tiering.errors import DatasetError
from tiering.sources.byte_ranges import Found
from tiering.sources.records.record import RecordFormat, Sink
from tiering.storage.location import Location
from tiering.storage.scratch import scratch_directory
from tiering.text import display


def unpacked_name(number: int) -> str:
    """Return the name of the unpacked form of a file. number: of the file in Source.files."""
    return f"{number:05d}"


@contextmanager
def unpacking(directory: str, number: int, version: str) -> Iterator[Sink]:
    """Yield a sink for the unpacked form of a file, which appears when the block ends without an error.

    version: of the packed file. If the directory has its unpacked form already, the sink only counts.
    """
    if not directory:
        yield Sink()
        return
    target = Location.of(directory) / unpacked_name(number)
    note = Location.of(directory) / f"{unpacked_name(number)}.version"
    if _noted(target, note, version):
        yield Sink()
        return
    note.remove()
    _remove_unfinished(Location.of(directory), number)
    with target.writing() as file:
        sink = Sink(file)
        yield sink
    note.write(f"{sink.size} {version}".encode())


def _remove_unfinished(directory: Location, number: int) -> None:
    """Remove what a killed process had unpacked of a file. The caller holds the lock of the workspace."""
    if directory.local and directory.is_directory():
        for path in directory.local.glob(f".{unpacked_name(number)}.*.tmp"):
            (directory / path.name).remove()


def _noted(target: Location, note: Location, version: str) -> bool:
    with suppress(FileNotFoundError):
        return note.read(most=4096) == f"{target.size()} {version}".encode()
    return False


def read_for_now(
    format_: RecordFormat, files: tuple[str, ...], number: list[int], offset: list[int], size: list[int]
) -> Iterator[Found]:
    """Yield samples of compressed files that were not unpacked to stay. For a profile, which reads few of them.

    It unpacks one file at a time into a temporary one, so samples of a file should be neighbours.
    """
    with scratch_directory() as directory:
        path = directory / "unpacked"
        for file, rows in groupby(zip(number, offset, size, strict=True), key=itemgetter(0)):
            _unpack(format_, file, path)
            with path.open("rb") as unpacked:
                for _, begin, count in rows:
                    data = os.pread(unpacked.fileno(), count, begin)
                    yield data if len(data) == count else _changed(files[file])


def _unpack(format_: RecordFormat, number: int, path: Path) -> None:
    with path.open("wb") as file:
        for _ in format_.records(number, Sink(file)):
            pass


def _changed(path: str) -> DatasetError:
    return DatasetError(display(path), found="changed while it was being read", action="Try again.")
