"""What it costs to list a dataset that another program packed, or that has annotations: seconds, and peak memory.

    python benchmarks/foreign_sources.py [--megabytes 450] [--images 100000]

Everything is made in a temporary directory: a document of COCO with polygons, of --megabytes, and --images images of
20 kB each in Parquet, TFRecord, MDS and LMDB files. Each is listed in a process of its own. A full run takes four
minutes and 5 GB of disk; `--megabytes 20 --images 2000` takes ten seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lmdb
import polars as pl

from tiering.sources.account import Ledger
from tiering.sources.records.tfrecord import masked_crc
from tiering.sources.source import open_source

IMAGE = 20_000


def coco(folder: Path, megabytes: int) -> Path:
    """Write a document of annotations with polygons, and one empty file for each image."""
    draw = random.Random(0)
    (folder / "train2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    # COCO's train2017 has 448 MB, 118,287 images and 860,001 annotations.
    images = 264 * megabytes
    for number in range(images):
        (folder / f"train2017/{number:012d}.jpg").write_bytes(b"\xff\xd8\xff")
    with (folder / "annotations/instances_train2017.json").open("w") as out:
        about = [
            {"id": number, "file_name": f"{number:012d}.jpg", "width": 640, "height": 480} for number in range(images)
        ]
        out.write(json.dumps({"info": {}, "images": about})[:-1] + ', "annotations": [')
        for number in range(images * 7):
            polygon = [round(draw.random() * 640, 2) for _ in range(50)]
            each = {"segmentation": [polygon], "area": 702.1, "iscrowd": 0, "image_id": draw.randrange(images)}
            out.write(
                ("," if number else "") + json.dumps(each | {"bbox": [1.5, 2, 3, 4], "category_id": 1, "id": number})
            )
        out.write('], "categories": [{"id": 1, "name": "dog"}]}')
    return folder


def pictures(count: int):
    """Yield as many byte strings that begin like a JPEG."""
    noise = random.Random(0).randbytes(IMAGE)
    for number in range(count):
        yield b"\xff\xd8\xff" + number.to_bytes(4, "big") + noise[7:]


def parquet(folder: Path, count: int) -> Path:
    """Write files of 5,000 images as Hugging Face does: groups of 100 rows."""
    folder.mkdir()
    images = pictures(count)
    for number in range(0, count, 5000):
        rows = [{"bytes": next(images), "path": f"{at}.jpg"} for at in range(number, min(number + 5000, count))]
        frame = pl.DataFrame({"image": rows, "label": list(range(len(rows)))})
        frame.write_parquet(folder / f"train-{number:05d}.parquet", compression="snappy", row_group_size=100)
    return folder


def tfrecord(folder: Path, count: int) -> Path:
    """Write one file of Examples with an image and a label."""
    folder.mkdir()

    def field(number: int, data: bytes) -> bytes:
        size, out = len(data), bytearray()
        while size >= 0x80:
            out.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes([number << 3 | 2, *out, size]) + data

    def entry(name: bytes, kind: int, value: bytes) -> bytes:
        return field(1, field(1, name) + field(2, field(kind, value)))

    with (folder / "train.tfrecord").open("wb") as out:
        for image in pictures(count):
            data = field(
                1, entry(b"image/encoded", 1, field(1, image)) + entry(b"image/class/label", 3, field(1, b"\7"))
            )
            length = struct.pack("<Q", len(data))
            out.write(length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data)))
    return folder


def mds(folder: Path, count: int) -> Path:
    """Write shards of 64 MB with an image and a label."""
    folder.mkdir()
    shards = []
    images = pictures(count)
    for number, begin in enumerate(range(0, count, 3000)):
        samples = [
            struct.pack("<I", IMAGE) + next(images) + struct.pack("<q", 7) for _ in range(min(3000, count - begin))
        ]
        table, at = [], 4 * (len(samples) + 2)
        for sample in [*samples, b""]:
            table.append(at)
            at += len(sample)
        data = struct.pack(f"<{len(samples) + 2}I", len(samples), *table) + b"".join(samples)
        name = f"shard.{number:05d}.mds"
        (folder / name).write_bytes(data)
        shards.append({
            "column_encodings": ["jpeg", "int"], "column_names": ["image", "label"], "column_sizes": [None, 8],
            "compression": None, "format": "mds", "samples": len(samples), "version": 2, "zip_data": None,
            "raw_data": {"basename": name, "bytes": len(data), "hashes": {}},
        })  # fmt: skip
    (folder / "index.json").write_text(json.dumps({"version": 2, "shards": shards}))
    return folder


def database(folder: Path, count: int) -> Path:
    """Write a database with an image for each key."""
    size = count * (IMAGE + 8192) + (1 << 26)
    with (
        lmdb.open(str(folder), map_size=size, lib_version=0) as environment,
        environment.begin(write=True) as transaction,
    ):
        for number, image in enumerate(pictures(count)):
            transaction.put(b"%012d" % number, image, append=True)
    return folder


def listed(place: str, unpacked: str) -> None:
    """List a dataset and print what it took, as JSON."""
    from tiering.storage.location import Location  # noqa: PLC0415

    begin = time.perf_counter()
    source = open_source(place).unpacking_into(Location.of(unpacked))
    samples = sum(len(frame) for frame in source.batches(Ledger()))
    seconds = time.perf_counter() - begin
    # The process that started this one counts in ru_maxrss, but not here.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    found = {"kind": source.kind, "samples": samples, "seconds": seconds, "cpu": time.process_time()}
    print(json.dumps(found | {"peak_mib": int(peak) / 1024}))


def main() -> None:
    """Make each dataset, and list it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=450)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--list", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.list:
        listed(*asked.list)
        return
    print(f"{'':10} {'samples':>9} {'seconds':>9} {'CPU s':>9} {'us/sample':>10} {'peak MiB':>9}")
    for make, count in (
        (coco, asked.megabytes),
        *((make, asked.images) for make in (parquet, tfrecord, mds, database)),
    ):
        with tempfile.TemporaryDirectory() as directory:
            place = make(Path(directory) / "data", count)
            command = [sys.executable, __file__, "--list", str(place), f"{directory}/unpacked"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            each = found["seconds"] / found["samples"] * 1e6
            spent = f"{found['seconds']:9.2f} {found['cpu']:9.2f} {each:10.1f}"
            print(f"{found['kind']:10} {found['samples']:9,} {spent} {found['peak_mib']:9,.0f}", flush=True)


if __name__ == "__main__":
    main()
