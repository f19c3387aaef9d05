"""A survey of ten roots beside `find ROOTS -printf '%s %T@ %A@ %p'`: time and peak memory.

python -m benchmarks.survey WORKDIR [--files N] [--rounds R] [--keep]

Makes WORKDIR/survey unless it is there: ten roots with N files in all, of every kind that a survey knows, in
directories of about 1,000 files. The files are sparse, since neither program reads them. Each round runs find, and then
`tiering survey ROOTS --json`, and measures the time, Python's start included, and the peak memory with that of the
workers. The page cache is warm. Prints medians and the ratio, and checks that the survey counted every file and byte.
Removes the tree, unless --keep is given. 10^6 files: 90 s to make, and 10 s a round, on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.scan import Watch, timed

#: Share of all files, and the folders and names, of each root.
ROOTS = (
    ("class-folders", 0.30, "train/class{:04}", "img_{:06}.jpg"),
    ("splits", 0.15, "val/n{:08}", "ILSVRC_{:08}.JPEG"),
    ("flat", 0.10, "", "photo-{:07}.png"),
    ("by-date", 0.10, "2024/{:03}", "scan_{:05}.tif"),
    ("captions", 0.10, "part-{:04}", "{:09}.webp"),
    ("tars", 0.05, "shards/part{:03}", "train-{:06}.tar"),
    ("tables", 0.05, "day={:03}", "rows-{:05}.parquet"),
    ("zarr", 0.10, "images.zarr/c/{}", "{}"),
    ("arrays", 0.03, "volumes/{:03}", "case_{:05}.npz"),
    ("programs", 0.02, "src/module{:03}", "file{:05}.py"),
)


def make(tree: Path, files: int) -> None:
    with ProcessPoolExecutor(2) as pool:
        tasks = []
        for name, share, folder, file in ROOTS:
            count = round(files * share)
            each = count if not folder else 1000
            tasks += [
                pool.submit(_make_folder, tree / name / folder.format(at // each), file, at, min(each, count - at))
                for at in range(0, count, each)
            ]
        for task in tasks:
            task.result()
    (tree / "zarr" / "images.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')


def _make_folder(folder: Path, name: str, first: int, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        handle = os.open(f"{folder}/{name.format(number)}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.ftruncate(handle, 2000 + number * 7919 % 30000)
        os.close(handle)


def find(roots: list[Path]) -> None:
    subprocess.run(["find", *roots, "-printf", "%s %T@ %A@ %p\n"], stdout=subprocess.DEVNULL, check=True)


def survey_apart(roots: list[Path]) -> dict[str, object]:
    """Survey with the program as users start it, and return its seconds, its peak memory in MiB, and what it found."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "tiering", "survey", *map(str, roots), "--json"], stdout=subprocess.PIPE
    ) as program:
        with Watch(program.pid) as watch:
            found = json.loads(program.communicate()[0])
        seconds = time.perf_counter() - began
    assert program.returncode == 0
    kinds = sorted(f"{dataset['kind']} {dataset['files']:,}" for dataset in found["datasets"])
    files = sum(dataset["files"] for dataset in found["datasets"]) + found["outside_files"]
    size = sum(dataset["bytes"] for dataset in found["datasets"]) + found["outside_bytes"]
    return {"seconds": seconds, "mib": watch.peak / 2**20, "files": files, "bytes": size, "kinds": kinds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args()
    tree = asked.workdir / "survey"
    if not tree.exists():
        print(f"made {asked.files:,} files in {timed(lambda: make(tree, asked.files)):.0f} s", flush=True)
    roots = sorted(tree.iterdir())
    find(roots)
    rows = []
    for _ in range(asked.rounds):
        seconds = timed(lambda: find(roots))
        found = survey_apart(roots)
        rows.append((seconds, found["seconds"], found["mib"]))
        print("find {:.2f} s; survey {:.2f} s, peak {:.0f} MiB".format(*rows[-1]), flush=True)
    seconds, whole, peak = (statistics.median(column) for column in zip(*rows, strict=True))
    ratios = [row[1] / row[0] for row in rows]
    print("; ".join(found["kinds"]))
    listed = subprocess.run(["find", *roots, "-type", "f", "-printf", "%s\n"], capture_output=True, check=True).stdout
    sizes = [int(line) for line in listed.split()]
    assert (found["files"], found["bytes"]) == (len(sizes), sum(sizes)), "the survey missed files"
    print(f"{len(sizes):,} files and {sum(sizes):,} bytes, as find counts them, below {len(roots)} roots")
    print(f"medians: find {seconds:.2f} s, survey {whole:.2f} s, peak {peak:.0f} MiB")
    print(f"survey over find: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}); the bar is 1.2")
    print(f"peak memory: {max(row[2] for row in rows):.0f} MiB; the bar is 300")
    if not asked.keep:
        shutil.rmtree(tree)


if __name__ == "__main__":
    main()
