"""The scan and the sampled profile of a tree of a million small images, beside `find -printf '%s %p'`.

python benchmarks/scan.py WORKDIR [--files N] [--rounds R] [--seeds S] [--keep]

Makes WORKDIR/tree once: N files in about N/1000 class folders of unequal sizes, file sizes log-normal around 12 kB with
another mean in each folder, nine in ten a JPEG, the rest PNG, 0.5 % cut short. Then, interleaved in each round: find,
the full metadata scan (with its peak memory, workers included) and the sampled profile. Last, the sampled profile once
for each seed: how many of its 95 % intervals hold the true bytes and the true mean size.
"""

from __future__ import annotations

import io
import math
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

_SHAPES = ((64, 48), (48, 64), (64, 64), (120, 90))


def make_tree(tree: Path, files: int) -> None:
    """Make the tree; about 60 us a file. Bodies are holes: what the file system keeps is the head and the end."""
    rng = np.random.default_rng(20260101)
    folders = max(1, files // 1000)
    weight = rng.lognormal(0, 0.5, folders)
    counts = np.diff(np.rint(np.cumsum(np.r_[0, weight / weight.sum()]) * files).astype(int))
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_make_folder, [tree] * folders, range(folders), counts.tolist(), chunksize=8))


def _make_folder(tree: Path, number: int, count: int) -> None:
    rng = np.random.default_rng((7, number))
    heads = _heads()
    folder = tree / f"class{number:04d}"
    folder.mkdir(parents=True)
    sizes = rng.lognormal(math.log(12_000) + rng.normal(0, 0.25), 0.9, count).astype(int) + 900
    kinds = rng.random(count)
    for index, (size, kind) in enumerate(zip(sizes.tolist(), kinds.tolist(), strict=True)):
        head, end = heads[index % len(_SHAPES) + (len(_SHAPES) if kind < 0.1 else 0)]
        name = f"{folder}/img_{index:06d}.{'png' if kind < 0.1 else 'jpg'}"
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.pwrite(handle, head, 0)
        if kind < 0.995:
            os.pwrite(handle, end, size - len(end))
        else:
            os.ftruncate(handle, size)
        os.close(handle)


def _heads() -> list[tuple[bytes, bytes]]:
    heads = []
    for kind, end in (("JPEG", b"\xff\xd9"), ("PNG", b"\0\0\0\0IEND\xaeB`\x82")):
        for shape in _SHAPES:
            buffer = io.BytesIO()
            Image.new("RGB", shape, (90, 120, 40)).save(buffer, kind)
            heads.append((buffer.getvalue()[:800].removesuffix(end), end))
    return heads


if __name__ == "__main__":
    make_tree(Path(sys.argv[1]) / "tree", int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
