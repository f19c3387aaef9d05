"""Write a Parquet file piece by piece, in bounded memory, through Polars' streaming engine.

The engine asks for pieces on a thread of its own, so a queue of one piece lies between it and the caller. An error or
an interruption of the caller ends the file early. An error of the engine reaches the caller with its next piece.
"""

from __future__ import annotations

import os
import queue
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, Self

import polars as pl
from polars.exceptions import PolarsError
from polars.io.plugins import register_io_source

from tiering.storage.location import Location

#: Polars' own description of the columns' types in a file's metadata, and a name of the same length that no program
#: reads.
_ARROW_SCHEMA: Final = b"ARROW:schema"
_UNREAD: Final = b"arrow-schema"

#: An error of the system in a text of Polars.
_NUMBER: Final = re.compile(r"\(os error (\d+)\)")

#: Seconds until a piece that is not taken makes the caller look whether the engine still works.
_PATIENCE: Final = 0.2


class ParquetFile:
    """A new Parquet file. It is complete when the `with` block ends without an error.

    Args:
        location: A local path where nothing is.
        schema: The columns and their types.
        metadata: Texts for the file's end, by name.
        rows: Rows of a row group.
        compression: Of the pages.
        plain: Whether to leave out Polars' own description of the columns. pyarrow then takes the metadata for the
            schema's, as Hugging Face's datasets need it, and lists and texts have their common types.
    """

    def __init__(
        self,
        location: Location,
        schema: Mapping[str, pl.DataType],
        metadata: Mapping[str, str],
        *,
        rows: int,
        compression: Literal["snappy", "zstd"],
        plain: bool = False,
    ) -> None:
        self._location, self._schema, self._plain = location, pl.Schema(schema), plain
        self._pieces: queue.Queue[pl.DataFrame | None] = queue.Queue(1)
        self._open = ExitStack()
        self._options: dict[str, Any] = {
            "compression": compression, "row_group_size": rows, "statistics": False, "metadata": dict(metadata),
        }  # fmt: skip
        self._failed = False
        self._written: Future[None]
        self._file: BinaryIO

    def __enter__(self) -> Self:
        self._file = self._open.enter_context(self._location.creating())
        engine = self._open.enter_context(ThreadPoolExecutor(1))
        self._written = engine.submit(self._write)
        return self

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows. Raises OSError if the disk is full."""
        self._put(frame)

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            self._failed = kind is not None
            self._put(None)
            self._result()
            if self._plain and kind is None:
                _hide_arrow_schema(self._file, Path(self._location.url))

    def _put(self, frame: pl.DataFrame | None) -> None:
        while True:
            try:
                self._pieces.put(frame, timeout=_PATIENCE)
            except queue.Full:
                if self._written.done():
                    self._result()
                    return
            else:
                return

    def _result(self) -> None:
        try:
            self._written.result()
        except (PolarsError, OSError) as error:
            if not self._failed:
                raise self._as_os_error(error) from error

    def _as_os_error(self, error: Exception) -> Exception:
        """Return the error of the system behind one of Polars, which has its number only in its text."""
        number = _NUMBER.search(str(error))
        return OSError(int(number[1]), os.strerror(int(number[1])), self._location.url) if number else error

    def _write(self) -> None:
        frame = register_io_source(self._taken, schema=self._schema)
        frame.sink_parquet(self._file, engine="streaming", maintain_order=True, **self._options)

    def _taken(self, columns: list[str] | None, *_: object) -> Iterator[pl.DataFrame]:
        # The engine takes the first pieces only for what they are: it asks for all columns and all rows.
        while (frame := self._pieces.get()) is not None:
            yield frame if columns is None else frame.select(columns)


def _hide_arrow_schema(file: BinaryIO, path: Path) -> None:
    """Rename Polars' description of the columns in the metadata at the end of a Parquet file.

    The metadata are a Thrift document, in which a text of the same length can replace another. Its length, as 4 bytes,
    and "PAR1" follow it (https://parquet.apache.org/docs/file-format/).
    """
    file.flush()
    with path.open("rb") as written:
        end = written.seek(-8, os.SEEK_END)
        begin = end - int.from_bytes(written.read(4), "little")
        written.seek(begin)
        at = written.read(end - begin).rfind(_ARROW_SCHEMA)
    if at >= 0:
        os.pwrite(file.fileno(), _UNREAD, begin + at)
