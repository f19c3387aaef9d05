"""Walk LMDB shards with LMDB itself, in a separate process.

LMDB follows the numbers in its pages without checking them, so forged pages make it read outside its map and crash. So
a child process with limits on time and memory walks pages that may come from an untrusted source. If it crashes, the
shard is reported as damaged. One child walks all shards; after a crash, a new one starts.
"""

from __future__ import annotations

import json
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import google_crc32c
import lmdb
import numpy as np
import numpy.typing as npt

from tiering.store.lmdb import key_of
from tiering.units import counted

#: Time limit of a shard: s for the child's start, and the rate of a slow disk for the shard's bytes.
_SECONDS: Final = 60.0
_BYTES_PER_SECOND: Final = 10 << 20

#: Bytes of memory for the child, besides maps of files. It can check values of up to half of that.
_MEMORY: Final = 4 << 30

#: The most problems to report per shard.
_TOLD: Final = 100

_START: Final = "import sys; sys.path[:] = sys.argv[1:]; from tiering.store.lmdb_walk import main; main()"

Crcs = npt.NDArray[np.uint32]


class Walker:
    """Walks shards in a child process, which ends with the block."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def problems(self, path: Path, name: str, crcs: Crcs, removed: int = 0) -> list[str]:
        """Walk a shard and return what differs from the index: keys, count, and the bytes of each value.

        path: the file. name: for messages. crcs: CRC-32C of its samples in order, uint32 (n,). removed: number of
        values that the index does not name any more.
        """
        message = {"path": str(path), "name": name, "samples": len(crcs), "removed": removed}
        about = json.dumps(message).encode() + b"\n"
        seconds = _SECONDS + path.stat().st_size / _BYTES_PER_SECOND
        child = self._child = self._child or _started()
        try:
            answer = _asked(child, about + np.ascontiguousarray(crcs, dtype="<u4").tobytes(), seconds)
        except TimeoutError:
            self._end()
            return [f"{name}: walking its LMDB pages took more than {seconds:.0f} s, and was stopped"]
        if answer is None:
            return [f"{name}: its LMDB pages are damaged: {_fate(self._end())} while walking them"]
        return answer

    def _end(self) -> int:
        child, self._child = self._child, None
        if child is None:
            return 0
        # An idle child would end with its input, but one that hangs would not.
        child.kill()
        with child:
            return child.wait()


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _START, *sys.path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _asked(child: subprocess.Popen[bytes], request: bytes, seconds: float) -> list[str] | None:
    """Return a child's answer; None if it died. Raises TimeoutError."""
    stdin, stdout = child.stdin, child.stdout
    if stdin is None or stdout is None:
        return None
    try:
        stdin.write(request)
        stdin.flush()
    except BrokenPipeError:
        return None
    message, until = b"", time.monotonic() + seconds
    while not message.endswith(b"\n"):
        if not select.select([stdout], [], [], max(0.0, until - time.monotonic()))[0]:
            raise TimeoutError
        piece = stdout.read1(1 << 16)  # type: ignore[attr-defined]
        if not piece:
            child.wait()
            return None
        message += piece
    found: list[str] = json.loads(message)
    return found


def _fate(code: int) -> str:
    return f"LMDB died of {signal.Signals(-code).name}" if code < 0 else f"LMDB ended with {code}"


def main() -> None:
    """Walk the shards that standard input names, until it ends."""
    for limit, most in ((resource.RLIMIT_DATA, _MEMORY), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    while line := sys.stdin.buffer.readline():
        about = json.loads(line)
        crcs = np.frombuffer(_exactly(sys.stdin.buffer, 4 * about["samples"]), dtype="<u4")
        try:
            message = _walk(Path(about["path"]), about["name"], crcs, about["removed"])
        except (lmdb.Error, OSError, MemoryError) as error:
            message = [f"{about['name']}: {error or 'a value that does not fit into memory'}"]
        sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
        sys.stdout.buffer.flush()


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        sys.exit(0)  # The parent is gone.
    return data


def _walk(path: Path, name: str, crcs: Crcs, removed: int) -> list[str]:
    problems: list[str] = []
    values = len(crcs) + removed
    with (
        lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=True) as env,
        env.begin(buffers=True) as txn,
    ):
        found = passed = 0
        for number, (key, value) in zip(range(values), txn.cursor(), strict=False):
            found += 1
            sample = number - passed  # the next one that the index names
            if bytes(key[:64]) != key_of(number):
                problems.append(f"{name}: LMDB key {bytes(key[:64]).hex()}, where {number} belongs")
            elif sample < len(crcs) and google_crc32c.value(bytes(value)) == crcs[sample]:
                continue
            elif passed < removed:
                passed += 1
            else:
                problems.append(f"{name}: LMDB value {number} does not have the CRC-32C of the index")
            if len(problems) >= _TOLD:
                return problems
        entries = txn.stat()["entries"]
        if found != values or entries != values:
            problems.append(f"{name}: {counted(values, 'sample')} by the manifest, {entries:,} in LMDB")
    return problems
