"""What packing pixels into Zarr costs beside the work itself: decode, resize and encode.

    python benchmarks/pixels.py --images DIR [--resize 224x224] [--codec none] [--rounds 3]

The floor is decode and resize of the same images, and encoding by the same codec, in as many processes as are packing,
from files in the page cache, with nothing written and nothing summed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import tiering
from tiering.images.pixels import to_pixels
from tiering.images.shape import PixelShape, parse_size
from tiering.store.codecs import parse_codec
from tiering.system.machine import usable_cores


def bare(paths: list[str], shape: PixelShape, codec: str, chunk: int) -> float:
    """Decode, resize and encode some images; return the seconds it took, processes being warm."""
    began = time.perf_counter()
    coder = parse_codec(codec)
    pending: list[bytes] = []
    for path in paths:
        pending.append(to_pixels(Path(path).read_bytes(), path, shape, "crop").tobytes())
        if len(pending) == chunk:
            coder.encode(b"".join(pending))
            pending = []
    if pending:
        coder.encode(b"".join(pending))
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--resize", default="224x224")
    parser.add_argument("--codec", default="none")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    shape = PixelShape(*parse_size(options.resize), 3)
    paths = [str(path) for path in sorted(options.images.rglob("*")) if path.is_file()]
    for path in paths:
        Path(path).read_bytes()
    cores = usable_cores()
    floors, ours = [], []
    with tempfile.TemporaryDirectory() as directory:
        store = Path(directory) / "store"
        for _ in range(options.rounds):
            with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
                list(pool.map(bare, [paths[:10]] * cores, [shape] * cores, [options.codec] * cores, [1] * cores))
                began = time.perf_counter()
                chunk = max(1, (64 << 10) // shape.nbytes)
                parts = [paths[number::cores] for number in range(cores)]
                list(pool.map(bare, parts, [shape] * cores, [options.codec] * cores, [chunk] * cores))
                floors.append(time.perf_counter() - began)
            began = time.perf_counter()
            tiering.convert(
                options.images,
                store,
                "zarr",
                pixels=tiering.Pixels(shape.height, shape.width),
                codec=options.codec,
                workers=cores,
            )
            ours.append(time.perf_counter() - began)
            shutil.rmtree(store)
    floor, packed = statistics.median(floors), statistics.median(ours)
    print(
        json.dumps(
            {
                "images": len(paths), "resize": options.resize, "codec": options.codec, "cores": cores,
                "floor_s": [round(each, 2) for each in floors], "packing_s": [round(each, 2) for each in ours],
                "images_per_s": round(len(paths) / packed), "over_the_floor": round(packed / floor - 1, 3),
            },
            indent=2,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
