"""What recording costs, and how fast traces are read and profiled.

Usage: python -m benchmarks.tracing [--only overhead,totals,decoding,readers,profile,curves] [--work DIR]

- overhead: 10,000 reads of small files under `tiering trace`, and under bare strace with the same filters, in turn.
- totals: the bytes of five programs' traces against what the kernel counted for them (/proc/PID/io).
- decoding: the records of root's system calls, in C and in Python, of an epoch whose names are new and of later ones;
  us of processor time a record. Needs root.
- readers: lines or events of strace's text, of CSV and of the other formats, a second of one core's time (so what else
  the machine does counts little).
- profile: TraceProfile over three and ten million events, and over 100 million in parts, with its memory; a second of
  processor time.
- curves: miss ratios and distinct bytes from a sample of the places against those from all of them.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import polars as pl

from benchmarks.tracing_inputs import INPUTS, PROGRAMS
from tiering.system.bpf import records_of
from tiering.system.call_recorder import CallRecorder
from tiering.trace import block_sample as blocks
from tiering.trace import intervals
from tiering.trace.capture import record
from tiering.trace.capturing import kernel_calls
from tiering.trace.capturing.strace import FLAGS
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.profile import profile_events

ROUNDS = 5
READS = 10_000
MOST = int(os.environ.get("EVENTS", "100_000_000"))
LOOP = """
import os, sys, time
began = time.perf_counter()
for name in sorted(os.listdir(sys.argv[1])):
    with open(os.path.join(sys.argv[1], name), "rb") as file:
        file.read()
print(time.perf_counter() - began)
"""
READ = """
import sys, time
from tiering.trace.readers import read_trace
began = time.process_time()
print(sum(map(len, read_trace(sys.argv[1]).batches)), time.process_time() - began)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="overhead,totals,decoding,readers,profile,curves")
    parser.add_argument("--work", type=Path)
    asked = parser.parse_args()
    print("| what | figure |\n| --- | --- |")
    with tempfile.TemporaryDirectory(dir=asked.work) as name:
        for each in asked.only.split(","):
            KINDS[each](Path(name))


def overhead(work: Path) -> None:
    files = work / "files"
    files.mkdir()
    for number in range(READS):
        (files / f"{number:05}").write_bytes(bytes(1000))
    loop = [sys.executable, "-c", LOOP, str(files)]
    bare = ["strace", *FLAGS]
    ours = [str(Path(sys.executable).parent / "tiering"), "trace", "-o", str(work / "t.parquet"), "--"]
    commands = {"alone": loop, "strace": [*bare, "-o", str(work / "t.strace"), *loop], "tiering": [*ours, *loop]}
    took: dict[str, list[float]] = {name: [] for name in commands}
    inside: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            began = time.perf_counter()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            took[name].append(time.perf_counter() - began)
            inside[name].append(float(done.stdout))
    print(f"| a loop of {READS:,} reads of small files, alone | {_spread(took['alone'])} s |")
    print(f"| under strace with the same filters | {_spread(took['strace'])} s |")
    print(f"| under `tiering trace`, its start and the writing of the trace included | {_spread(took['tiering'])} s |")
    for what, times in (("whole time", took), ("the loop's own time", inside)):
        ratios = [ours / strace for ours, strace in zip(times["tiering"], times["strace"], strict=True)]
        print(f"| `tiering trace` / strace, {what} | {_spread(ratios)} |", flush=True)


def _spread(figures: list[float]) -> str:
    return f"{statistics.median(figures):.2f} ({min(figures):.2f}-{max(figures):.2f})"


def totals(work: Path) -> None:
    for number, (name, command) in enumerate(PROGRAMS.items()):
        place = work / f"totals-{number}"
        (place / "files").mkdir(parents=True)
        for file in range(2000):
            (place / "files" / f"{file:04}").write_bytes(os.urandom(10_000))
        names = {"PYTHON": sys.executable, "FILES": place / "files", "OUT": place / "out"}
        words = [*(f"{name}={value}" for name, value in names.items()), "sh", "-c", command]
        made = record(["env", *words], place / "trace.parquet")
        if made.status:
            sys.exit(f"{name} ended with {made.status}")
        parts = []
        for what, traced, counted in (
            ("read", made.bytes_read, made.counted_read),
            ("written", made.bytes_written, made.counted_written),
        ):
            share = f"{100 * traced / counted:.2f} %" if counted else "-"
            parts.append(f"{traced / 1e6:.2f} MB {what}, {share} of the kernel's count")
        print(f"| {name} | {'; '.join(parts)} |", flush=True)
        shutil.rmtree(place)


def decoding(work: Path) -> None:
    files = work / "decoded"
    files.mkdir()
    for number in range(READS):
        (files / f"{number:05}").write_bytes(bytes(1000))
    epochs = []
    with CallRecorder() as recorder:
        recorder.follow([os.getpid()])
        for _ in range(3):
            for path in files.iterdir():
                path.read_bytes()
            epochs.append(recorder.take())
    counts = [sum(1 for _ in records_of(epoch)) for epoch in epochs]
    for native in (True, False):
        first, later = [], []
        for _ in range(ROUNDS):
            with mock.patch.object(kernel_calls, "NATIVE", native):
                calls = kernel_calls.KernelCalls(time.time() - time.monotonic())
                calls.join(os.getpid(), str(Path.cwd()), 1)
                times = []
                for epoch, count in zip(epochs, counts, strict=True):
                    began = time.process_time()
                    calls.add(epoch)
                    calls.calls.take()
                    times.append((time.process_time() - began) / count * 1e6)
            first.append(times[0])
            later += times[1:]
        name = "C" if native else "Python"
        print(
            f"| recorded calls in {name}, names new and known | {_spread(first)} us, {_spread(later)} us |", flush=True
        )


def readers(work: Path) -> None:
    os.environ["POLARS_MAX_THREADS"] = "1"
    for name, make in INPUTS.items():
        path = work / name
        make(path)
        rates = []
        for _ in range(ROUNDS):
            command = ["taskset", "-c", "0", sys.executable, "-c", READ, str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            events, seconds = done.stdout.split()
            with path.open("rb") as file:
                lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
            rates.append((lines if name == "strace" else int(events)) / float(seconds))
        unit = "lines/s" if name == "strace" else "events/s"
        low, high = min(rates), max(rates)
        print(
            f"| {name} reader, one core | {statistics.median(rates):,.0f} {unit} ({low:,.0f}-{high:,.0f}) |", flush=True
        )
        path.unlink()


def _events(count: int, batch: int = 1 << 17) -> Iterator[pl.DataFrame]:
    """Make events of a block device: Zipf-like places over 2 TB, so that distinct ranges do not fit in memory."""
    rng = np.random.default_rng(0)
    for begin in range(0, count, batch):
        rows = min(batch, count - begin)
        place = (rng.pareto(0.3, rows) * 1000).astype(np.float64) % 500_000_000
        yield pl.DataFrame(
            {
                "time": begin * 1e-5 + np.arange(rows) * 1e-5,
                "op": np.where(rng.random(rows) < 0.7, "read", "write"),
                "file": np.zeros(rows, np.uint64),
                "offset": place.astype(np.int64) * 4096,
                "size": np.full(rows, 4096),
                "pid": np.zeros(rows, np.int32),
                "group": np.zeros(rows, np.int32),
                "duration": pl.Series([None] * rows, dtype=pl.Float64),
                "path": pl.Series(["device 8,0"] * rows),
                "flags": pl.Series([None] * rows, dtype=pl.String),
            },
            schema=EVENT_SCHEMA,
        )


def _epochs(count: int, batch: int = 1 << 17) -> Iterator[pl.DataFrame]:
    """Make events of training: 100,000 files, each opened, read and closed once an epoch, in a new order."""
    rng, files = np.random.default_rng(0), 100_000
    order = np.concatenate([rng.permutation(files) for _ in range(-(-count // (3 * files)))])
    for begin in range(0, count, batch):
        step = np.arange(begin, min(begin + batch, count))
        file, kind = order[step // 3], step % 3
        yield pl.DataFrame(
            {
                "time": step * 1e-5,
                "op": np.array(["open", "read", "close"])[kind],
                "file": file.astype(np.uint64),
                "offset": pl.Series(np.where(kind == 1, 0, -1)).replace(-1, None),
                "size": np.where(kind == 1, 110_000, 0),
                "pid": np.zeros(len(step), np.int32),
                "group": np.zeros(len(step), np.int32),
                "duration": np.full(len(step), 1e-5),
                "path": pl.select(pl.format("/data/{}.jpg", pl.Series(file)).alias("path"))["path"],
                "flags": pl.select(pl.when(pl.Series(kind == 0)).then(pl.lit("r")).alias("flags"))["flags"],
            },
            schema=EVENT_SCHEMA,
        )


def profile(_work: Path) -> None:
    # First, for its peak of memory is that of the process.
    began = time.process_time()
    found = profile_events(_events(MOST))
    busy = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| TraceProfile, {MOST:,} events, making them included | {MOST / busy:,.0f} events/s |")
    print(f"| the same: most memory | {peak:,.0f} MiB |")
    shares = f"{found.range_rate:.3g}, {found.sample_rate:.3g}"
    print(f"| the same: share of places sampled for distinct bytes, for the curves | {shares} |", flush=True)
    for what, made in (("a block device", _events), ("100,000 files, epoch after epoch", _epochs)):
        for count in (3_000_000, 10_000_000):
            events, rates = list(made(count)), []
            for _ in range(ROUNDS):
                began = time.process_time()
                profile_events(iter(events))
                rates.append(count / (time.process_time() - began))
            print(
                f"| TraceProfile, {count:,} events of {what} | {statistics.median(rates):,.0f} events/s"
                f" ({min(rates):,.0f}-{max(rates):,.0f}) |",
                flush=True,
            )
            del events


def curves(_work: Path) -> None:
    for what, made in (("a block device", _events), ("100,000 files, epoch after epoch", _epochs)):
        events = list(made(6_000_000))
        with mock.patch.object(blocks, "_MOST", 1 << 24), mock.patch.object(intervals, "_MOST", 1 << 24):
            exact = profile_events(events)
        for most in (1 << 20, 1 << 18, 1 << 16):
            with mock.patch.object(blocks, "_MOST", most), mock.patch.object(intervals, "_MOST", most):
                found = profile_events(events)
            sizes = [point.cache_bytes for point in exact.miss_ratio_curve]
            gaps = []
            for name in ("lru", "static"):
                known, guess = (
                    np.interp(
                        sizes,
                        [p.cache_bytes for p in each.miss_ratio_curve],
                        [getattr(p, name) for p in each.miss_ratio_curve],
                    )
                    for each in (exact, found)
                )
                gaps.append(np.abs(known - guess))
            worst, mean = np.max(gaps), np.mean(gaps)
            far = abs(found.unique_bytes_read / exact.unique_bytes_read - 1)
            print(
                f"| {what}: from {found.sample_rate:.3g} of the places"
                f" | miss ratios off by {mean:.4f} on average, {worst:.4f} at most; "
                f"distinct bytes by {far:.2%} ({found.range_rate:.3g} of the parts) |",
                flush=True,
            )


KINDS = {
    "overhead": overhead,
    "totals": totals,
    "decoding": decoding,
    "readers": readers,
    "profile": profile,
    "curves": curves,
}

if __name__ == "__main__":
    if shutil.which("strace") is None:
        sys.exit("strace is missing: apt install strace")
    main()
