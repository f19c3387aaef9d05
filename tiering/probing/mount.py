"""Measure a mounted file system: reads of several sizes and depths, small files, look-ups, writes and syncs."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle, repeat
from pathlib import Path
from typing import Final, Literal

import numpy as np

from tiering.advice.catalog import ReadPoint
from tiering.errors import InputError, MachineError
from tiering.storage.scratch import temporary_directory
from tiering.system.direct_reads import Reads, opened_direct, read_many, read_on_threads
from tiering.system.machine import libc_syscall
from tiering.system.signals import put_off
from tiering.units import format_bytes

BLOCKS: Final = (4096, 131072, 1048576)
DEPTHS: Final = (1, 2, 4, 8, 16, 32)
PATTERNS: Final[tuple[Literal["random", "sequential"], ...]] = ("random", "sequential")
POINTS: Final = len(BLOCKS) * len(DEPTHS) * len(PATTERNS)

_PIECE: Final = 1 << 20
_SYNC_EVERY: Final = 64  # pieces: the most that may still be unwritten when the time is up
#: Random bytes from which pieces are cut: few enough to stay in the processor's cache, like a writer's own buffer.
_POOL: Final = 2 << 20
_SMALL: Final = 4096
_MOST_FILES: Final = 500

#: Shares of the time: write the file to read, make small files, read them, look-ups, syncs. Reads have the rest.
_LAY, _MAKE, _OPEN, _LOOK, _SYNC = 0.25, 0.05, 0.04, 0.02, 0.04

#: statx(2): its number, and the flag that makes a network file system ask its server.
_STATX: Final = {"x86_64": 332, "aarch64": 291}
_AT_FDCWD, _FORCE_SYNC, _BASIC = -100, 0x2000, 0x7FF


@dataclass(frozen=True, slots=True)
class MountFigures:
    """The figures of a mount.

    Attributes:
        points: Reads.
        write_bandwidth: B/s of sequential writes, made durable every 64 MiB.
        sync_rate: Durable appends of 4 KiB/s.
        small_read: Median seconds to open, read and close a file of 4 KiB whose data are not in memory.
        metadata_rate: Look-ups/s.
        direct: Whether reads bypassed the page cache. Otherwise the cache was dropped before them.
        read_from: Bytes of the file that was read.
        written: Bytes written in all.
    """

    points: tuple[ReadPoint, ...]
    write_bandwidth: float
    sync_rate: float
    small_read: float
    metadata_rate: float
    direct: bool
    read_from: int
    written: int


def measure_mount(directory: Path, seconds: float, size: int, say: Callable[[str], None]) -> MountFigures:
    """Measure the file system of a directory, in a hidden directory that is removed whatever happens.

    Args:
        directory: A directory on the mount.
        seconds: About how long the measurement may take.
        size: Most bytes to write, besides small files of 2 MB in all.
        say: Called with the name of each part.

    Raises:
        InputError: Where there is no directory.
        MachineError: Without enough free space.
        OSError: Without permission, and on a read-only or full file system.
    """
    if not directory.is_dir():
        raise InputError(str(directory), found="no such directory")
    disk = shutil.disk_usage(directory)
    needed = size + _MOST_FILES * 2 * _SMALL
    if disk.total > 0 and disk.free < needed:
        raise MachineError(
            str(directory),
            expected=f"{format_bytes(needed)} free for the probe's files",
            found=f"{format_bytes(disk.free)}",
            action="Give a smaller `size`, or free some space.",
        )
    with _workspace(directory) as own, ExitStack() as stack:
        say("writing")
        path = own / "reads"
        written, spent = lay_out(path, size, seconds * _LAY)
        say("reading")
        plain = stack.enter_context(_opened(path))
        try:
            direct = stack.enter_context(opened_direct(path))
            read_many([(direct, 0)], _SMALL, 1, 1.0)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            direct = -1
        path.unlink()  # it lives while it is open, so even a killed probe leaves nothing
        share = 1 - _LAY - _MAKE - _OPEN - _LOOK - _SYNC
        points = read_points(plain, direct, written, seconds * share)
        say("small files and syncs")
        names = _small_files(own, seconds * _MAKE)
        small = _read_small(names, seconds * _OPEN)
        look = _look_up(names, seconds * _LOOK)
        syncs, synced = append(own / "log", seconds * _SYNC)
    return MountFigures(
        points=points,
        write_bandwidth=written / spent,
        sync_rate=syncs,
        small_read=small,
        metadata_rate=look,
        direct=direct >= 0,
        read_from=written,
        written=written + len(names) * _SMALL + synced,
    )


def read_points(plain: int, direct: int, size: int, seconds: float) -> tuple[ReadPoint, ...]:
    """Read a file in blocks of each size, at each depth, at random and in sequence.

    A point ends after its share of the time, or after one pass over the file, so that nothing is read twice.

    Args:
        plain: Descriptor of the file.
        direct: Descriptor for direct reads, or -1 where there are none. Then the page cache is dropped before each
            point.
        size: Bytes of the file.
        seconds: Time for all points.
    """
    found = []
    left = [(pattern, block, depth) for block in BLOCKS for depth in DEPTHS for pattern in PATTERNS]
    end = time.perf_counter() + seconds
    while left:
        share = (end - time.perf_counter()) / len(left)
        pattern, block, depth = left.pop(0)
        if size // block < depth:
            continue
        found.append(_point(pattern, depth, read_point(plain, direct, size, pattern, block, depth, max(share, 0.001))))
    return tuple(found)


def read_point(plain: int, direct: int, size: int, pattern: str, block: int, depth: int, seconds: float) -> Reads:
    """Make the reads of one point; see read_points."""
    targets = zip(repeat(direct if direct >= 0 else plain), offsets(pattern, size // block, block))
    if direct >= 0:
        return read_many(targets, block, depth, seconds)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(plain, 0, 0, os.POSIX_FADV_DONTNEED)
        # Read-ahead is right for sequential reads; with random reads it would fetch unwanted data.
        ahead = os.POSIX_FADV_SEQUENTIAL if pattern == "sequential" else os.POSIX_FADV_RANDOM
        os.posix_fadvise(plain, 0, 0, ahead)
    return read_on_threads(targets, block, depth, seconds)


def offsets(pattern: str, count: int, block: int) -> list[int]:
    """Return the offsets of `count` blocks, each once, in sequence or in a random order."""
    order = np.arange(count) if pattern == "sequential" else np.random.default_rng().permutation(count)
    found: list[int] = (order * block).tolist()
    return found


def _point(pattern: Literal["random", "sequential"], depth: int, reads: Reads) -> ReadPoint:
    p50, p99 = np.percentile(reads.latencies, [50, 99])
    return ReadPoint(
        pattern=pattern,
        block=reads.block,
        depth=depth,
        bandwidth=reads.bandwidth,
        p50=float(p50),
        p99=float(p99),
    )


@contextmanager
def _workspace(directory: Path) -> Iterator[Path]:
    removing = ExitStack()
    try:
        with put_off():
            own = removing.enter_context(temporary_directory(directory))
        yield own
    finally:
        with put_off():
            removing.close()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def lay_out(path: Path, size: int, seconds: float) -> tuple[int, float]:
    """Write random bytes, durable every 64 MiB, while there is time. Return the bytes and the seconds."""
    pool = memoryview(np.random.default_rng().bytes(_POOL))  # random: a file system may store repeated data once
    pieces = size // _PIECE
    with path.open("xb", buffering=0) as file:
        start = time.perf_counter()
        done = 0
        while done < pieces and (done % _SYNC_EVERY or time.perf_counter() - start < seconds):
            begin = done * 4099 % (_POOL - _PIECE)
            _write(file.fileno(), pool[begin : begin + _PIECE], path)
            done += 1
            if done % _SYNC_EVERY == 0 or done == pieces:
                os.fdatasync(file.fileno())
        spent = time.perf_counter() - start
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return done * _PIECE, spent


def _write(file: int, data: memoryview, path: Path) -> None:
    while data:
        try:
            data = data[os.write(file, data) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error


def _small_files(own: Path, seconds: float) -> list[Path]:
    """Make small files, durable and out of the page cache, while there is time."""
    names: list[Path] = []
    end = time.perf_counter() + seconds
    while not names or (len(names) < _MOST_FILES and time.perf_counter() < end):
        path = own / f"small-{len(names):04}"
        with path.open("xb", buffering=0) as file:
            _write(file.fileno(), memoryview(os.urandom(_SMALL)), path)
            os.fdatasync(file.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        names.append(path)
    return names


def _read_small(names: list[Path], seconds: float) -> float:
    """Return the median seconds to open, read and close one of the files, each read once."""
    end, taken = time.perf_counter() + seconds, []
    for at in np.random.default_rng().permutation(len(names)):
        begun = time.perf_counter()
        file = os.open(names[at], os.O_RDONLY)
        os.read(file, _SMALL)
        os.close(file)
        taken.append(time.perf_counter() - begun)
        if begun > end:
            break
    return float(np.median(taken))


def _look_up(names: list[Path], seconds: float) -> float:
    """Return look-ups/s. A network file system must ask its server; a local one answers from memory."""
    number, syscall = _STATX.get(platform.machine()), libc_syscall()
    about = ctypes.create_string_buffer(256)
    asks = number is not None and syscall is not None
    asks = asks and syscall(number, _AT_FDCWD, os.fsencode(names[0]), _FORCE_SYNC, _BASIC, about) == 0
    done, start = 0, time.perf_counter()
    for name in cycle(map(os.fsencode, names)):
        if asks:
            syscall(number, _AT_FDCWD, name, _FORCE_SYNC, _BASIC, about)
        else:
            os.stat(name)  # noqa: PTH116 - bytes paths
        done += 1
        if (taken := time.perf_counter() - start) > seconds:
            break
    return done / taken


def append(path: Path, seconds: float) -> tuple[float, int]:
    """Append 4 KiB and make it durable, repeatedly. Return the rate per second, and the bytes."""
    data, done = memoryview(os.urandom(_SMALL)), 0
    with path.open("xb", buffering=0) as file:
        start = time.perf_counter()
        while True:
            _write(file.fileno(), data, path)
            os.fsync(file.fileno())
            done += 1
            if (taken := time.perf_counter() - start) > seconds:
                return done / taken, done * _SMALL
