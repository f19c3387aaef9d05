"""Traces of PyTorch's profiler: how long the training waits, from real ones; damage is named, or counted."""

from __future__ import annotations

import gzip
import json
import runpy
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

import tiering
from tests.once import FIXTURES
from tiering.errors import TraceError
from tiering.trace.readers import READERS, read_trace

RECORDED = FIXTURES / "traces" / "dataloader.kineto.json.gz"
TEXT = gzip.decompress(RECORDED.read_bytes())


def span(name: str, start: float, took: float, kind: str = "user_annotation") -> dict[str, Any]:
    return {"ph": "X", "cat": kind, "name": name, "pid": 7, "tid": 7, "ts": start * 1e6, "dur": took * 1e6}


def written(path: Path, *events: object) -> Path:
    """Write a trace in the shape that torch.profiler exports."""
    document = {"schemaVersion": 1, "deviceProperties": [], "displayTimeUnit": "ms", "traceEvents": list(events)}
    path.write_text(json.dumps(document))
    return path


def loop(loading: float, step: float, iterator: str = "_MultiProcessingDataLoaderIter", batches: int = 20) -> list[Any]:
    """Return the spans of a training loop whose first wait takes ten seconds: workers start."""
    found, at = [span(f"enumerate(DataLoader)#{iterator}.__next__", 0, 10)], 10.0
    for _ in range(batches):
        found.append(span("Optimizer.step#SGD.step", at, step))
        found.append(span(f"enumerate(DataLoader)#{iterator}.__next__", at + step, loading))
        at += step + loading
    return found


def named(path: Path) -> list[str]:
    profile = tiering.profile_trace(path)
    return [cause.name for cause in tiering.causes(profile.waiting, profile)]


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_a_recorded_trace_shows_a_loop_that_loads_by_itself_and_no_workload(tmp_path, suffix):
    path = tmp_path / f"run{suffix}"
    path.write_bytes(TEXT if suffix == ".json" else RECORDED.read_bytes())
    profile = tiering.profile_trace(path)
    assert (profile.format, profile.events, profile.bytes_read) == ("kineto", 0, 0)
    assert tiering.classify(profile).workload == "inconclusive"
    assert any("shows no reads and writes" in note for note in profile.notes)
    assert profile.waiting is not None
    seen = profile.waiting.profiled
    assert seen is not None
    assert (seen.batches, seen.in_process, seen.kernels, seen.copying) == (16, True, None, None)
    assert 0.5 < seen.loading / seen.seconds < 1
    assert profile.waiting.workers is None
    assert named(path) == ["workers"]


def test_what_todays_profiler_writes_is_read(tmp_path):
    path = tmp_path / "run.json"
    runpy.run_path(str(FIXTURES / "programs" / "profiled_loop.py"))["main"](str(path))
    assert named(path) == ["workers"]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (loop(0.3, 0.7), ["loader"]),
        (loop(0.3, 0.7, "_SingleProcessDataLoaderIter"), ["workers"]),
        (loop(0.01, 0.99), ["training step"]),
        (loop(0.1, 0.9), []),
        (loop(0.3, 0.7, batches=9), []),
        ([*loop(0.01, 0.99), *(span("gemm", 10 + at, 0.97, "kernel") for at in range(20))], []),
        ([*loop(0.01, 0.99), *(span("Memcpy HtoD (Pageable -> Device)", 10 + at, 0.4, "gpu_memcpy") for at in range(20))],
         ["training step", "transfer"]),
        ([], []),
    ],
)  # fmt: skip
def test_causes_follow_from_the_spans(tmp_path, events, expected):
    assert named(written(tmp_path / "run.json", *events)) == expected


def test_a_trace_without_a_dataloader_says_so(tmp_path):
    profile = tiering.profile_trace(written(tmp_path / "run.json", span("aten::add", 0, 1, "cpu_op")))
    assert profile.waiting is None
    assert any("no DataLoader" in note for note in profile.notes)


@pytest.mark.parametrize(
    "damage", [{"ts": "soon"}, {"dur": -1}, {"ts": 1e300}, {"dur": None}, {"name": None, "dur": "x"}]
)
def test_a_damaged_span_is_named_or_left_out_and_counted(tmp_path, damage):
    events = loop(0.3, 0.7)
    events[3] |= damage
    path = written(tmp_path / "run.json", *events)
    with pytest.raises(TraceError, match="event 4"):
        list(read_trace(path).batches)
    assert tiering.profile_trace(path, lenient=True).skipped_lines == 1


@pytest.mark.parametrize("end", [400, 5_000, len(TEXT) - 200])
def test_a_trace_that_was_cut_is_refused_or_its_damage_counted(tmp_path, end):
    path = tmp_path / "run.json"
    path.write_bytes(TEXT[:end])
    with pytest.raises(TraceError):
        list(read_trace(path).batches)
    if b'"traceEvents"' in TEXT[:end]:
        assert tiering.profile_trace(path, lenient=True).skipped_lines == 1


@pytest.mark.parametrize("inside", [b"null", b"[" * 100_000, b'{"a":' * 3000, b"nan", b'"\\ud800"', b"\xff\xfe"])
def test_what_is_no_event_is_damage(tmp_path, inside):
    path = tmp_path / "run.json"
    path.write_bytes(TEXT.replace(b'"traceEvents": [', b'"traceEvents": [' + inside + b",", 1))
    with pytest.raises(TraceError, match="event 1"):
        list(read_trace(path).batches)


def test_memory_does_not_grow_with_the_trace(tmp_path):
    peaks = []
    for count in (2_000, 20_000):
        path = written(
            tmp_path / "run.json", *loop(0.3, 0.7), *(span("aten::add", 11, 0, "cpu_op") for _ in range(count))
        )
        tracemalloc.start()
        list(read_trace(path).batches)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 4_000_000


def test_profilers_traces_are_no_format_of_reads_and_writes():
    assert "kineto" not in {reader.name for reader in READERS}
