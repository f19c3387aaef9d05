"""Traces of PyTorch's profiler (Kineto, Chrome's trace format): how long a training loop waits for its DataLoader.

They show no reads or writes, so they lead to no verdict on the workload, only to where the job waits. The training
thread names its spans "enumerate(DataLoader)#CLASS.__next__", one for each batch, and "Optimizer.step#CLASS.step";
accelerators have the categories "kernel" and "gpu_memcpy" (torch/csrc/profiler, libkineto's output_json.cpp).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from tiering.errors import from_os_error
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.readers.base import Damage, Reader, shows
from tiering.trace.readers.opening import BROKEN, open_trace
from tiering.trace.waiting import ProfiledSteps, Waiting

_BLOCK: Final = 1 << 20
#: Most characters of one event, and of what stands before the first.
_LONGEST: Final = 1 << 24
_DECODER: Final = json.JSONDecoder()
_EVENTS: Final = '"traceEvents"'
_LOADING: Final = "enumerate(DataLoader)#"
#: The iterator of a DataLoader without workers.
_IN_PROCESS: Final = "_SingleProcess"
_OPTIMIZER: Final = "Optimizer.step#"
_TO_DEVICE: Final = "HtoD"
#: Spans of the training process.
_OWN: Final = ("user_annotation", "cpu_op", "python_function", "cuda_runtime")
_NO_READS: Final = (
    "A trace of PyTorch's profiler shows no reads and writes: it leads to no kind of workload, only to where the "
    "training waits."
)


def sniff(head: bytes) -> bool:
    """Return whether the text is an exported trace of PyTorch's profiler."""
    return head.lstrip().startswith(b"{") and b'"schemaVersion"' in head and _EVENTS.encode() in head


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Yield no events, and put into damage.waiting how long the training waited. Raises TraceError for damaged text."""
    sums = _Sums()
    for number, event in enumerate(_events(path, damage), 1):
        try:
            sums.add(event)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            damage.at(number, f"{type(error).__name__}: {error}", expected="a span with a time", unit="event")
    damage.waiting = sums.waiting()
    damage.notes.append(_NO_READS)
    if damage.waiting is None:
        damage.notes.append("The profiler saw no DataLoader, or fewer than two batches.")
    yield pl.DataFrame(schema=EVENT_SCHEMA)


@dataclass(slots=True)
class _Sums:
    """Sums over the spans, in microseconds.

    The first wait includes the start of the workers, which a long run does not see again, so counting begins at its
    end.
    """

    begin: float | None = None
    end: float = 0.0
    batches: int = 0
    loading: float = 0.0
    optimizer: float = 0.0
    copying: float | None = None
    kernels: float | None = None
    in_process: bool = False

    def add(self, event: dict[str, Any]) -> None:
        """Add one event; those that are no spans with a duration do not count."""
        if event.get("ph") != "X":
            return
        name, kind = str(event["name"]), event.get("cat")
        start, took = float(event["ts"]), float(event["dur"])
        if not (0 <= took < 1e15 and abs(start) < 1e18):
            raise ValueError(f"a span of {took} us at {start}")
        if kind == "user_annotation" and name.startswith(_LOADING):
            self._batch(name, start, took)
            return
        if self.begin is None or start < self.begin:
            return
        if kind == "user_annotation" and name.startswith(_OPTIMIZER):
            self.optimizer += took
        elif kind == "kernel":
            self.kernels = (self.kernels or 0.0) + took
        elif kind == "gpu_memcpy" and _TO_DEVICE in name:
            self.copying = (self.copying or 0.0) + took
        if kind in _OWN:
            self.end = max(self.end, start + took)

    def _batch(self, name: str, start: float, took: float) -> None:
        if self.begin is None:
            self.begin = start + took
            return
        self.batches += 1
        self.loading += took
        self.in_process |= _IN_PROCESS in name
        self.end = max(self.end, start + took)

    def waiting(self) -> Waiting | None:
        """Return what was seen; None without two batches."""
        if self.begin is None or not self.batches or self.end <= self.begin:
            return None
        whole = (self.end - self.begin) / 1e6
        steps = ProfiledSteps(
            seconds=whole,
            batches=self.batches,
            loading=min(whole, self.loading / 1e6),
            in_process=self.in_process,
            optimizer=min(whole, self.optimizer / 1e6),
            copying=None if self.kernels is None and self.copying is None else min(whole, (self.copying or 0.0) / 1e6),
            # Kernels of several streams overlap.
            kernels=None if self.kernels is None else min(whole, self.kernels / 1e6),
        )
        return Waiting(seconds=whole, looks=0, cores=None, profiled=steps)


def _events(path: Path, damage: Damage) -> Iterator[dict[str, Any]]:
    """Yield the objects of the array "traceEvents", one at a time."""
    pieces = _text(path, damage)
    text = ""
    while (found := text.find(_EVENTS)) < 0 or "[" not in text[found:]:
        more = next(pieces, None)
        if more is None or len(text) > _LONGEST:
            damage.at(1, "no array of events", expected=_EVENTS, unit="document")
            return
        text += more
    at = text.index("[", found) + 1
    number = 0
    while True:
        while text[at : at + 1] in _BETWEEN and at < len(text):
            at += 1
        if text[at : at + 1] == "]":
            return
        try:
            event, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            more = next(pieces, None)
            if more is None or len(text) - at > _LONGEST:
                damage.at(number + 1, repr(text[at : at + 60]), expected="an event, or the end of them", unit="event")
                return
            text, at = text[at:] + more, 0
            continue
        number += 1
        if isinstance(event, dict):
            yield event
        else:
            damage.at(number, repr(event)[:60], expected="an object", unit="event")


_BETWEEN: Final = (" ", "\n", "\t", "\r", ",")


def _text(path: Path, damage: Damage) -> Iterator[str]:
    """Yield the text of a file in blocks. Names may hold any bytes, which are of no account here."""
    try:
        with open_trace(path, damage.reached) as file:
            while block := file.read(_BLOCK):
                yield block.decode("latin-1")
    except BROKEN as error:
        damage.at(1, f"broken compressed data ({error})", unit="document")
    except OSError as error:
        raise from_os_error(error) from error


READER = Reader("kineto", "a trace of PyTorch's profiler", "application", sniff, read, shows(""))
