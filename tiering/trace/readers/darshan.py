"""Darshan logs: counters of each file, and single accesses if extended tracing (DXT) was on.

They are read with the `darshan` wheel, the extra of that name (docs.darshan.dev). Its C library aborts on some damaged
logs, so it runs in a process of its own: `darshan_log`.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tiering.errors import MachineError, from_os_error
from tiering.storage.scratch import scratch_directory
from tiering.trace.readers import captured
from tiering.trace.readers.base import Damage, Reader, shows
from tiering.trace.readers.opening import BROKEN, open_trace

_NUMBER = 6567223
#: s; a log of millions of records takes a minute.
_PATIENCE = 1800


def sniff(head: bytes) -> bool:
    """Return whether the bytes are a Darshan log: a version text of eight bytes and Darshan's magic number."""
    return head[8:16] in (_NUMBER.to_bytes(8, "little"), _NUMBER.to_bytes(8, "big"))


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn a log into batches of events: those of DXT, or events that add up to the counters.

    Counters have no order. A file's accesses are spread evenly between the first and the last one, and walk through the
    file repeatedly until the bytes are reached. Raises TraceError if the log is damaged, and MachineError without the
    wheel.
    """
    if importlib.util.find_spec("darshan") is None:
        raise MachineError(
            str(path),
            rule="needs the darshan wheel to read Darshan logs, which is not installed",
            action="pip install 'tiering[darshan]'",
        )
    with scratch_directory() as name:
        events = Path(name) / "events.parquet"
        log = Path(name) / "log"
        if not _copied(path, log, damage):
            return
        command = [sys.executable, "-m", "tiering.trace.readers.darshan_log", str(log), str(events)]
        try:
            ended = subprocess.run(  # noqa: S603 - no shell
                command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=False
            )
            reason = (ended.stderr.strip() or f"exit status {ended.returncode}").splitlines()[-1]
        except subprocess.TimeoutExpired:
            reason = f"nothing after {_PATIENCE} s"
        if not events.exists():
            found = f"a log that Darshan's library refuses ({reason})"
            damage.at(1, found, expected="a whole Darshan log", unit="record")
            return
        yield from captured.read(events, damage)


def _copied(path: Path, to: Path, damage: Damage) -> bool:
    """Copy the log for Darshan's library, which opens files itself and has tried to unlink damaged ones."""
    try:
        with open_trace(path) as log, to.open("wb") as file:
            shutil.copyfileobj(log, file)
    except BROKEN as error:
        damage.at(1, f"broken compressed data ({error})", unit="record")
        return False
    except OSError as error:
        raise from_os_error(error) from error
    return True


READER = Reader(
    "darshan",
    "a Darshan log",
    "file",
    sniff,
    read,
    shows("operations sizes names processes opens", partly="times durations offsets"),
)
