"""Shuffled epochs of encoded images: plain files against LMDB and Zarr stores, cold and warm, interleaved.

Usage: python benchmarks/epochs.py [--images DIR] [--count 20000] [--rounds 5] [--write docs/benchmarks.md]

Without --images the photographs are made by fixtures/make_images.py at about 110 KB each. Cold means that every cache
of the kernel was dropped before the epoch (needs root; otherwise the page cache of these files alone is dropped, which
keeps inodes in memory and favours plain files). The consumer copies every byte once. Where fio is installed, the
device's own limit is taken in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tiering
from tiering.store.pagecache import drop

MAKE = Path(__file__).resolve().parent.parent / "fixtures" / "make_images.py"


def main() -> None:
    asked = arguments()
    with tempfile.TemporaryDirectory(dir=asked.place) as place:
        images = asked.images or made(Path(place) / "images", asked.count)
        stores = {"plain files": tiering.open_store(images)}
        for kind in ("lmdb", "zarr"):
            tiering.convert(images, Path(place) / kind, kind)
            stores[kind] = tiering.open_store(Path(place) / kind)
        rates: dict[tuple[str, str], list[float]] = {}
        for number in range(asked.rounds):
            for name, store in stores.items():
                cold = drop_caches(store)
                rates.setdefault((name, "cold"), []).append(epoch(store, 2 * number))
                rates.setdefault((name, "warm"), []).append(epoch(store, 2 * number + 1))
                store.close()
        limit = device_limit(stores["lmdb"].files())
        text = report(rates, stores["plain files"], asked.rounds, limit, everything=cold)
    print(text)
    if asked.write:
        asked.write.write_text(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--place", type=Path, default=Path.cwd(), help="disk to measure")
    parser.add_argument("--write", type=Path)
    return parser.parse_args()


def made(place: Path, count: int) -> Path:
    subprocess.run([sys.executable, MAKE, "--count", str(count), "--side", "600-1000", place], check=True)
    return place


def epoch(store: tiering.Store, number: int) -> float:
    """Serve one shuffled epoch and return samples/s."""
    loader = tiering.Loader(store, 256, seed=1)
    loader.set_epoch(number)
    scratch = bytearray(int(store.index.size.max()))
    began = time.perf_counter()
    for batch in loader:
        for image in batch.images:
            scratch[: len(image)] = image
    return len(store) / (time.perf_counter() - began)


def drop_caches(store: tiering.Store) -> bool:
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        drop(store.files())
        return False
    return True


def device_limit(files: list[Path]) -> float | None:
    """Measure 128 KiB random direct reads at queue depth 32, B/s."""
    if not shutil.which("fio"):
        return None
    command = ["fio", "--name=limit", f"--filename={':'.join(map(str, files))}", "--direct=1", "--rw=randread"]
    command += ["--bs=128k", "--iodepth=32", "--ioengine=libaio", "--runtime=5", "--time_based", "--readonly"]
    done = subprocess.run([*command, "--output-format=json"], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["jobs"][0]["read"]["bw_bytes"])


def report(
    rates: dict[tuple[str, str], list[float]],
    folder: tiering.Store,
    rounds: int,
    limit: float | None,
    *,
    everything: bool,
) -> str:
    size = folder.manifest.image_bytes / len(folder)
    lines = [
        "# Measured results",
        "",
        "Made by `python benchmarks/epochs.py`; run it on your own disk.",
        "",
        f"{len(folder):,} encoded images of {size / 1e3:.0f} kB, one process, global shuffle, batches of 256, each",
        f"byte copied once; medians of {rounds} interleaved rounds, the range in brackets. Cold: "
        + ("all caches of the kernel dropped." if everything else "page cache of the files dropped, inodes kept."),
        "",
        "| store | epoch | samples/s | MB/s | against plain files |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (name, kind), found in rates.items():
        rate = statistics.median(found)
        pairs = zip(found, rates["plain files", kind], strict=True)
        ratio = statistics.median(one / other for one, other in pairs)
        lines.append(
            f"| {name} | {kind} | {rate:,.0f} ({min(found):,.0f}-{max(found):,.0f}) "
            f"| {rate * size / 1e6:,.0f} | {ratio:.2f} x |"
        )
    if limit is not None:
        lines += [
            "",
            f"The device in the same run (fio, 128 KiB random direct reads, queue depth 32): {limit / 1e6:,.0f} MB/s.",
        ]
    versions = (
        f"tiering {tiering.__version__}, Python {platform.python_version()}, Linux {platform.release().split('-')[0]}"
    )
    lines += ["", f"Machine: {os.cpu_count()} cores ({cpu()}), virtual disk, {versions}.", ""]
    return "\n".join(lines)


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
