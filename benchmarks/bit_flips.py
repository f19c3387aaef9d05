"""Flip single bits at random places of stores, and see that verify finds every one and nothing crashes.

    python benchmarks/bit_flips.py [--flips 1000] [--images DIR]

Each flip is checked in a process of its own, which also reads every sample: a signal would show. Files are drawn by the
byte, so that most flips hit data, and every fourth by the file, so that index, metadata and manifest are hit too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

import tiering
from tiering.errors import TieringError

FIXTURES = Path(__file__).parent.parent / "fixtures" / "images"
STORES = {
    "lmdb": {"to": "lmdb"},
    "zarr": {"to": "zarr", "codec": "none"},
    "zarr, zstd": {"to": "zarr", "codec": "zstd"},
    "zarr, pixels, blosc": {"to": "zarr", "pixels": tiering.Pixels(32, 32), "codec": "blosc-lz4"},
}
FOUND, MISSED, SAME, UNNAMED = 0, 1, 2, 3


def flip(path: Path, at: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ (1 << bit)]))


def look(store: Path, sound: dict[bytes, tuple[bytes, int]]) -> int:
    """Read everything, then verify; say whether the damage was found, or nothing differs."""
    same = False
    with contextlib.suppress(TieringError, OSError, IndexError):
        same = contents(store) == sound
    try:
        found = not tiering.verify(store).ok
    except TieringError:
        found = True
    return FOUND if found else SAME if same else MISSED


def contents(store: Path) -> dict[bytes, tuple[bytes, int]]:
    opened = tiering.open_store(store)
    rows = np.arange(len(opened))
    images = [bytes(image) for image in opened.read(rows)]
    return dict(zip(opened.index.keys(rows), zip(images, opened.index.label.tolist(), strict=True), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=1000, help="in all, shared by the kinds of store")
    parser.add_argument("--images", type=Path, default=FIXTURES)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    summary = {}
    bad = 0
    with tempfile.TemporaryDirectory(prefix="bit-flips-") as directory:
        for name, how in STORES.items():
            store = Path(directory) / name.replace(", ", "-")
            tiering.convert(options.images, store, shards=tiering.Shards(1_000_000), **how)
            sound = contents(store)
            files = [path for path in sorted(store.rglob("*")) if path.is_file()]
            sizes = [path.stat().st_size for path in files]
            counts: Counter[str] = Counter()
            for number in range(options.flips // len(STORES)):
                path = dice.choice(files) if number % 4 == 0 else dice.choices(files, sizes)[0]
                at, bit = dice.randrange(path.stat().st_size), dice.randrange(8)
                flip(path, at, bit)
                child = os.fork()
                if child == 0:
                    said = UNNAMED
                    try:
                        said = look(store, sound)
                    finally:
                        # Unwinding further would take the parent's stores away.
                        if said == UNNAMED:
                            traceback.print_exc()
                        os._exit(said)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                flip(path, at, bit)
                said = {FOUND: "found", MISSED: "missed", SAME: "changed nothing", UNNAMED: "no named error"}.get(
                    code, f"ended with {code}"
                )
                counts[said] += 1
                if said != "found":
                    print(f"{name}: {path.relative_to(store)} byte {at} bit {bit}: {said}", file=sys.stderr)
                    bad += said != "changed nothing"
            summary[name] = {"files": len(files), **counts}
    print(json.dumps(summary, indent=2))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
