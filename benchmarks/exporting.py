"""How fast a store is exported in each form, compared with plain copying of the same files.

    python -m benchmarks.exporting [--samples 20000] [--bytes 110000] [--directory DIR]

Makes JPEG files filled up with random bytes, and a table with a caption, a score and a vector of 8 floats for each, and
packs them into an LMDB store. Then it exports the store in each form, each in a process of its own, and copies the
exported files with cp. It prints seconds, MB/s, the most memory of each process without mapped files, and the time of
an export as a multiple of that of cp. All writes are synced; the page cache is warm. The default needs 16 GB in DIR and
takes about three minutes; --samples 2000 takes 20 seconds.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from PIL import Image

import tiering
from tiering.system.file_calls import sync_file_system

ROOT: Final = Path(__file__).parent.parent

#: Exports a store, and prints the most memory of its process in MB, without mapped files.
EXPORT: Final = """
import re, sys, tiering
most = 0
def look(done, of, size):
    global most
    if done % 100 == 0:
        most = max(most, int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]))
tiering.export(*sys.argv[1:], progress=look)
print(most / 1000)
"""
COPY: Final = "import subprocess, sys; subprocess.run(['cp', '-r', *sys.argv[1:]], check=True); print(0)"
_SEGMENT: Final = 65_000


def made(root: Path, samples: int, size: int) -> Path:
    """Write images and their table, and pack them."""
    head = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 120, 30)).save(head, "JPEG")
    jpeg = head.getvalue()
    random = np.random.default_rng(0)
    (root / "images").mkdir()
    for number in range(samples):
        filling = random.bytes(max(0, size - len(jpeg)))
        parts = [filling[at : at + _SEGMENT] for at in range(0, len(filling), _SEGMENT)]
        segments = b"".join(b"\xff\xef" + (len(part) + 2).to_bytes(2, "big") + part for part in parts)
        (root / f"images/{number:08d}.jpg").write_bytes(jpeg[:2] + segments + jpeg[2:])
    pl.DataFrame({
        "path": [f"images/{number:08d}.jpg" for number in range(samples)],
        "label": [f"class {number % 100}" for number in range(samples)],
        "caption": [f"A photograph of something, no. {number}" for number in range(samples)],
        "score": random.random(samples),
        "box": pl.Series(random.random((samples, 8)), dtype=pl.Array(pl.Float64, 8)),
    }).write_parquet(root / "list.parquet")  # fmt: skip
    tiering.convert(root / "list.parquet", root / "store", "lmdb")
    return root / "store"


def timed(program: str, *words: str | Path) -> tuple[float, float]:
    """Run a program, sync what it wrote, and return seconds, and MB of memory."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=ROOT, check=True, capture_output=True, text=True)
    sync_file_system(Path(words[1]).parent)
    return time.perf_counter() - began, float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=110_000, help="of an image")
    parser.add_argument("--directory", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.directory) as name:
        root = Path(name)
        store = made(root, asked.samples, asked.bytes)
        size = tiering.open_store(store).manifest.image_bytes / 1e6
        print(f"{asked.samples:,} images, {size:,.0f} MB")
        for form in ("folder", "webdataset", "parquet"):
            seconds, memory = timed(EXPORT, store, root / form, form)
            copying, _ = timed(COPY, root / form, root / f"{form}-copy")
            print(
                f"{form:11} {seconds:7.2f} s {size / seconds:8.0f} MB/s, {memory:5.0f} MB of memory; "
                f"cp {copying:7.2f} s {size / copying:8.0f} MB/s; {seconds / copying:.2f} times as long"
            )


if __name__ == "__main__":
    main()
