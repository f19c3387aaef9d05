"""Kill changes of a store at random moments: it must be of the old or the new generation, and whole after the next run.

    python benchmarks/change_loop.py [--runs 100] [--images DIR]

Kills `relabel`, `remove` and `remove --purge`, alone and with two workers, in turn, on LMDB and Zarr. A reader opens
the store and reads all samples meanwhile. After each kill the store must hold exactly the samples and labels of one of
both generations; after the same command again it must equal, file by file, a store that was changed without
interruption. Prints a summary, and exits with 1 if anything differs. 100 runs take about twenty minutes.
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

FIXTURES = Path(__file__).parent.parent / "fixtures" / "images"
SHARD = "60kB"


def digest(root: Path) -> dict[str, int]:
    """Every file of a store with the CRC-32C of its contents."""
    return {str(path.relative_to(root)): file_crc(path) for path in sorted(root.rglob("*")) if path.is_file()}


def contents(store: tiering.Store) -> dict[bytes, tuple[bytes, int]]:
    """The image and the label of every sample."""
    rows = np.arange(len(store))
    found = zip(map(bytes, store.read(rows)), store.index.label.tolist(), strict=True)
    return dict(zip(store.index.keys(rows), found, strict=True))


class Reader(threading.Thread):
    """Opens a store again and again, and counts what is neither of the two generations, and what it could not open."""

    def __init__(self, store: Path, allowed: list[dict[bytes, tuple[bytes, int]]]) -> None:
        super().__init__(daemon=True)
        self.store, self.allowed = store, allowed
        self.opened = self.wrong = self.refused = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            self.look()
            time.sleep(0.002)

    def look(self) -> None:
        try:
            with tiering.open_store(self.store) as opened:
                found = contents(opened)
        except TieringError as error:
            # A shard may go between opening and reading; the error must say so.
            self.refused += "they were purged" not in str(error)
            return
        self.opened += 1
        self.wrong += found not in self.allowed


def program(*words: object) -> list[str]:
    return [sys.executable, "-m", "tiering", *map(str, words)]


def struck(command: list[str], seconds: float, dice: random.Random) -> bool:
    """Run a command and kill it after some time. Returns whether it was still running."""
    with subprocess.Popen(
        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        time.sleep(dice.uniform(0.4, 1.0) * seconds)  # before that, Python only imports
        if process.poll() is not None:
            return False
        os.killpg(process.pid, signal.SIGKILL)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="runs that were killed")
    parser.add_argument("--images", type=Path, default=FIXTURES)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # Logs have the time of each change: give every run the same.
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    dice = random.Random(options.seed)
    summary: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory(prefix="change-loop-") as directory:
        work = Path(directory)
        for kind in ("lmdb", "zarr"):
            begin = work / f"begin.{kind}"
            subprocess.run(
                program("convert", options.images, begin, "--to", kind, "--shard-size", SHARD),
                check=True, capture_output=True,
            )  # fmt: skip
            with tiering.open_store(begin) as opened:
                keys = [os.fsdecode(key) for key in opened.index.keys(np.arange(len(opened)))]
                before = contents(opened)
            (work / "labels.csv").write_text("path,label\n" + "\n".join(f"{key},bird" for key in keys[::3]) + "\n")
            (work / "keys.txt").write_text("\n".join(keys[::7]) + "\n")
            store = work / "store"
            changes = {
                "relabel": program("relabel", store, work / "labels.csv"),
                "remove": program("remove", store, "--keys", work / "keys.txt"),
                "purge": program("remove", store, "--keys", work / "keys.txt", "--purge"),
                "purge by two": program("remove", store, "--keys", work / "keys.txt", "--purge", "--workers", 2),
            }
            for name, command in changes.items():
                shutil.copytree(begin, store)
                began = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                seconds = time.perf_counter() - began
                with tiering.open_store(store) as opened:
                    allowed = [before, contents(opened)]
                whole = digest(store)
                counts = dict.fromkeys(("runs", "killed", "new", "equal", "verified", "opened", "wrong", "refused"), 0)
                while counts["killed"] < -(-options.runs // 8):
                    shutil.rmtree(store)
                    shutil.copytree(begin, store)
                    reader = Reader(store, allowed)
                    reader.start()
                    counts["runs"] += 1
                    counts["killed"] += struck(command, seconds, dice)
                    reader.done.set()
                    reader.join()
                    reader.look()
                    with tiering.open_store(store) as opened:
                        counts["new"] += opened.manifest.generation > 1
                    subprocess.run(command, check=True, capture_output=True)
                    counts["equal"] += digest(store) == whole
                    counts["verified"] += tiering.verify(store).ok
                    counts["opened"] += reader.opened
                    counts["wrong"] += reader.wrong
                    counts["refused"] += reader.refused
                summary[f"{kind}, {name}"] = counts
                shutil.rmtree(store)
    print(json.dumps(summary, indent=2))
    for counts in summary.values():
        if not counts["runs"] == counts["equal"] == counts["verified"] or counts["wrong"] or counts["refused"]:
            sys.exit(1)


if __name__ == "__main__":
    main()
