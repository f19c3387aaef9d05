"""Time `relabel` of every sample of a store, and `remove` of one in a thousand, with and without --purge.

    python benchmarks/relabel.py [--samples 1000000] [--kind lmdb]

Packs tiny images from one tar file first, which takes most of the time: the whole run takes about ten minutes for 10^6
samples, and a minute for 10^5. Prints seconds, the peak memory of each command, and which bytes were rewritten.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

import tiering


def packed(work: Path, samples: int, kind: str) -> Path:
    """Pack tiny images of ten classes, about a thousand of them different."""
    pictures = []
    for number in range(min(samples, 997)):
        data = io.BytesIO()
        Image.new("L", (1 + number % 31, 1 + number // 31), number % 256).save(data, "PNG")
        pictures.append(data.getvalue())
    with tarfile.open(work / "train.tar", "w") as tar:
        for number in range(samples):
            about = tarfile.TarInfo(f"class-{number % 10}/{number:07}.png")
            about.size = len(picture := pictures[number % len(pictures)])
            tar.addfile(about, io.BytesIO(picture))
    store = work / "store"
    tiering.convert(work / "train.tar", store, kind)
    return store


#: Runs a command of the program, and then says the peak of its memory.
_RUN = """
import sys
from tiering.cli.app import app
try:
    app(sys.argv[2:])
except SystemExit as end:
    assert not end.code, end.code
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
open(sys.argv[1], "w").write(peak.split()[1])
"""


def timed(work: Path, *words: object) -> dict[str, float]:
    """Run a command in a process of its own; return its seconds and its peak memory in bytes, mapped files included."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", _RUN, work / "peak", *map(str, words)], check=True, capture_output=True, text=True
    )
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "peak memory": int((work / "peak").read_text()) * 1024,
    }


def files(store: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, size and time of every file."""
    return {
        str(path.relative_to(store)): (path.stat().st_ino, path.stat().st_size, path.stat().st_mtime_ns)
        for path in store.rglob("*")
        if path.is_file()
    }


def change(store: Path, *words: object) -> dict[str, float]:
    """Run a command that changes a store, and add the bytes that it wrote and deleted."""
    before = files(store)
    found = timed(store.parent, *words)
    after = files(store)
    image = [
        name for name in after if after[name] != before.get(name) and name.startswith(("shard", "data/c", "images/c"))
    ]
    return found | {
        "bytes written": sum(size for name, (_, size, _) in after.items() if after[name] != before.get(name)),
        "of images": sum(after[name][1] for name in image),
        "shards written": len(image),
        "bytes deleted": sum(size for name, (_, size, _) in before.items() if name not in after),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=("lmdb", "zarr"), default="lmdb")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="relabel-") as directory:
        work = Path(directory)
        began = time.perf_counter()
        store = packed(work, options.samples, options.kind)
        found: dict[str, object] = {
            "samples": options.samples,
            "seconds to pack": round(time.perf_counter() - began, 1),
        }
        opened = tiering.open_store(store)
        found["shards"] = len(opened.manifest.shards)
        keys = [key.decode() for key in opened.index.keys(np.arange(len(opened)))]
        found["a command that does nothing"] = timed(work, "log", store)
        for form in ("csv", "parquet"):
            table = work / f"labels.{form}"
            shift = 1 + (form == "parquet")
            rows = [f"{key},class {(number + shift) % 10}" for number, key in enumerate(keys)]
            (work / "labels.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
            if form == "parquet":
                pl.read_csv(work / "labels.csv").write_parquet(table)
            found[f"relabel, {form}"] = change(store, "relabel", store, table)
        (work / "keys").write_text("\n".join(keys[::1000]))
        found["remove"] = change(store, "remove", store, "--keys", work / "keys")
        (work / "keys").write_text("\n".join(keys[500:501]))
        found["purge of one sample"] = change(store, "remove", store, "--keys", work / "keys", "--purge")
        found["purge of all that were removed"] = change(store, "remove", store, "--purge")
        found["sound"] = tiering.verify(store).ok
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
