"""Ready batches: crops of images in arrays, made by tiering and by others, interleaved, with the bars that we set us.

Usage: python -m benchmarks.ready [--images DIR] [--cifar DIR] [--tiny DIR] [--peers PYTHON] [--rounds 7] [--quick]
       [--only WORD ...] [--work DIR] [--write FILE]

PYTHON is an interpreter with torch, torchvision, OpenCV, DALI and FFCV, and with all that tiering needs; `make
bench-ready` makes one. Each tool reads the same images in a process of its own, with two threads or workers. In every
round every tool serves one shuffled epoch; one round before is not counted. Rates are images per second of the
processors (user and system time of the process and all below it) and per second of wall: medians of the rounds, with
bootstrap intervals of 95 %. A ratio is the median of the ratios within a round. A tool that cannot be run is named.

DIR of --images are JPEGs; 4,000 are taken, or linked as often as needed. --cifar are the 50,000 PNGs of CIFAR-10's
training set, --tiny are small JPEGs. Files are warm but in the last section, where their pages are dropped.

The full run takes about 25 minutes on two idle cores, and 4 GB in --work. With --quick it shows in less than two
minutes that all rows work; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

import tiering
from benchmarks.drawn_photos import drawn_photos
from benchmarks.peers.__main__ import machine, read, replaced
from benchmarks.ready_ways.figures import Bar, against, filled, interval, section, table_of_bars
from benchmarks.ready_ways.rounds import ROOT, Way, environment, last_line, rounds, served
from benchmarks.shared_origin import BUCKET, Limits, shared_origin
from tests.s3 import s3_environment
from tiering.system.page_cache import drop

TITLE: Final = "ready batches"
#: What the bucket gives: less than two threads can make ready, so that the network is the slower part.
BUCKET_LIMITS: Final = Limits(bandwidth=60e6, latency=0.02)


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    images: int
    batch: int
    large: int
    cifar: int
    tiny: int
    parity: int
    rounds: int


FULL: Final = Sizes(images=4_000, batch=200, large=120, cifar=50_000, tiny=12_000, parity=400, rounds=7)
QUICK: Final = Sizes(images=400, batch=50, large=8, cifar=5_000, tiny=2_000, parity=50, rounds=2)


def main() -> None:
    asked = arguments()
    sizes = QUICK if asked.quick else FULL
    asked.rounds = asked.rounds or sizes.rounds
    with tempfile.TemporaryDirectory(dir=asked.work, prefix="ready-") as name:
        work = Path(name)
        images = asked.images or drawn_photos(work / "drawn", min(1000, sizes.images), "600-1000")
        images = linked(images, work / "images", sizes.images)
        tiering.convert(images, work / "lmdb", "lmdb")
        parts, bars = [], []
        for title, section in {
            "parity": parity, "photographs": photographs, "large": large, "cifar": cifar, "overhead": overhead,
            "cold": cold,
        }.items():  # fmt: skip
            if any(word in title for word in asked.only):
                text, found = section(asked, sizes, work)
                parts.append(text)
                bars += found
                print(f"\n{text}\n", flush=True)
    text = "\n\n".join([table_of_bars(bars), *parts, f"{machine()} {dt.datetime.now(dt.UTC):%Y-%m-%d}."])
    print(table_of_bars(bars))
    if asked.write:
        asked.write.write_text(replaced(asked.write.read_text(), TITLE, text))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="JPEG photographs; never changed; drawn if not given")
    parser.add_argument("--cifar", type=Path, help="PNGs of 32 x 32 pixels in class folders; never changed")
    parser.add_argument("--tiny", type=Path, help="small JPEGs; never changed")
    parser.add_argument("--peers", default=sys.executable, help="the interpreter of the other tools")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="WORD", help="sections with such a word in their name"
    )
    parser.add_argument("--work", type=Path)
    parser.add_argument("--write", type=Path)
    return parser.parse_args()


# ---- sections: each returns its text and its bars ----


def parity(asked: argparse.Namespace, sizes: Sizes, work: Path) -> tuple[str, list[Bar]]:
    """Compare results with torchvision's for equal boxes."""
    command = [asked.peers, "-m", "benchmarks.ready_ways.parity", str(work / "images"), str(sizes.parity)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=ROOT, check=False)
    if done.returncode:
        return f"### Parity\n\nNot measured: {last_line(done.stderr)}", []
    found = json.loads(done.stdout.splitlines()[-1])
    rows = ["| | mean difference, levels | within 3 levels | largest |", "|---|---|---|---|"]
    rows += [
        f"| {name} | {each['mean']:.3f} | {each['within']:.4%} | {each['largest']} |"
        for name, each in found["rows"].items()
    ]
    head = (
        f"### Parity\n\nRandomResizedCrop(224) of {sizes.parity:,} photographs, against torchvision "
        f"{found['torchvision']}'s v2 for the same boxes.\n"
    )
    bars = [
        Bar(f"parity, {name}: mean difference in levels", [each["mean"]], 0.5, at_least=False, form="{:.3f}")
        for name, each in found["rows"].items()
    ] + [
        Bar(f"parity, {name}: share within 3 levels", [each["within"]], 0.999, form="{:.4%}")
        for name, each in found["rows"].items()
    ]
    return "\n".join([head, *rows]), [bar for bar in bars if "antialias=False" not in bar.name]


def photographs(asked: argparse.Namespace, sizes: Sizes, work: Path) -> tuple[str, list[Bar]]:
    """Compare ways to make RandomResizedCrop(224) and flip of photographs, warm."""
    store, files, batch = str(work / "lmdb"), str(work / "images"), sizes.batch
    for codec in ("none", "zstd"):
        shape = tiering.Pixels(256, 256, channels=3)
        tiering.convert(work / "images", work / f"pixels-{codec}", "zarr", pixels=shape, codec=codec)
    ours = {"store": store, "batch": batch}
    ways = [
        Way("tiering", "triangle, antialiased", "ours", ours),
        Way("tiering, antialias=False", "two taps", "ours", ours | {"antialias": False}),
        Way("tiering without its extension", "triangle, antialiased", "without_extension", ours),
        Way("tiering from Zarr pixels", "triangle, antialiased", "ours", ours | {"store": str(work / "pixels-none")}),
        Way("tiering from Zarr pixels, zstd", "triangle, antialiased", "ours",
            ours | {"store": str(work / "pixels-zstd")}),
        Way("ImageFolder, DataLoader", "triangle, antialiased", "torch_files",
            {"source": files, "batch": batch, "loader": "torch"}, peer=True),
        Way("tiering's Loader, torchvision on threads", "triangle, antialiased", "torch_files",
            {"source": store, "batch": batch, "loader": "tiering"}, peer=True),
        Way("FFCV", "area", "ffcv_beton", {"source": files, "batch": batch, "beton": str(work / "photographs.beton")},
            peer=True),
        Way("DALI", "triangle, antialiased", "dali", {"source": files, "batch": batch, "antialias": True}, peer=True),
        Way("DALI, antialias=False", "two taps", "dali", {"source": files, "batch": batch, "antialias": False},
            peer=True),
        Way("tiering's Loader, simplejpeg and OpenCV on threads", "two taps", "opencv", ours, peer=True),
    ]  # fmt: skip
    read(work)
    found = rounds(ways, asked.peers, asked.rounds, expected=(3, 224, 224), kind="uint8")
    anti, plain = ways[0].name, ways[1].name
    bars = [
        *against(found, plain, "ImageFolder, DataLoader", 2.4),
        *against(found, plain, "FFCV", 1.35),
        *against(found, plain, "DALI, antialias=False", 1.2),
        *against(found, anti, "ImageFolder, DataLoader", 1.8),
        *against(found, anti, "DALI", 1.0),
        *against(found, ways[3].name, anti, 8.0),
    ]
    rivals = [way.name for way in ways if way.peer]
    bars += [bar for rival in rivals for bar in against(found, plain, rival, 1.0, wall=True)]
    size = sum(path.stat().st_size for path in (work / "images").rglob("*.*"))
    head = (
        f"### Photographs\n\n{sizes.images:,} JPEGs of {size / sizes.images / 1000:.0f} kB, warm; "
        f"RandomResizedCrop(224) and flip to uint8 in batches of {batch}; two threads or workers."
    )
    foot = (
        "FFCV decodes the bytes of the same JPEGs, which its own writer would encode again, and leaves channels "
        "last in memory. Zarr holds pixels of 256 x 256, without compression or with zstd."
    )
    return section(head, ways, found, [anti, plain], asked.rounds, foot), bars


def large(asked: argparse.Namespace, sizes: Sizes, work: Path) -> tuple[str, list[Bar]]:
    """Compare ways to make RandomResizedCrop(224) of photographs of 12 megapixels."""
    files, store = work / "large", str(work / "large.lmdb")
    enlarged(work / "images", files / "0", sizes.large)
    tiering.convert(files, store, "lmdb")
    ours = {"store": store, "batch": 20 if sizes is FULL else 4}
    ways = [
        Way("tiering", "triangle, antialiased", "ours", ours),
        Way("tiering, antialias=False", "two taps", "ours", ours | {"antialias": False}),
        Way("tiering without its extension", "triangle, antialiased", "without_extension", ours),
        Way("all decoded, Pillow", "triangle, antialiased", "pillow", ours),
        Way("all decoded, simplejpeg and OpenCV", "area", "opencv", ours | {"area": True}, peer=True),
    ]
    found = rounds(ways, asked.peers, asked.rounds, expected=(3, 224, 224), kind="uint8")
    bars = [bar for way in ways[3:] for bar in against(found, ways[0].name, way.name, 3.0)]
    head = (
        f"### Large photographs\n\n{sizes.large} JPEGs of 4,000 x 3,000 pixels, enlarged from the photographs above, "
        f"of quality 90; RandomResizedCrop(224) and flip to uint8; two threads."
    )
    return section(head, ways, found, [ways[0].name], asked.rounds), bars


def cifar(asked: argparse.Namespace, sizes: Sizes, work: Path) -> tuple[str, list[Bar]]:
    """Compare ways to make PadCrop(32, padding=4) and flip of CIFAR to float32."""
    if asked.cifar is None:
        return "### CIFAR\n\nNot measured: no --cifar was given.", []
    store, array = str(work / "cifar.zarr"), work / "cifar.npy"
    files = linked(asked.cifar, work / "cifar", sizes.cifar)
    tiering.convert(files, store, "zarr", pixels=tiering.Pixels(channels=3))
    with tiering.open_store(store) as opened:
        np.save(array, np.asarray(opened.read(np.arange(len(opened)))))
    ways = [
        Way("tiering from Zarr pixels", "", "ours", {"store": store, "batch": 512, "crop": "padded", "size": 32}),
        Way("tiering without its extension", "", "without_extension",
            {"store": store, "batch": 512, "crop": "padded", "size": 32}),
        Way("CIFAR10 in memory, DataLoader", "", "torch_cifar", {"pixels": str(array), "batch": 512}, peer=True),
        Way("FFCV, raw", "", "ffcv_beton",
            {"source": str(array), "batch": 512, "beton": str(work / "cifar.beton"), "cifar": True}, peer=True),
    ]  # fmt: skip
    read(work)
    found = rounds(ways, asked.peers, asked.rounds, expected=(3, 32, 32), kind="float32", repeat=3)
    ours = ways[0].name
    bars = against(found, ours, ways[2].name, 5.0) + against(found, ours, ways[3].name, 1.0)
    head = (
        f"### CIFAR\n\n{sizes.cifar:,} images of 32 x 32 pixels, warm; PadCrop(32, padding=4), flip, mean and std to "
        "float32, in batches of 512; two threads or workers; three epochs a round."
    )
    return section(head, ways, found, [ours], asked.rounds, "FFCV leaves channels last in memory."), bars


def overhead(asked: argparse.Namespace, sizes: Sizes, work: Path) -> tuple[str, list[Bar]]:
    """Compare the loader with a loop of the calls that it makes."""
    stores = {"photographs": (str(work / "lmdb"), 224)}
    if asked.tiny:
        files = linked(asked.tiny, work / "tiny", sizes.tiny)
        tiering.convert(files, work / "tiny.lmdb", "lmdb")
        stores["tiny"] = (str(work / "tiny.lmdb"), 32)
    parts, bars = [], []
    for name, (store, size) in stores.items():
        rest: dict[str, Any] = {"store": store, "batch": 256, "size": size}
        ways = [
            Way("a loop of the calls, one thread", "", "bare", rest),
            Way("Loader, one thread", "", "ours", rest | {"threads": 1}),
            Way("Loader, two threads", "", "ours", rest | {"threads": 2}),
        ]
        found = rounds(ways, asked.peers, asked.rounds, expected=(3, size, size), kind="uint8")
        head = f"### The loader's own cost: {name}\n\nRandomResizedCrop({size}) and flip, batches of 256."
        parts.append(section(head, ways, found, [ways[0].name], asked.rounds))
        for way in ways[1:]:
            costs = [bare / ours - 1 for bare, ours in zip(found.cpu[ways[0].name], found.cpu[way.name], strict=True)]
            goal = 0.05 if name == "photographs" else float("inf")
            bars.append(Bar(f"{way.name}, over the calls alone: {name}", costs, goal, at_least=False, form="{:.1%}"))
    if not asked.tiny:
        parts.append("Tiny images: not measured, as no --tiny was given.")
    return "\n\n".join(parts), bars


def cold(asked: argparse.Namespace, sizes: Sizes, work: Path) -> tuple[str, list[Bar]]:
    """Compare cold epochs, from disk and from a bucket, with reading alone and with work alone."""
    shutil.copytree(work / "lmdb", work / "bucket" / "store")
    disk, batch = str(work / "lmdb"), sizes.batch  # the bucket's server maps its own files, which would keep pages
    stores = sorted(path for path in Path(disk).rglob("*") if path.is_file())
    caches = (str(work / f"cache-{number}") for number in itertools.count())
    took: dict[str, list[float]] = {}
    undropped = 0

    def epoch(name: str, module: str, *, warm: bool = False, **more: Any) -> None:
        nonlocal undropped
        if warm:
            read(Path(disk))
        else:
            undropped += not drop(stores)
        with served(Way(name, "", module, {"batch": batch} | more), asked.peers) as server:
            took.setdefault(name, []).append(server.epoch(len(took.get(name, ())))["seconds"])

    with shared_origin(work / "bucket") as server, s3_environment(server.endpoint):
        server.limit(BUCKET_LIMITS)
        for number in range(asked.rounds):
            epoch("work alone", "ours", warm=True, store=disk)
            epoch("disk, reading alone", "encoded", store=disk)
            epoch("disk, ready", "ours", store=disk)
            for name, module in (("bucket, reading alone", "encoded"), ("bucket, ready", "cached")):
                cache = next(caches)
                # The server reads from memory, so that the bucket is as fast as it says.
                epoch(name, module, warm=True, store=f"s3://{BUCKET}/store", cache=cache)
                shutil.rmtree(cache)
            print(f"cold, round {number + 1}: {' '.join(f'{each[-1]:.2f}' for each in took.values())}", file=sys.stderr)
    rows = [
        "| from | ready epoch, s | reading alone, s | work alone, s | ready / the slower |",
        "|---|---|---|---|---|",
    ]
    bars = []
    for place in ("disk", "bucket"):
        ready, alone, work_alone = took[f"{place}, ready"], took[f"{place}, reading alone"], took["work alone"]
        ratios = [one / max(two, three) for one, two, three in zip(ready, alone, work_alone, strict=True)]
        cells = [interval(each, "{:.2f}") for each in (ready, alone, work_alone, ratios)]
        rows.append(f"| {place} | {' | '.join(cells)} |")
        bars.append(Bar(f"cold from the {place}: ready / the slower of reading and work", ratios, 1.1, at_least=False))
    kept = f" {undropped} epochs began with pages that could not be dropped." if undropped else ""
    head = (
        f"### Cold\n\nThe photographs in LMDB, in a fresh process each time: pages dropped, and from a bucket on "
        f"loopback of {BUCKET_LIMITS.bandwidth / 1e6:.0f} MB/s and {1000 * BUCKET_LIMITS.latency:.0f} ms through an "
        f"empty cache; two threads. The bucket's server runs on the same cores.{kept}"
    )
    return "\n".join([filled(head), "", *rows]), bars


# ---- inputs ----


def linked(images: Path, to: Path, count: int) -> Path:
    """Link so many images into class folders: each as often as needed, the names of their folders kept."""
    found = sorted(path for path in images.rglob("*") if path.suffix.lower() in (".jpeg", ".jpg", ".png"))
    if not found:
        sys.exit(f"{images}: no images")
    for number in range(count):
        path = found[number % len(found)]
        folder = to / f"{number // len(found)}-{path.parent.name}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, folder / path.name)
        except OSError:  # another file system
            shutil.copy(path, folder / path.name)
    return to


def enlarged(images: Path, to: Path, count: int) -> None:
    """Make photographs of 12 megapixels."""
    to.mkdir(parents=True)
    for number, path in enumerate(sorted(images.glob("*/*"))[:count]):
        with Image.open(path) as image:
            image.convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC).save(to / f"{number}.jpg", quality=90)


if __name__ == "__main__":
    main()
