"""How long the profile of a large store takes, and how much memory.

    python -m benchmarks.store_profile [--samples 100000000] [--directory DIR]

Makes the store of benchmarks/selections.py with three fields: an integer, a float that a tenth of the samples lack, and
a caption. For 10^8 samples the index takes 7 GB in DIR (by default a temporary directory), and the whole run some five
minutes. It prints the seconds that `profile_store` takes with one image looked at, those of each part, and the largest
anonymous memory of the process meanwhile: mapped columns are not in it, because the kernel can drop their pages.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import tiering
from benchmarks.selections import PIECE, make_store
from tiering.packing.shard_fields import run_settings
from tiering.storage.location import Location
from tiering.store.field_distributions import profiled_fields
from tiering.store.index import column_location
from tiering.store.layout import ENTRY_BYTES, MANIFEST, TABLE_CRC_BYTES, run_file
from tiering.store.manifest import encode_manifest, read_manifest
from tiering.store.schema import CRC, OFFSET, SIZE, VALID, Field, FieldFile

#: Bytes that the captions have on average.
CAPTION = 50


def add_fields(root: Path) -> None:
    """Write columns of three fields, and files of captions that take no space."""
    store = Location.of(root)
    manifest = read_manifest(store)
    columns = {
        "stars": ("<i8", lambda rows: rows * 31 % 5 + 1),
        "score": ("<f8", np.sqrt),
        "score" + VALID: ("|u1", lambda rows: rows % 10 != 0),
        "caption" + OFFSET: ("<i8", lambda rows: rows * 0),
        "caption" + SIZE: ("<i8", lambda rows: rows * 7919 % (2 * CAPTION + 1)),
        "caption" + CRC: ("<u4", lambda rows: rows * 0),
    }
    for name, (dtype, values) in columns.items():
        path = Path(column_location(store / manifest.index, f"fields/{name}").url)
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            for begin in range(0, manifest.samples, PIECE):
                rows = np.arange(begin, min(begin + PIECE, manifest.samples))
                file.write(values(rows).astype(dtype).tobytes())
    files = []
    for number, shard in enumerate(manifest.shards):
        settings = run_settings(2 * CAPTION * shard.samples)
        chunks = settings.shard_bytes // settings.chunk_bytes
        size = settings.shard_bytes + chunks * ENTRY_BYTES + TABLE_CRC_BYTES
        path = root / run_file("caption", number, 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)
        files.append(FieldFile(generation=1, bytes=size, crc32c=0, chunk_bytes=settings.chunk_bytes, chunks=chunks))
    fields = [
        Field(name="stars", kind="integer", dtype="<i8"),
        Field(name="score", kind="float", dtype="<f8", nullable=True),
        Field(name="caption", kind="string", files=files),
    ]
    known = manifest.columns | {f"fields/{name}": 0 for name in columns}
    (root / MANIFEST).write_bytes(encode_manifest(manifest.model_copy(update={"fields": fields, "columns": known})))


def anonymous() -> int:
    """Return the anonymous memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10**8)
    parser.add_argument("--directory", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as scratch:
        root = Path(scratch) / "store.zarr"
        make_store(root, given.samples)
        add_fields(root)
        before, peak, done = anonymous(), [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.05):
                peak[0] = max(peak[0], anonymous())

        threading.Thread(target=watch, daemon=True).start()
        with tiering.open_store(root) as store:
            for name, profile in (
                ("all", lambda: tiering.profile_store(store, probes=1)),
                ("fields", lambda: profiled_fields(store)),
                ("a tenth, at random", lambda: tiering.profile_store(store.sample(0.1), probes=1)),
            ):
                began = time.perf_counter()
                profile()
                took = time.perf_counter() - began
                print(f"{name}: {took:.1f} s, {1e9 * took / given.samples:.0f} ns a sample", flush=True)
        done.set()
        print(f"memory: {(peak[0] - before) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
