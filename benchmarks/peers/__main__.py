"""Compare shuffled epochs of tiering with its peers, interleaved, and write the tables into docs/benchmarks.md.

Usage: python -m benchmarks.peers [--images DIR] [--tiny DIR] [--rounds 5] [--only WORD ...] [--write FILE]

Without --images, 20,000 photographs of about 110 kB are made by fixtures/make_images.py.
Every tool packs the same images once, each in an interpreter of its own. Then, in every round, every tool serves

- a cold epoch: all caches of the kernel dropped (needs root), a fresh process, every byte copied once;
- three warm epochs: its files read before, a fresh process, every byte copied once; the median counts.

fio reads the LMDB shards in every round: 128 KiB, random, direct, queue depth 32, as many bytes as the dataset has. An
epoch that takes longer than --seconds is stopped, and its rate is the one so far. With --tiny, warm epochs of small
images, as they are delivered and copied once. Imports and opening are not counted; starting workers is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

PEERS = [
    "tiering_lmdb",
    "tiering_zarr",
    "plain_files",
    "torch_files",
    "lmdb_naive",
    "lmdb_readahead",
    "webdataset_tars",
    "mosaic_streaming",
    "litdata_chunks",
    "hf_datasets",
    "grain_array_record",
    "lance_take",
    "tensorstore_zarr",
]
OURS = "tiering_lmdb"
MAKE = Path(__file__).resolve().parents[2] / "fixtures" / "make_images.py"
Rates = dict[tuple[str, str], list[float]]


def main() -> None:
    asked = arguments()
    peers = [peer for peer in PEERS if any(word in peer for word in asked.only)]
    if shutil.which("fio") is None:
        sys.exit("fio is missing: it measures what the device can do (Debian: apt install fio)")
    asked.images = asked.images or made(asked.work / "images")
    sections = {"peers: photographs": photographs(asked, peers)}
    if asked.tiny:
        sections["peers: tiny"] = tiny(asked, peers)
    for title, text in sections.items():
        print(text)
        if asked.write:
            asked.write.write_text(replaced(asked.write.read_text(), title, text))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="photographs in class folders; never changed")
    parser.add_argument("--tiny", type=Path, help="tiny images in class folders; never changed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="tools with such a word in their name")
    parser.add_argument("--work", type=Path, default=Path("peers-work"), help="what was packed is kept there")
    parser.add_argument("--write", type=Path)
    return parser.parse_args()


def made(images: Path) -> Path:
    """Make photographs, unless an earlier run has."""
    if not images.exists():
        subprocess.run(
            [sys.executable, MAKE, images.with_suffix(".part"), "--count", "20000", "--side", "600-1000"], check=True
        )
        images.with_suffix(".part").rename(images)
    return images


def photographs(asked: argparse.Namespace, peers: list[str]) -> str:
    packed = {peer: pack(peer, asked.images, asked.work / "photographs") for peer in peers}
    rates: Rates = {}
    limits, stopped = [], set()
    whole = None
    for number in range(asked.rounds):
        limits.append(device_limit(packed))
        for peer in peers[number % len(peers) :] + peers[: number % len(peers)]:
            at = asked.work / "photographs" / peer
            drop_caches()
            cold = serve(peer, at, asked.seconds, [3 * number + 100], "--copy")[0]
            whole = check(peer, cold, whole)
            read(at)
            warm = serve(peer, at, asked.seconds, [3 * number, 3 * number + 1, 3 * number + 2], "--copy")
            for each in warm:
                check(peer, each, whole)
            rates.setdefault((peer, "cold"), []).append(rate(cold))
            rates.setdefault((peer, "warm"), []).append(statistics.median(map(rate, warm)))
            if not cold["whole"]:
                stopped.add(peer)
            print(f"round {number + 1}: {peer}: cold {rate(cold):,.0f}/s, warm {rates[peer, 'warm'][-1]:,.0f}/s "
                  f"(device {limits[-1] / 1e6:,.0f} MB/s)", file=sys.stderr, flush=True)  # fmt: skip
    mean = whole[1] / whole[0]
    limit = f"{statistics.median(limits) / 1e6:,.0f} MB/s ({min(limits) / 1e6:,.0f}-{max(limits) / 1e6:,.0f})"
    shares = [rate * mean / limit for rate, limit in zip(rates[OURS, "cold"], limits, strict=True)]
    head = (
        f"{whole[0]:,} encoded images of {mean / 1000:.1f} kB; batches of 256; every byte copied once; medians of\n"
        f"{asked.rounds} interleaved rounds, the range in brackets. Cold: all caches of the kernel dropped. The device "
        f"in\nthe same rounds (fio, 128 KiB random direct reads, queue depth 32): {limit};\n"
        f"tiering's cold epochs from LMDB reach {statistics.median(shares):.0%} of it.\n"
    )
    rows = ["| tool | how | cold, images/s | tiering is | warm, images/s | tiering is |", "|---|---|---|---|---|---|"]
    for peer in sorted(peers, key=lambda peer: -statistics.median(rates[peer, "cold"])):
        cells = [cell for epoch in ("cold", "warm") for cell in (spread(rates[peer, epoch]), ratio(rates, peer, epoch))]
        rows.append(f"| {named(packed[peer], peer)} | {packed[peer]['how']} | {' | '.join(cells)} |")
    foot = f"\nStopped after {asked.seconds:.0f} s cold: {', '.join(sorted(stopped))}.\n" if stopped else ""
    return "\n".join([head, *rows, foot, machine()])


def tiny(asked: argparse.Namespace, peers: list[str]) -> str:
    packed = {peer: pack(peer, asked.tiny, asked.work / "tiny") for peer in peers}
    rates: Rates = {}
    whole = None
    for number in range(asked.rounds):
        for peer in peers[number % len(peers) :] + peers[: number % len(peers)]:
            at = asked.work / "tiny" / peer
            read(at)
            for way, options in {"delivered": [], "copied": ["--copy"]}.items():
                epochs = serve(peer, at, asked.seconds / 4, [3 * number, 3 * number + 1, 3 * number + 2], *options)
                for each in epochs:
                    whole = check(peer, each, whole)
                rates.setdefault((peer, way), []).append(statistics.median(map(rate, epochs)))
            print(f"round {number + 1}: {peer}: {rates[peer, 'delivered'][-1]:,.0f}/s", file=sys.stderr, flush=True)
    head = (
        f"{whole[0]:,} encoded images of {whole[1] / whole[0]:,.0f} B, warm; batches of 256 with their labels, as each "
        f"tool delivers them, and\nwith every byte copied once; medians of {asked.rounds} interleaved rounds.\n"
    )
    rows = [
        "| tool | how | delivered, images/s | tiering is | copied, images/s | tiering is |",
        "|---|---|---|---|---|---|",
    ]
    for peer in sorted(peers, key=lambda peer: -statistics.median(rates[peer, "delivered"])):
        cells = [
            cell for way in ("delivered", "copied") for cell in (spread(rates[peer, way]), ratio(rates, peer, way))
        ]
        rows.append(f"| {named(packed[peer], peer)} | {packed[peer]['how']} | {' | '.join(cells)} |")
    return "\n".join([head, *rows, "", machine()])


def run(*words: str) -> Any:
    """Run one peer in a process of its own and return the JSON of its last line."""
    command = [sys.executable, "-m", "benchmarks.peers.run", *words]
    environment = os.environ | {"HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def pack(peer: str, images: Path, work: Path) -> dict[str, Any]:
    """Pack once; what an earlier run has finished is taken as it is."""
    at, told = work / peer, work / f"{peer}.json"
    if not told.exists():
        shutil.rmtree(at, ignore_errors=True)
        at.mkdir(parents=True)
        told.write_text(json.dumps(run(peer, "pack", str(images), str(at))))
        print(f"packed {peer}", file=sys.stderr, flush=True)
    found: dict[str, Any] = json.loads(told.read_text())
    return found | {"at": at}


def serve(peer: str, at: Path, seconds: float, epochs: list[int], *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run(
        peer, "serve", str(at), "--seconds", str(seconds), *options, "--epochs", *map(str, epochs)
    )["epochs"]
    return found


def check(peer: str, epoch: dict[str, Any], whole: tuple[int, int] | None) -> tuple[int, int]:
    """Every tool must serve the same images: as many, of as many bytes."""
    found = (epoch["samples"], epoch["bytes"])
    if epoch["whole"] and whole is not None and found != whole:
        sys.exit(f"{peer} served {found[0]:,} images of {found[1]:,} B, tiering {whole[0]:,} of {whole[1]:,}")
    return whole or found


def rate(epoch: dict[str, Any]) -> float:
    return float(epoch["samples"] / epoch["seconds"])


def drop_caches() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def read(at: Path) -> None:
    """Read everything below a directory into the page cache."""
    for path in at.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 22):
                    pass


def device_limit(packed: dict[str, dict[str, Any]]) -> float:
    """Return what fio reads of the LMDB shards, bytes/s; as many bytes as there are."""
    files = sorted((packed[OURS]["at"] / "store").glob("*.mdb"))
    size = sum(file.stat().st_size for file in files)
    drop_caches()
    options = {
        "name": "limit",
        "filename": ":".join(map(str, files)),
        "direct": 1,
        "rw": "randread",
        "bs": "128k",
        "iodepth": 32,
    }
    options |= {"ioengine": "libaio", "io_size": size, "output-format": "json"}
    command = ["fio", "--readonly", *(f"--{name}={value}" for name, value in options.items())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["jobs"][0]["read"]["bw_bytes"])


def spread(rates: list[float]) -> str:
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})"


def ratio(rates: Rates, peer: str, what: str) -> str:
    """Return the median over the rounds of how many times as fast tiering's LMDB store is."""
    each = [ours / theirs for ours, theirs in zip(rates[OURS, what], rates[peer, what], strict=True)]
    return f"{statistics.median(each):.2f} x"


def named(packed: dict[str, Any], peer: str) -> str:
    name = peer.replace("_", " ")
    versions = [f"{package} {version}" for package, version in packed["versions"].items()]
    return f"{name} ({', '.join(versions)})" if versions else name


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    system = f"{os.cpu_count()} cores ({model}), virtual disk" if model else f"{os.cpu_count()} cores, virtual disk"
    return f"Machine: {system}; Python {platform.python_version()}, Linux {platform.release()}."


def replaced(text: str, title: str, section: str) -> str:
    """Put a section between its markers."""
    begin, end = f"<!-- {title} -->", f"<!-- end of {title} -->"
    if begin not in text or end not in text:
        sys.exit(f"no {begin} ... {end} to write between")
    return f"{text[: text.index(begin)]}{begin}\n\n{section}\n\n{text[text.index(end) :]}"


if __name__ == "__main__":
    main()
