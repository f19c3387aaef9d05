"""Compare drawn pictures with torchvision's v2 for the same boxes: python -m benchmarks.ready_ways.parity IMAGES COUNT.

Prints one line of JSON. The mean is of the absolute differences of all levels.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.ready_ways.boxes import box
from benchmarks.ready_ways.vision import VERSION, v2
from tiering.images.geometry import Geometry
from tiering.images.look import Look
from tiering.images.picture import NATIVE, open_picture

SIDE = 224


def main() -> None:
    paths = sorted(Path(sys.argv[1]).glob("*/*"))[: int(sys.argv[2])]
    ways = {"antialiased": (True, NATIVE), "antialias=False": (False, NATIVE)}
    if NATIVE:
        ways |= {"antialiased, without the extension": (True, False)}
    counts = {name: np.zeros(256, np.int64) for name in ways}
    for number, path in enumerate(paths):
        with Image.open(path) as image:
            upright = v2.functional.pil_to_tensor(image.convert("RGB"))
        region, _ = box(upright.shape[2], upright.shape[1], np.random.default_rng(number))
        for name, (antialias, native) in ways.items():
            theirs = v2.functional.resized_crop(
                upright, region[1], region[0], region[3], region[2], [SIDE, SIDE], antialias=antialias
            )
            drawn = np.empty((SIDE, SIDE, 3), np.uint8)
            picture = open_picture(path.read_bytes(), native=native)
            picture.draw([(Geometry(region, (SIDE, SIDE)), drawn)], Look(antialias=antialias))
            away = np.abs(drawn.astype(int) - theirs.numpy().transpose(1, 2, 0))
            counts[name] += np.bincount(away.ravel(), minlength=256)
    rows = {name: described(count) for name, count in counts.items()}
    print(json.dumps({"torchvision": VERSION, "rows": rows}))


def described(counts: Any) -> dict[str, float]:
    total = int(counts.sum())
    return {
        "mean": float(np.arange(256) @ counts / total),
        "within": float(counts[:4].sum() / total),
        "largest": int(np.flatnonzero(counts)[-1]),
    }


if __name__ == "__main__":
    main()
