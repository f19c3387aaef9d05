"""Size, time and memory of a report of 10^7 events: python -m benchmarks.report [EVENTS].

The trace reads 100,000 files in shuffled epochs by 8 processes, each of which has its own files. Calls have durations.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from typer.testing import CliRunner

from tiering.cli.app import app
from tiering.trace.events import EVENT_SCHEMA


def main() -> None:
    count = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000
    files = 100_000
    rng = np.random.default_rng(0)
    epochs = -(-count // files)
    order = np.concatenate([rng.permutation(files) for _ in range(epochs)])[:count]
    with tempfile.TemporaryDirectory() as place:
        trace, output = Path(place) / "trace.parquet", Path(place) / "report.html"
        columns = {
            "time": np.arange(count) * 1e-4,
            "file": order.astype(np.uint64),
            "pid": (order % 8).astype(np.int32),
            "size": rng.integers(20_000, 200_000, files)[order],
            "duration": rng.lognormal(-8.5, 1.0, count),
        }
        table = pl.DataFrame(columns).with_columns(
            op=pl.lit("read"), offset=0, group=1, flags=None, path=pl.format("/data/{}.jpg", "file")
        )
        del columns
        table.select([pl.col(name).cast(kind) for name, kind in EVENT_SCHEMA.items()]).write_parquet(trace)
        del table, order
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, worked = time.perf_counter(), time.process_time()
        done = CliRunner().invoke(app, ["report", "fixtures/images", str(trace), "-o", str(output)])
        if done.exit_code:
            sys.exit(done.stderr)
        took, worked = time.perf_counter() - began, time.process_time() - worked
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        size = output.stat().st_size / 1e6
        # On a machine that others use too, the processor time says more than the clock.
        print(f"{count:,} events: {size:.2f} MB in {took:.1f} s, {worked:.1f} s of processor time")
        print(f"peak {peak / 1e3:,.0f} MB, of which {before / 1e3:,.0f} MB was reached making the trace")


if __name__ == "__main__":
    main()
