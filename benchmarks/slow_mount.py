"""A read-only file system that shows a directory, and answers late: storage that is slow in a known way.

    with slow_mount(directory, at, opening=0.02, reading=0.0):
        ...

It speaks the kernel's FUSE protocol (linux/fuse.h, version 7.31) through /dev/fuse, in a process of its own, so that it
needs no library and is no part of the job that reads from it. Requests wait side by side. Needs root.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

_IN, _OUT = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
_ATTR = struct.Struct("<6Q10I")
_ENTRY_HEAD, _ATTR_HEAD = struct.Struct("<4Q2I"), struct.Struct("<Q2I")
_OPEN_OUT = struct.Struct("<QII")
_READ_IN = struct.Struct("<QQII")
_DIRENT = struct.Struct("<QQII")
_INIT_OUT = struct.Struct("<4I2H2I2HI7I")
(
    LOOKUP,
    FORGET,
    GETATTR,
    OPEN,
    READ,
    STATFS,
    RELEASE,
    FLUSH,
    INIT,
    OPENDIR,
    READDIR,
    RELEASEDIR,
    INTERRUPT,
    DESTROY,
) = (1, 2, 3, 14, 15, 17, 18, 25, 26, 27, 28, 29, 36, 38)
_BATCH_FORGET = 42
_BUFFER = 1 << 18
_THREADS = 64
#: Flags of INIT: parallel lookups, asynchronous reads.
_ASYNC_READ, _PARALLEL_DIROPS = 1 << 0, 1 << 18


class _Files:
    """The nodes that the kernel has asked about: numbers and paths of a directory."""

    def __init__(self, root: Path, opening: float, reading: float) -> None:
        self._paths = {1: str(root)}
        self._numbers = {str(root): 1}
        self._lock = threading.Lock()
        self._opening, self._reading = opening, reading
        self._calls: dict[int, Callable[[int, bytes], bytes]] = {
            LOOKUP: self._lookup,
            GETATTR: self._getattr,
            OPEN: self._open,
            READ: self._read,
            RELEASE: self._release,
            OPENDIR: lambda _node, _rest: _OPEN_OUT.pack(0, 0, 0),
            READDIR: self._readdir,
            RELEASEDIR: lambda _node, _rest: b"",
            FLUSH: lambda _node, _rest: b"",
            STATFS: lambda _node, _rest: struct.pack("<5Q4I6I", 0, 0, 0, 0, 0, 4096, 255, 4096, 0, *[0] * 6),
        }

    def answer(self, opcode: int, node: int, rest: bytes) -> tuple[int, bytes]:
        """Return an error number (0 or negative) and the answer."""
        call = self._calls.get(opcode)
        if call is None:
            return -errno.ENOSYS, b""
        try:
            return 0, call(node, rest)
        except OSError as error:
            return -(error.errno or errno.EIO), b""

    def _lookup(self, node: int, rest: bytes) -> bytes:
        time.sleep(self._opening / 2)
        path = os.path.join(self._paths[node], os.fsdecode(rest.rstrip(b"\0")))
        attributes = self._attributes(path)
        with self._lock:
            number = self._numbers.setdefault(path, len(self._numbers) + 1)
            self._paths[number] = path
        # A name is valid for no time at all, as on a mount that checks it with its server at each open.
        directory = stat.S_ISDIR(os.lstat(path).st_mode)
        return _ENTRY_HEAD.pack(number, 0, 3600 if directory else 0, 3600, 0, 0) + attributes

    def _getattr(self, node: int, _rest: bytes) -> bytes:
        return _ATTR_HEAD.pack(3600, 0, 0) + self._attributes(self._paths[node])

    def _attributes(self, path: str) -> bytes:
        found = os.lstat(path)
        times = [int(found.st_atime), int(found.st_mtime), int(found.st_ctime)]
        rest = [found.st_mode, found.st_nlink, 0, 0, 0, 4096, 0]
        return _ATTR.pack(self._numbers.get(path, 2), found.st_size, found.st_blocks, *times, 0, 0, 0, *rest)

    def _open(self, node: int, _rest: bytes) -> bytes:
        time.sleep(self._opening / 2)
        # Without flags the kernel drops its cached pages of the file at each open.
        return _OPEN_OUT.pack(os.open(self._paths[node], os.O_RDONLY), 0, 0)

    def _read(self, _node: int, rest: bytes) -> bytes:
        time.sleep(self._reading)
        handle, offset, size, _ = _READ_IN.unpack_from(rest)
        return os.pread(handle, size, offset)

    def _release(self, _node: int, rest: bytes) -> bytes:
        os.close(struct.unpack_from("<Q", rest)[0])
        return b""

    def _readdir(self, node: int, rest: bytes) -> bytes:
        _, offset, size, _ = _READ_IN.unpack_from(rest)
        made = b""
        entries = sorted(os.scandir(self._paths[node]), key=lambda each: each.name)
        for number, entry in enumerate(entries[offset:], offset + 1):
            name, kind = os.fsencode(entry.name), stat.S_IFDIR if entry.is_dir() else stat.S_IFREG
            record = _DIRENT.pack(2, number, len(name), kind >> 12) + name
            record += b"\0" * (-len(record) % 8)
            if len(made) + len(record) > size:
                break
            made += record
        return made


def _serve(device: int, files: _Files) -> None:
    """Answer requests until the file system is unmounted."""
    with ThreadPoolExecutor(_THREADS) as pool:
        while True:
            try:
                request = os.read(device, _BUFFER)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                raise
            _, opcode, unique, node, *_ = _IN.unpack_from(request)
            rest = request[_IN.size :]
            if opcode == INIT:
                _reply(device, unique, 0, _init(rest))
            elif opcode not in (FORGET, _BATCH_FORGET, INTERRUPT, DESTROY):
                pool.submit(_answer, device, files, unique, opcode, node, rest)


def _answer(device: int, files: _Files, unique: int, opcode: int, node: int, rest: bytes) -> None:
    _reply(device, unique, *files.answer(opcode, node, rest))


def _init(rest: bytes) -> bytes:
    _major, _minor, readahead, _flags = struct.unpack_from("<4I", rest)
    flags = _ASYNC_READ | _PARALLEL_DIROPS
    return _INIT_OUT.pack(7, 31, readahead, flags, _THREADS, _THREADS, 4096, 1, 0, 0, 0, *[0] * 7)


def _reply(device: int, unique: int, error: int, data: bytes) -> None:
    try:
        os.write(device, _OUT.pack(_OUT.size + len(data), error, unique) + data)
    except OSError as failed:
        # The process that asked is gone.
        if failed.errno != errno.ENOENT:
            raise


_MNT_DETACH = 2


@contextmanager
def slow_mount(directory: Path, at: Path, opening: float = 0.0, reading: float = 0.0) -> Iterator[Path]:
    """Mount a directory at `at`. opening: s that it takes to open a file. reading: s of each read, 128 KiB at most."""
    at.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "benchmarks.slow_mount", directory, at, opening, reading]
    server = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True)
    try:
        if server.stdout is None or server.stdout.readline() != "mounted\n":
            raise RuntimeError(f"no FUSE file system can be mounted here: exit status {server.wait()}")
        yield at
    finally:
        ctypes.CDLL(None).umount2(os.fsencode(at), _MNT_DETACH)
        server.send_signal(signal.SIGTERM)
        server.wait()


def main() -> None:
    directory, at, opening, reading = sys.argv[1:]
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(b"slow", os.fsencode(at), b"fuse.slow", 1 | 2 | 4, options) != 0:
        raise OSError(ctypes.get_errno(), "mount", at)
    print("mounted", flush=True)
    _serve(device, _Files(Path(directory), float(opening), float(reading)))


if __name__ == "__main__":
    main()
