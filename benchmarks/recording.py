"""What it costs a loader to record itself: epochs with `trace=` against epochs without, in turn.

    python -m benchmarks.recording --images DIR [--samples 50000] [--rounds 11] [--work DIR]

The images are packed into an LMDB store and stay in the page cache. An epoch is served as views, whose bytes nobody
looks at (the cheapest thing a loader does), as bytes, each copied, and decoded; of decoded images only a tenth is
served. The time with a trace includes writing it to the end. Each round measures both ways, the order changing from
round to round; the median of the ratios counts, with its 95 % interval by the order statistics of the rounds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import tiering

_BATCH = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--work", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.work) as name:
        work = Path(name)
        tiering.convert(asked.images, work / "images.lmdb", "lmdb")
        with tiering.open_store(work / "images.lmdb") as store:
            few = min(asked.samples, len(store))
            for form, samples, epochs in (("encoded", few, 20), ("bytes", few, 10), ("pixels", few // 10, 2)):
                measure(store, form, samples, epochs, asked.rounds, work / "trace")


def measure(store: tiering.Store, form: str, samples: int, epochs: int, rounds: int, trace: Path) -> None:
    """Print the time of a sample both ways, and the ratio."""
    ratios, processor, plain, before, size = [], [], [], [], 0
    epoch(store, form, samples, 1, None)
    for number in range(rounds):
        taken = {}
        for way in (None, trace) if number % 2 else (trace, None):
            taken[way] = epoch(store, form, samples, epochs, way)
        size = sum(part.stat().st_size for part in trace.iterdir())
        shutil.rmtree(trace)
        ratios.append(taken[trace][0] / taken[None][0])
        processor.append(taken[trace][1] - taken[None][1])
        plain.append(taken[None][0])
        before.append(taken[None][1])
    low, high = interval(ratios)
    count = samples * epochs
    print(
        f"{form:8} {statistics.median(plain) / count * 1e6:8.2f} us a sample "
        f"({statistics.median(before) / count * 1e6:.2f} us of processor), recorded "
        f"{statistics.median(ratios):.3f} x ({low:.3f} to {high:.3f}), "
        f"{statistics.median(processor) / count * 1e6:.2f} us of processor more, {size / count:.1f} B a sample",
        flush=True,
    )


def epoch(store: tiering.Store, form: str, samples: int, epochs: int, trace: Path | None) -> tuple[float, float]:
    """Serve epochs. Return seconds, and seconds of processor time of this process."""
    os.sync()
    began, before = time.perf_counter(), time.process_time()
    with tiering.Loader(store, _BATCH, images=form, limit=samples, trace=trace) as loader:
        for number in range(epochs):
            for batch in loader.epoch(number):
                if form == "bytes":
                    for _ in batch.images:
                        pass
    return time.perf_counter() - began, time.process_time() - before


def interval(values: list[float]) -> tuple[float, float]:
    """Return a 95 % interval of the median, between order statistics (Conover, for 11 values the 2nd and the 10th)."""
    ranked = sorted(values)
    out = max(0, int(len(ranked) / 2 - 0.98 * len(ranked) ** 0.5))
    return ranked[out], ranked[-1 - out]


if __name__ == "__main__":
    main()
