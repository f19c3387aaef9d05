"""How long a selection of a large store takes to its first batch, and how much memory it keeps.

    python -m benchmarks.selections [--samples 100000000] [--directory DIR]

Makes a store with a real index and shards of zeros that take no space: 16 KiB a sample, 1,000 classes, two splits.
For 10^8 samples the index takes 3 GB in DIR (by default a temporary directory), and the whole run three minutes. It
prints, for each selection: seconds until it exists and until its first batch of 256, the bytes that it keeps and needed
meanwhile for each selected sample (tracemalloc), and its size when it is pickled. Then it compares the warm epochs of a
selection with those of the store.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tiering
from tiering.io_sizes import CHUNK_BYTES
from tiering.store.index import COLUMNS
from tiering.store.layout import ENTRY_BYTES, MANIFEST, TABLE_CRC_BYTES, shard_name
from tiering.store.manifest import Manifest, Shard, SourceRecord, encode_manifest
from tiering.store.protocol import Store
from tiering.store.settings import Settings

SAMPLE, SHARD, CLASSES, PIECE = 16 << 10, 64 << 30, 1000, 1 << 20


def make_store(root: Path, samples: int) -> None:
    """Write the index and the manifest of a Zarr store, and sparse shards."""
    columns: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "label": lambda rows: rows * 7919 % CLASSES,
        "split": lambda rows: rows * 31 % 10 == 0,
        "size": lambda rows: np.full(len(rows), SAMPLE),
        "offset": lambda rows: rows // (SHARD // SAMPLE) * SHARD + rows % (SHARD // SAMPLE) * SAMPLE,
        "key_end": lambda rows: 8 * (rows + 1),
    }
    for name, dtype in COLUMNS.items():
        path = root / "index" / name / "c" / "0"
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            if name in columns:
                for begin in range(0, samples, PIECE):
                    rows = np.arange(begin, min(begin + PIECE, samples))
                    file.write(columns[name](rows).astype(dtype).tobytes())
            else:
                file.truncate(samples * (8 if name == "key" else np.dtype(dtype).itemsize))
    table = SHARD // CHUNK_BYTES * ENTRY_BYTES + TABLE_CRC_BYTES
    shards = []
    for number, begin in enumerate(range(0, samples, SHARD // SAMPLE)):
        path = root / shard_name("zarr", number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(SHARD + table)
        inside = min(SHARD // SAMPLE, samples - begin)
        shards.append(Shard(name=shard_name("zarr", number), samples=inside, bytes=SHARD + table, crc32c=0))
    manifest = Manifest(
        kind="zarr",
        samples=samples,
        image_bytes=samples * SAMPLE,
        layout="class folders",
        labels=[f"class-{number:03d}" for number in range(CLASSES)],
        splits=["train", "val"],
        settings=Settings(shard_bytes=SHARD, chunk_bytes=CHUNK_BYTES),
        source=SourceRecord(url="zeros", fingerprint=""),
        shards=shards,
        columns=dict.fromkeys(COLUMNS, 0),
    )
    (root / MANIFEST).write_bytes(encode_manifest(manifest))


def measure(name: str, store: Store, select: Callable[[Store], Store]) -> None:
    """Time one selection, then repeat it under tracemalloc, which slows it down."""
    began = time.perf_counter()
    selection = select(store)
    made = time.perf_counter() - began
    next(iter(tiering.Loader(selection, 256)))
    first = time.perf_counter() - began
    tracemalloc.start()
    selection = select(store)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    count = len(selection)
    print(
        f"| {name} | {count:,} | {made:.3f} | {first:.3f} | {kept / count:.2f} | {kept / 1e6:.2f} | {peak / count:.1f} "
        f"| {len(pickle.dumps(selection)) / 1e6:.2f} |",
        flush=True,
    )


def epochs(stores: list[Store], limit: int) -> list[float]:
    """Return the seconds of a warm shuffled epoch of each store: the least of five, after one, in turn."""
    taken: list[list[float]] = [[] for _ in stores]
    for _ in range(6):
        for store, seconds in zip(stores, taken, strict=True):
            began = time.perf_counter()
            for _ in tiering.Loader(store, 256, limit=limit):
                pass
            seconds.append(time.perf_counter() - began)
    return [min(seconds[1:]) for seconds in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10**8)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        root = Path(name) / "zeros.zarr"
        make_store(root, options.samples)
        store = tiering.open_store(root)
        n = len(store)
        np.asarray(store.index.size).sum()  # in the page cache, as in a job that ran before
        import polars as pl  # noqa: F401, PLC0415 - its import takes 0.1 s, once

        print(
            "| selection | samples | made, s | first batch, s | kept, B each | kept, MB | peak, B each | pickle, MB |"
        )
        print("|" + " --- |" * 8)
        measure("sample(0.1)", store, lambda whole: whole.sample(0.1, seed=1))
        measure("sample(0.9)", store, lambda whole: whole.sample(0.9, seed=1))
        measure("rows in sequence", store, lambda whole: whole.select(slice(n // 10, n - n // 10)))
        measure("every tenth", store, lambda whole: whole.select(slice(0, n, 10)))
        measure("split='val'", store, lambda whole: whole.select(split="val"))
        measure("class_number < 100", store, lambda whole: whole.select("class_number < 100"))
        measure("label in (...)", store, lambda whole: whole.select("label in ('class-001', 'class-002')"))
        measure("split(...)['val']", store, lambda whole: whole.split(train=0.9, val=0.1)["val"])
        measure("the same, stratified", store, lambda whole: whole.split(train=0.9, val=0.1, stratify="label")["val"])
        selection = store.sample(0.1, seed=1)
        began = time.perf_counter()
        digest = selection.selection
        print(f"\ndigest {digest} in {time.perf_counter() - began:.3f} s")
        limit = min(10**5, n // 10)
        one, other = epochs([store, selection], limit)
        print(
            f"{limit:,} samples of a shuffled epoch: store {one:.2f} s, selection {other:.2f} s ({one / other:.2f} x)"
        )


if __name__ == "__main__":
    main()
