"""Looks at jobs that never ran."""

from __future__ import annotations

from typing import Any

import polars as pl

from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.watching.observation import Observation, ProcessLook

_PROCESS: dict[str, Any] = {
    "pid": 100,
    "started": 1,
    "parent": 1,
    "command": "python",
    "seconds": 1.0,
    "processor": 0.0,
    "queued": 0.0,
    "kernel": 0.0,
    "samples": 10,
    "threads": {"sleeping": 1.0},
    "main": {"sleeping": 1.0},
    "opening": None,
    "bytes_read": 0,
    "bytes_written": 0,
    "reads": 0,
    "writes": 0,
    "device_read": None,
    "device_written": None,
    "major_faults": 0,
    "minor_faults": 0,
    "resident": 1000,
}


def process(pid: int = 100, **figures: Any) -> ProcessLook:
    """Return a look at a process that sleeps, but for some figures."""
    return ProcessLook(**_PROCESS | {"pid": pid} | figures)


def look(*processes: ProcessLook, seconds: float = 1.0, time: float = 0.0, **figures: Any) -> Observation:
    """Return a look of a second in which nothing happened, but for some figures."""
    nothing = {"events": pl.DataFrame(schema=EVENT_SCHEMA), "files": 0, "touched": None, "touched_again": None}
    return Observation(time=time, seconds=seconds, processes=processes, **{"watcher": 0.0} | nothing | figures)
