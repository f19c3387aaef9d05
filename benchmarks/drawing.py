"""Drawing pictures: only the part that is needed, against decoding all and resizing, in CPU time, interleaved.

Usage: python -m benchmarks.drawing --images DIR [--rounds 7] [--limit 1000] [--large 8]

DIR holds JPEGs, at any depth. Every way makes planes of 224 x 224 from the same boxes, as RandomResizedCrop draws them,
and they are compared with Pillow's. OpenCV is measured where it is installed; it does not antialias. Photographs of 12
megapixels are made of the first images, by upscaling and noise. Small pictures are random, 32 x 32.
Where the time goes is seen by differences: the boxes are drawn from decoded pixels, too.

With 7 rounds of 1,000 images it takes 3 minutes; `--rounds 2 --limit 50 --large 2` shows in 10 seconds that it works.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

from tiering.images.crops import RandomResizedCrop
from tiering.images.geometry import Geometry
from tiering.images.image import decode
from tiering.images.look import Look
from tiering.images.picture import NATIVE, open_picture, picture_of
from tiering.images.pixel_batch import draw_batch

try:
    import cv2

    cv2.setNumThreads(1)
except ImportError:
    cv2 = None

SIDE = 224
ANTIALIASED, TWO_TAPS = Look(), Look(antialias=False)
NORMALISED = Look(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
OUT = np.zeros((3, SIDE, SIDE), np.uint8)
FLOATS = np.zeros((3, SIDE, SIDE), np.float32)
DOT = np.zeros((1, 1, 3), np.uint8)


class Job(NamedTuple):
    """A JPEG, and the box of it that becomes an output: left, top, width, height."""

    data: bytes
    box: tuple[int, int, int, int]


def drawn_box(rng: random.Random, width: int, height: int) -> tuple[int, int, int, int]:
    """Return a box as torchvision's RandomResizedCrop draws it."""
    for _ in range(10):
        area = width * height * rng.uniform(0.08, 1)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            return rng.randint(0, width - across), rng.randint(0, height - down), across, down
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side


def jobs_of(images: list[bytes]) -> list[Job]:
    rng = random.Random(0)
    opened = [(data, open_picture(data)) for data in images]
    return [Job(data, drawn_box(rng, picture.width, picture.height)) for data, picture in opened]


def draw(job: Job, look: Look = ANTIALIASED, out: np.ndarray = OUT, *, native: bool = NATIVE) -> None:
    geometry = Geometry(job.box, (SIDE, SIDE))
    open_picture(job.data, native=native).draw([(geometry, out.transpose(1, 2, 0))], look)


def by_pillow(job: Job) -> np.ndarray:
    left, top, width, height = job.box
    image = Image.fromarray(decode(job.data)).crop((left, top, left + width, top + height))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def into_planes(way: Callable[[Job], np.ndarray]) -> Callable[[Job], None]:
    def run(job: Job) -> None:
        OUT[:] = way(job).transpose(2, 0, 1)

    return run


def by_opencv(job: Job) -> np.ndarray:
    left, top, width, height = job.box
    pixels = simplejpeg.decode_jpeg(job.data)[top : top + height, left : left + width]
    return cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def photo_ways() -> dict[str, Callable[[Job], None]]:
    ways = {
        "decode all": lambda job: simplejpeg.decode_jpeg(job.data),
        "decode all, Pillow antialiased": into_planes(by_pillow),
        "drawn without the extension, antialiased": lambda job: draw(job, native=False),
        "drawn without the extension, two taps": lambda job: draw(job, TWO_TAPS, native=False),
    }
    if cv2 is not None:
        ways["decode all, OpenCV two taps"] = into_planes(by_opencv)
    if NATIVE:
        ways |= {
            "drawn, antialiased": draw,
            "drawn, two taps": lambda job: draw(job, TWO_TAPS),
            "drawn, antialiased, to float32": lambda job: draw(job, NORMALISED, FLOATS),
        }
    return ways


def measure(ways: dict[str, Callable], items: list, rounds: int, samples: int = 0) -> None:
    """Print the median CPU time of each way for an item, the range over the rounds, and items a CPU-second."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.process_time()
            for item in items:
                way(item)
            times[name].append((time.process_time() - began) / (samples or len(items)))
    for name, found in times.items():
        middle, low, high = statistics.median(found), min(found), max(found)
        between = f"({low * 1e6:,.1f} to {high * 1e6:,.1f})"
        print(f"  {name:42s} {middle * 1e6:9,.1f} us {between:24s} {1 / middle:9,.0f}/s")


def parity(jobs: list[Job], look: Look) -> None:
    away, far = [], []
    for job in jobs:
        draw(job, look)
        difference = np.abs(by_pillow(job).astype(int) - OUT.transpose(1, 2, 0))
        away.append(difference.mean())
        far.append((difference > 3).mean())
    name = "antialiased" if look.antialias else "two taps"
    print(f"  against Pillow antialiased, {name}: {np.mean(away):.2f} levels (worst image {max(away):.2f}); "
          f"{100 * (1 - np.mean(far)):.3f} % of the values within 3")  # fmt: skip


def enlarged(data: bytes) -> bytes:
    pixels = np.asarray(Image.fromarray(decode(data)).resize((4000, 3000), Image.Resampling.BICUBIC)).astype(np.float32)
    pixels += np.random.default_rng(0).normal(0, 4, (3000, 4000, 1))
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def resizing(jobs: list[Job], rounds: int) -> None:
    """Time what a resize is made of: boxes of photographs, and one axis alone of pixels of 300 x 300."""
    planes = OUT.transpose(1, 2, 0)
    boxes = []
    for left, top, width, height in (job.box for job in jobs[:200]):
        boxes.append(np.random.default_rng(left + top).integers(0, 256, (height, width, 3), np.uint8))

    def resize(look: Look, out: np.ndarray = planes) -> Callable[[np.ndarray], None]:
        def run(box: np.ndarray) -> None:
            geometry = Geometry((0, 0, box.shape[1], box.shape[0]), (SIDE, SIDE))
            picture_of(box).draw([(geometry, out)], look)

        return run

    def one(width: int, height: int) -> Callable[[np.ndarray], None]:
        picture = picture_of(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
        return lambda _: picture.draw([(Geometry((0, 0, width, height), (SIDE, SIDE)), planes)], ANTIALIASED)

    ways = {
        "boxes, antialiased": resize(ANTIALIASED),
        "boxes, two taps": resize(TWO_TAPS),
        "boxes, antialiased, to float32": resize(NORMALISED, FLOATS.transpose(1, 2, 0)),
        "300 x 300": one(300, 300),
        "300 x 224: across alone": one(300, SIDE),
        "224 x 300: down alone": one(SIDE, 300),
        "224 x 224: written alone": one(SIDE, SIDE),
    }
    if cv2 is not None:
        ways["boxes, OpenCV two taps"] = lambda box: cv2.resize(box, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    measure(ways, boxes, rounds)


def stored_pictures(images: list[bytes], rounds: int, side: int = 256) -> None:
    """Time crops of pixels that lie apart from each other, as in a store: a part of each is read, once."""
    pixels = [np.asarray(Image.fromarray(decode(data)).resize((side, side))) for data in images[:200]]
    numbers = np.random.default_rng(0).random((len(pixels), RandomResizedCrop.numbers))
    mirrored = numbers[:, 0] < 0.5
    levels, floats = (np.zeros((len(pixels), 3, SIDE, SIDE), kind) for kind in (np.uint8, np.float32))

    def crop(out: np.ndarray, look: Look, *, scale: float = 0.08, native: bool = NATIVE) -> Callable[[None], None]:
        rows = RandomResizedCrop(SIDE, scale=(scale, 1.0)).geometries(side, side, numbers)
        return lambda _: draw_batch(pixels, rows, mirrored, out.transpose(0, 2, 3, 1), look, native=native)

    ways = {
        "to uint8 planes": crop(levels, ANTIALIASED),
        "to uint8 planes, two taps": crop(levels, TWO_TAPS),
        "to uint8 planes, a quarter at least": crop(levels, ANTIALIASED, scale=0.25),
        "to float32 planes": crop(floats, NORMALISED),
        "to uint8 planes, without the extension": crop(levels, ANTIALIASED, native=False),
    }
    measure(ways, [None], rounds, samples=len(pixels))


def small_pictures(rounds: int, n: int = 5000) -> None:
    rng = np.random.default_rng(0)
    pixels, mirrored = rng.integers(0, 256, (n, 32, 32, 3), np.uint8), rng.integers(0, 2, n).astype(bool)
    rows = np.concatenate([np.tile([0, 0, 32, 32, 32, 32], (n, 1)), rng.integers(-4, 5, (n, 2))], 1).astype(np.int32)
    floats, levels = np.zeros((n, 3, 32, 32), np.float32), np.zeros((n, 3, 32, 32), np.uint8)
    ways = {
        "to float32 planes": lambda _: draw_batch(pixels, rows, mirrored, floats.transpose(0, 2, 3, 1), NORMALISED),
        "to uint8 planes": lambda _: draw_batch(pixels, rows, mirrored, levels.transpose(0, 2, 3, 1), ANTIALIASED),
    }
    measure(ways, [None], rounds, samples=n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--large", type=int, default=8)
    options = parser.parse_args()
    paths = [Path(where) / name for where, _, names in os.walk(options.images, followlinks=True) for name in names]
    paths = sorted(path for path in paths if path.suffix.lower() in (".jpg", ".jpeg"))
    random.Random(0).shuffle(paths)
    images = [path.read_bytes() for path in paths[: options.limit]]
    print(f"The C extension is {'there' if NATIVE else 'missing'}. {len(images):,} images, {options.rounds} rounds.")
    print(f"Photographs, RandomResizedCrop({SIDE}), a picture:")
    photographs = jobs_of(images)
    measure(photo_ways(), photographs, options.rounds)
    parity(photographs, ANTIALIASED)
    parity(photographs, TWO_TAPS)
    print(f"{options.large} photographs of 12 megapixels, RandomResizedCrop({SIDE}), a picture:")
    jobs = jobs_of([enlarged(data) for data in images[: options.large]] * 4)
    measure(photo_ways(), jobs, options.rounds)
    parity(jobs, ANTIALIASED)
    print("Resizing decoded pixels to 224 x 224, a picture:")
    resizing(photographs, options.rounds)
    print(f"RandomResizedCrop({SIDE}) of pixels of 256 x 256, a picture:")
    stored_pictures(images, options.rounds)
    print("Pictures of 32 x 32, padded by 4, cropped and mirrored, a picture:")
    small_pictures(options.rounds)


if __name__ == "__main__":
    main()
