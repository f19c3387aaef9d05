"""Readers of trace formats: one module per format, recognised by contents and never by file name.

Open `base` first: it defines what a Reader is. To add a format, write a module here with a `READER`, and add it to
`READERS`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import polars as pl

from tiering.errors import TraceError, from_os_error
from tiering.storage.scratch import scratch_directory
from tiering.text import shown
from tiering.trace.readers import (
    azure,
    biosnoop,
    blktrace,
    block_tables,
    captured,
    cloudtrail,
    darshan,
    dftracer,
    fio,
    fsslower,
    gcs,
    headed,
    kineto,
    minio,
    perf,
    procmon,
    records,
    s3,
    strace,
    strace_files,
)
from tiering.trace.readers.archives import is_archive, unpack
from tiering.trace.readers.base import Damage, Reader, possible
from tiering.trace.readers.closest import RECORD, advice, closest, describe
from tiering.trace.readers.merge import merged
from tiering.trace.readers.opening import BROKEN, open_trace
from tiering.trace.readers.strace_files import grouped
from tiering.trace.readers.trace import Trace

#: In the order of recognition: formats with an unmistakable beginning first, those recognised by their shape last.
READERS: tuple[Reader, ...] = (
    captured.READER,
    darshan.READER,
    blktrace.BINARY,
    fio.READER,
    dftracer.READER,
    minio.AUDIT,
    minio.TRACE,
    azure.RESOURCE,
    cloudtrail.READER,
    perf.READER,
    strace.READER,
    blktrace.TEXT,
    biosnoop.READER,
    fsslower.READER,
    s3.READER,
    azure.READER,
    gcs.READER,
    procmon.READER,
    *block_tables.READERS,
    headed.BLOCKS,
    headed.READER,
    records.VSCSI,
    records.ORACLE,
)

#: What profilers write: no reads or writes, but where a training waits. Such a file is a trace without events.
PROFILERS: tuple[Reader, ...] = (kineto.READER,)

_KNOWN = (*READERS, *PROFILERS)
_HEAD = 1 << 16
#: How many files a note names.
_NAMED = 5


def read_trace(path: str | os.PathLike[str], *, lenient: bool = False, columns: str | None = None) -> Trace:
    """Recognise a trace by its first bytes, and read it in batches of events.

    Args:
        path: A file, plain or compressed with gzip, Zstandard or xz. Or a directory with the logs of one job's
            processes, all in one format; they are merged by time, and files of unknown format are skipped and named in
            a note. Or a tar or zip of such a directory.
        lenient: Count lines that cannot be parsed and skip them.
        columns: Columns of a table, such as "time=ts*1e-6,op=kind:R/W,offset=lba*512,size=len"; see
            [the formats](../traces.md). By default its header decides.

    Returns:
        The trace. Its `batches` can be iterated once.

    Raises:
        TraceError: The trace is missing, empty or of unknown format; or, while the batches are iterated, damaged. The
            error names the line.
        UsageError: `columns` makes no sense; or, while the batches are iterated, names a column that is missing.
        MachineError: The file may not be read.

    Example:
        >>> trace = tiering.read_trace("job.strace")  # doctest: +SKIP
        >>> sum(len(batch) for batch in trace.batches), trace.format  # doctest: +SKIP
        (182034, 'strace')
    """
    path = Path(path)
    if columns is not None:
        damage, mapping = Damage(path, "csv", lenient), headed.parse_mapping(columns)
        _head(path)
        batches = possible(headed.read(path, damage, mapping), damage)
        return Trace(path, "csv", headed.READER.level, batches, (damage,))
    if path.is_dir():
        return _read_directory(path, path, lenient=lenient)
    head = _head(path)
    if is_archive(head):
        return _read_archive(path, lenient=lenient)
    reader = _reader_of(head)
    if reader is None:
        near = closest(head, READERS)
        raise _unusable(path, f"{describe(head)}. {near}".removesuffix(". ").removesuffix("."), advice(head))
    damage = Damage(path, reader.name, lenient)
    return Trace(path, reader.name, reader.level, possible(reader.read(path, damage), damage), (damage,))


def _reader_of(head: bytes) -> Reader | None:
    return None if is_archive(head) else next((reader for reader in _KNOWN if reader.sniff(head)), None)


def _read_archive(path: Path, *, lenient: bool) -> Trace:
    """Read an archive like a directory. The unpacked files exist until the batches have been read."""
    unpacked = ExitStack()
    try:
        directory = unpacked.enter_context(scratch_directory())
        others = unpack(path, directory)
        trace = _read_directory(directory, path, lenient=lenient, others=others)
    except BaseException:
        unpacked.close()
        raise
    return replace(trace, batches=_while_open(unpacked, trace.batches))


def _while_open(unpacked: ExitStack, batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    with unpacked:
        yield from batches


def _read_directory(directory: Path, path: Path, *, lenient: bool, others: Sequence[str] = ()) -> Trace:
    """Merge the logs below a directory.

    path: its name in errors. others: members of an archive that were not unpacked.
    """
    found: dict[str, list[Path]] = {}
    aside: list[Path] = []
    for file in sorted(_below(directory)):
        # A recording that was killed may leave an unfinished file under a temporary name.
        unfinished = file.name.startswith(".") and file.suffix == ".tmp"
        reader = None if unfinished else _reader_in(file, path / file.relative_to(directory))
        if reader is None:
            aside.append(file)
        else:
            found.setdefault(reader.name, []).append(file)
    if not found:
        raise _unusable(path, "a directory without a trace")
    if len(found) > 1:
        kinds = ", ".join(f"{len(files)} of {name}" for name, files in found.items())
        raise _unusable(path, f"a directory with traces of several formats ({kinds})")
    ((name, logs),) = found.items()
    reader = next(each for each in _KNOWN if each.name == name)
    damage = {file: Damage(path / file.relative_to(directory), name, lenient) for file in logs}
    runs = grouped(logs) if reader is strace.READER else {}
    by_run = {run: Damage(path / run.relative_to(directory), name, lenient) for run in runs}
    streams = [
        possible(
            strace_files.read_files(
                by_run[run].path, threads, [damage[file] for file in threads.values()], by_run[run]
            ),
            by_run[run],
        )
        for run, threads in runs.items()
    ]
    of_runs = {file for threads in runs.values() for file in threads.values()}
    alone = {file: each for file, each in damage.items() if file not in of_runs}
    if reader is captured.READER:
        streams += [captured.read_parts(parts, alone) for parts in captured.recordings(alone)]
    else:
        streams += [possible(reader.read(file, each), each) for file, each in alone.items()]
    left_out = Damage(path, name, lenient)
    left_out.complete = True
    names = sorted([*(str(file.relative_to(directory)) for file in aside), *others])
    if names:
        left_out.notes.append(_left_out(names, len(logs) + len(names)))
    for file in aside:
        if strace_files.run_of(file) in by_run and file.is_file() and file.stat().st_size:
            left_out.gaps.append(f"{shown(file.name)}, a file of the same run, holds no trace")
    return Trace(path, name, reader.level, merged(streams), (*by_run.values(), *alone.values(), left_out))


def _below(directory: Path) -> Iterator[Path]:
    """Return everything below a directory except directories. Raises MachineError if one cannot be read."""

    def refuse(error: OSError) -> NoReturn:
        raise from_os_error(error) from error

    for at, directories, names in os.walk(directory, onerror=refuse):
        yield from (Path(at) / name for name in names)
        yield from (link for name in directories if (link := Path(at) / name).is_symlink())


def _reader_in(file: Path, called: Path) -> Reader | None:
    """Find the reader of one file among several; None if it is empty or not a file. called: its name in errors."""
    if not file.is_file() or not file.stat().st_size:
        return None
    head = _first_bytes(file, called)
    return _reader_of(head) if head.strip() else None


def _left_out(names: list[str], count: int) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    listed = ", ".join(map(shown, names[:_NAMED]))
    return f"{len(names):,} of {count:,} files hold no trace and were left out: {listed}{more}."


def _head(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise _unusable(path, "a pipe or a device, which can be read only once", "Write it to a file first.")
    head = _first_bytes(path, path)
    if not head.strip():
        raise _unusable(path, "an empty file" if not head else "nothing but white space")
    return head


def _first_bytes(path: Path, called: Path) -> bytes:
    try:
        with open_trace(path) as file:
            return file.read(_HEAD)
    except FileNotFoundError as error:
        raise TraceError(str(called), found="no such file", action=f"Check the path. {RECORD}") from error
    except BROKEN as error:
        raise _unusable(called, f"broken compressed data ({error})") from error
    except OSError as error:
        raise from_os_error(error) from error


def _unusable(path: Path, found: str, action: str = RECORD) -> TraceError:
    return TraceError(
        str(path),
        expected=f"a trace of strace, Darshan, fio or another of {len(_KNOWN)} formats (docs/traces.md)",
        found=found,
        action=action,
    )
