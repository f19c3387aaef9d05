"""Epochs from a bucket through a cache of half the dataset: tiering, MosaicML Streaming and LitData.

Usage: python -m benchmarks.bucket_peers --images DIR --peers PYTHON [--count 2000] [--epochs 4] [--work DIR]
       [--only tiering streaming litdata]

PYTHON is an interpreter with mosaicml-streaming, litdata and boto3. The bucket is moto's server on loopback, behind a
proxy of 30 ms median and 200 ms p99 latency and 100 MB/s that counts what it sends. All shards have 8 MiB. Prints a
Markdown table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import s3fs

from benchmarks.caching import FarAway, watched
from tests.s3 import BUCKET, s3_environment, s3_server

BANDWIDTH = 100e6
SHARE = 0.5
READER = ["-m", "benchmarks.peers.bucket_reader"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", nargs="+", default=["tiering", "streaming", "litdata"])
    asked = parser.parse_args()
    tools = {tool: sys.executable if tool == "tiering" else asked.peers for tool in asked.only}
    print("| tool | first epoch, of the dataset | later ones | samples/s, first | later | cache, of its bound |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(dir=asked.work) as name, s3_server() as endpoint:
        work = Path(name)
        whole = some_of(asked.images, asked.count, work / "images")
        for tool, python in tools.items():
            subprocess.run(
                [python, *READER, tool, "pack", work / "images", work / tool], check=True, capture_output=True
            )
            with s3_environment(endpoint):
                s3fs.S3FileSystem(use_listings_cache=False).put(str(work / tool), f"{BUCKET}/{tool}", recursive=True)
            with FarAway(endpoint, BANDWIDTH) as far, watched(work / f"{tool}-cache") as largest:
                sent, rates = epochs_of(tool, python, far, work, int(SHARE * whole), asked.epochs)
            shares = [each / whole for each in sent]
            print(
                f"| {tool} | {shares[0]:.3f} | {statistics.median(shares[1:]):.3f} | {rates[0]:,.0f} "
                f"| {statistics.median(rates[1:]):,.0f} | {largest[0] / (SHARE * whole):.3f} |",
                flush=True,
            )


def some_of(images: Path, count: int, to: Path) -> int:
    """Link so many of the images; return their bytes."""
    for path in sorted(path for path in images.rglob("*") if path.is_file())[:count]:
        (to / path.parent.name).mkdir(parents=True, exist_ok=True)
        os.link(path, to / path.parent.name / path.name)
    return sum(path.stat().st_size for path in to.rglob("*") if path.is_file())


def epochs_of(
    tool: str, python: str, far: FarAway, work: Path, bound: int, epochs: int
) -> tuple[list[int], list[float]]:
    """Return what each epoch fetched, in bytes, and its samples/s."""
    arguments = [tool, "read", f"s3://{BUCKET}/{tool}", work / f"{tool}-cache", bound, epochs]
    sent, rates = [], []
    environment = {"AWS_ENDPOINT_URL": far.endpoint, "S3_ENDPOINT_URL": far.endpoint, "AWS_ALLOW_HTTP": "true"}
    with s3_environment(far.endpoint), open(work / f"{tool}.log", "w+") as log:
        command = [python, *READER, *map(str, arguments)]
        reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | environment)
        before = 0
        for line in reader.stdout or ():
            words = line.split()
            if words == ["open"]:
                before = 0
            elif len(words) == 2 and words[0].isdigit():
                sent.append(far.sent - before)
                before = far.sent
                rates.append(int(words[0]) / float(words[1]))
        if reader.wait() or len(sent) != epochs:
            log.seek(0)
            sys.exit(f"{tool} ended with {reader.returncode} after {len(sent)} epochs:\n{log.read()[-2000:]}")
    return sent, rates


if __name__ == "__main__":
    main()
