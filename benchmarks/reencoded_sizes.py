"""Bytes of stores made for training: predicted from a sample of 300 images, and after all of them were re-encoded.

    python -m benchmarks.reencoded_sizes DIR [--seeds 20]

The directory is converted to a store of each format. Then samples are drawn with several seeds, as
`tiering profile --reencoded` draws them, and the bytes of all samples are predicted from each. The table has the median
error, the largest, and how often the interval of 95 % contains the truth; and what is lost (SSIM, PSNR), what it takes
to make an image and to decode it, and the rates of one core, from the first sample.

Figures of typical photographs in tiering/advice/training_stores.py come from here: the last table fits the time to
decode and crop an image to its bytes and pixels.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import tiering
from tiering.dataset.profile import profile_dataset
from tiering.dataset.training_copy import VIEW
from tiering.images.image import decode
from tiering.images.picture import open_picture
from tiering.images.reencoded import Reencoded
from tiering.images.reencoding import reencode
from tiering.images.training_formats import TRAINING_FORMATS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    asked = parser.parse_args()
    files = tiering.open_store(asked.directory).files()
    whole = {name: all_of(asked.directory, how) for name, how in TRAINING_FORMATS.items() if isinstance(how, Reencoded)}
    profiles = []
    for seed in range(asked.seeds):
        began = time.perf_counter()
        profiles.append(profile_dataset(asked.directory, reencoded=True, seed=seed))
        took = time.perf_counter() - began
    first = profiles[0]
    print(f"{first.files:,} images of {first.size_mean:,.0f} B; a profile with 300 re-encoded takes {took:.1f} s\n")
    print("| format | all, MB | of originals | predicted, first seed | median error | largest | in the interval |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, real in whole.items():
        found = [profile.reencoded[name].size for profile in profiles]
        errors = [abs(each.value * first.files / real - 1) for each in found]
        inside = sum(each.low * first.files <= real <= each.high * first.files for each in found)
        print(
            f"| {name} | {real / 1e6:,.2f} | {real / first.bytes:.3f} | {found[0].value * first.files / 1e6:,.2f} "
            f"| {statistics.median(errors):.2%} | {max(errors):.2%} | {inside} of {len(found)} |"
        )
    print("\n| format | SSIM | a tenth below | PSNR | decoding | making | area |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, figures in first.reencoded.items():
        print(
            f"| {name} | {figures.ssim:.3f} | {figures.ssim_low:.3f} | {figures.psnr:.1f} dB "
            f"| {figures.decode_ratio:.3f} | {figures.make_ratio:.2f} | {figures.area:.2f} |"
        )
    fit(files)


def all_of(images: Path, how: Reencoded) -> int:
    """Return the bytes of all images in a store that is converted from them."""
    with tempfile.TemporaryDirectory() as name:
        return tiering.convert(images, Path(name) / "store", "lmdb", encode=how).image_bytes


def fit(files: list[Path]) -> None:
    """Fit the time to decode and crop an image to its bytes and its pixels, at its own size and re-encoded."""
    crop, rows, took = tiering.RandomResizedCrop(VIEW), [], []
    out = np.empty((VIEW, VIEW, 3), np.uint8)
    random = np.random.default_rng(0)
    jpegs = [how for how in TRAINING_FORMATS.values() if isinstance(how, Reencoded)]
    for path in files[:300]:
        data = path.read_bytes()
        for image in (data, *(reencode(data, path.name, how) for how in jpegs)):
            height, width, _ = decode(image).shape
            numbers = random.random((4, crop.numbers)).tolist()
            began = time.thread_time()
            for each in numbers:
                picture = open_picture(image)
                picture.draw([(crop.geometry(picture.width, picture.height, each), out)], crop.look())
            took.append((time.thread_time() - began) / len(numbers))
            rows.append((1.0, len(image), height * width))
    factors, *_ = np.linalg.lstsq(np.array(rows), np.array(took), rcond=None)
    fixed, byte, pixel = factors.tolist()
    print(f"\nA crop takes {fixed * 1e6:.0f} us + {byte * 1e9:.2f} ns a byte + {pixel * 1e9:.2f} ns a pixel.")


if __name__ == "__main__":
    main()
