"""Kill conversions at random moments, resume each, and compare the store with that of an uninterrupted run.

    python benchmarks/crash_loop.py [--runs 200] [--images DIR]

A reader tries to open the output all the while: it must be refused until the store is finished. Prints a summary and
exits with 1 when any store differs, does not verify, or was opened unfinished.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import tiering
from tiering.errors import TieringError
from tiering.store.columns import file_crc
from tiering.store.open import open_store

FIXTURES = Path(__file__).parent.parent / "fixtures" / "images"
SHARD = 60_000


def digest(root: Path) -> dict[str, int]:
    """Every file of a store with the CRC-32C of its contents."""
    return {str(path.relative_to(root)): file_crc(path) for path in sorted(root.rglob("*")) if path.is_file()}


class Reader(threading.Thread):
    """Tries to open a place again and again, and notes what it was given."""

    def __init__(self, places: list[Path], samples: int) -> None:
        super().__init__(daemon=True)
        self.places, self.samples = places, samples
        self.tries = self.unfinished = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            for place in self.places:
                if not place.exists():
                    continue
                self.tries += 1
                try:
                    store = open_store(place)
                    images = store.read(range_of(len(store)))
                    self.unfinished += len(images) != self.samples
                except (TieringError, OSError):
                    pass
            time.sleep(0.002)


def range_of(n: int):
    return np.arange(n, dtype=np.int64)


def run(kind: str, images: Path, work: Path, dice: random.Random, whole: dict[str, int], samples: int, longest: float):
    """Convert, kill, resume until done; return (kills, equal, verified, reader)."""
    store = work / "store"
    command = [
        sys.executable,
        "-m",
        "tiering.cli.app",
        "convert",
        images,
        store,
        "--to",
        kind,
        "--shard-size",
        f"{SHARD}B",
    ]
    reader = Reader([store, work / "store.partial"], samples)
    reader.start()
    kills = 0
    with subprocess.Popen(
        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        time.sleep(dice.uniform(0.0, longest))
        if process.poll() is None:
            # Half of the time the whole group, half of the time the parent alone, as an OOM killer would.
            os.killpg(process.pid, signal.SIGKILL) if dice.random() < 0.5 else process.kill()
            kills = 1
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    reader.done.set()
    reader.join()
    if done.returncode not in (0, 2):
        print(done.stderr, file=sys.stderr)
    equal = store.exists() and digest(store) == whole
    verified = store.exists() and tiering.verify(store, source=images).ok
    shutil.rmtree(store, ignore_errors=True)
    shutil.rmtree(work / "store.partial", ignore_errors=True)
    return kills, equal, verified, reader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, default=200, help="runs that were killed; those that ended before are made too"
    )
    parser.add_argument("--images", type=Path, default=FIXTURES)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    summary = {}
    with tempfile.TemporaryDirectory(prefix="crash-loop-") as directory:
        work = Path(directory)
        for kind in ("lmdb", "zarr"):
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "tiering.cli.app", "convert", options.images, work / "whole", "--to", kind,
                 "--shard-size", f"{SHARD}B"],
                check=True, capture_output=True,
            )  # fmt: skip
            longest = time.perf_counter() - began
            whole = digest(work / "whole")
            samples = len(open_store(work / "whole"))
            counts = dict.fromkeys(("runs", "killed", "equal", "verified", "opened unfinished", "tries to open"), 0)
            while counts["killed"] < options.runs // 2:
                kills, equal, verified, reader = run(kind, options.images, work, dice, whole, samples, longest)
                counts["runs"] += 1
                counts["killed"] += kills
                counts["equal"] += equal
                counts["verified"] += verified
                counts["opened unfinished"] += reader.unfinished
                counts["tries to open"] += reader.tries
            summary[kind] = counts | {"seconds of a whole run": round(longest, 2), "shards": len(whole) - 23}
            shutil.rmtree(work / "whole")
    print(json.dumps(summary, indent=2))
    if any(c["equal"] != c["runs"] or c["verified"] != c["runs"] or c["opened unfinished"] for c in summary.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
