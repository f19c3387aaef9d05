"""Does `tiering probe` measure what fio measures? Both read the same file, in turns, at every common point.

Usage: python -m benchmarks.probe_fio DIRECTORY [--rounds 7] [--seconds 0.5] [--size 1GiB] [--block 4096,131072]
           [--engine libaio] [--huge] [--ways] [--writes]

fio is Debian's package: apt-get install fio. Rounds of a point are ours, fio, fio, ours and so on, so that a disk whose
speed drifts is the same for both; the figures are medians over the rounds. What others do to the machine only ever
makes a round slower, so the best rounds are compared, too. Of memory in pages of 4 KiB each process gets what there is,
here more and there less of it in one piece, which a virtual disk feels: --huge gives both huge pages (needs root).
--ways compares the two ways of
having many reads in flight instead, threads and asynchronous I/O, with fio beside them. --writes compares writes in
sequence and appends with fsync.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from tiering.probing import mount
from tiering.system import direct_reads as directio
from tiering.system.direct_reads import opened_direct, read_at_once, read_on_threads
from tiering.units import format_rate, parse_bytes

HUGE, MAP_HUGETLB = 2 << 20, 0x40000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--size", default="1GiB")
    parser.add_argument("--block", default=",".join(map(str, mount.BLOCKS)))
    parser.add_argument("--engine", default="libaio", choices=["libaio", "io_uring"])
    parser.add_argument("--huge", action="store_true")
    parser.add_argument("--ways", action="store_true")
    parser.add_argument("--writes", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".probe-fio-", dir=asked.directory) as own:
        if asked.writes:
            writes(Path(own), asked.rounds, asked.seconds, parse_bytes(asked.size))
            return
        path = Path(own) / "reads"
        size, _ = mount.lay_out(path, parse_bytes(asked.size), 600)
        blocks = [int(each) for each in asked.block.split(",")]
        with path.open("rb") as plain, opened_direct(path) as direct, reserved(asked.huge):
            reads(plain.fileno(), direct, path, size, blocks, asked)


def reads(plain: int, direct: int, path: Path, size: int, blocks: list[int], asked: argparse.Namespace) -> None:
    def fio(pattern: str, block: int, depth: int) -> float:
        memory = ["--mem=shmhuge", "--hugepage-size=2m"] if asked.huge else []
        words = [
            *memory,
            f"--rw={'randread' if pattern == 'random' else 'read'}",
            f"--bs={block}",
            f"--iodepth={depth}",
        ]
        return float(
            run_fio(path, size, asked.seconds, ["--direct=1", f"--ioengine={asked.engine}", *words])["bw_bytes"]
        )

    def ours(pattern: str, block: int, depth: int) -> float:
        return mount.read_point(plain, direct, size, pattern, block, depth, asked.seconds).bandwidth

    def way(read: Callable[..., object]) -> Callable[[str, int, int], float]:
        def measure(pattern: str, block: int, depth: int) -> float:
            targets = [(direct, offset) for offset in mount.offsets(pattern, size // block, block)]
            return read(targets, block, depth, asked.seconds).bandwidth  # type: ignore[attr-defined]

        return measure

    tools = {"threads": way(read_on_threads), "at once": way(read_at_once)} if asked.ways else {"ours": ours}
    tools["fio"] = fio
    others = [name for name in tools if name != "fio"]
    shares = [f"{name} / fio" for name in others] + [f"{name} / fio, best round" for name in others]
    print(f"| reads | block | in flight | {' | '.join([*tools, *shares])} |")
    print("| --- " * (1 + 3 * len(tools)) + "|")
    off: dict[str, list[tuple[float, str]]] = {"Medians": [], "Best rounds": []}
    points = [(pattern, block, depth) for pattern in mount.PATTERNS for block in blocks for depth in mount.DEPTHS]
    for point in points:
        found: dict[str, list[float]] = {name: [] for name in tools}
        for number in range(asked.rounds):
            for name in list(tools)[:: 1 if number % 2 else -1]:
                found[name].append(tools[name](*point))
        medians = {name: statistics.median(each) for name, each in found.items()}
        ratios = [medians[name] / medians["fio"] for name in others]
        best = [max(found[name]) / max(found["fio"]) for name in others]
        words = [*map(str, point), *map(format_rate, medians.values()), *(f"{each:.2f}" for each in ratios + best)]
        print(f"| {' | '.join(words)} |", flush=True)
        for kind, ratio in (("Medians", ratios[0]), ("Best rounds", best[0])):
            off[kind].append((abs(ratio - 1), f"{' x '.join(words[:3])}: {ratio:.2f}"))
    for kind, each in off.items():
        print(f"\n{kind}: within 20 %: {sum(far <= 0.2 for far, _ in each)} of {len(each)}. Worst: {max(each)[1]}")


@contextmanager
def reserved(huge: bool) -> Iterator[None]:
    """Have huge pages for both, and give them back."""
    if not huge:
        yield
        return
    setting = Path("/proc/sys/vm/nr_hugepages")
    before = setting.read_text()
    setting.write_text("64")
    try:
        with mock.patch.object(directio, "whole_pages", huge_pages):
            yield
    finally:
        setting.write_text(before)


def huge_pages(size: int) -> memoryview:
    memory = mmap.mmap(-1, -(-size // HUGE) * HUGE, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | MAP_HUGETLB)
    memory[:: os.sysconf("SC_PAGE_SIZE")] = bytes(len(memory) // os.sysconf("SC_PAGE_SIZE"))
    return memoryview(memory)[:size]


def writes(own: Path, rounds: int, seconds: float, size: int) -> None:
    """Writes of 1 MiB made durable every 64, and appends of 4 KiB made durable one by one."""
    found: dict[str, dict[str, list[float]]] = {kind: {"ours": [], "fio": []} for kind in ("write", "fsync")}
    fresh = ["--ioengine=psync", "--fallocate=none", "--rw=write"]
    for number in range(rounds):
        for who in ("ours", "fio")[:: 1 if number % 2 else -1]:
            path = own / f"{who}-{number}"
            if who == "ours":
                done, spent = mount.lay_out(path, size, 600)
                found["write"][who].append(done / spent)
                path.unlink()
                found["fsync"][who].append(mount.append(path, seconds)[0] * 4096)
            else:
                job = run_fio(path, size, None, [*fresh, "--bs=1m", "--fdatasync=64"])
                found["write"][who].append(float(job["bw_bytes"]))
                path.unlink()
                job = run_fio(path, 64 << 20, seconds, [*fresh, "--bs=4k", "--fsync=1"])
                found["fsync"][who].append(float(job["bw_bytes"]))
            path.unlink()
    print("| what | ours | fio | ours / fio |\n| --- | --- | --- | --- |")
    for kind, each in found.items():
        ours, fio = (statistics.median(each[who]) for who in ("ours", "fio"))
        shown = (ours, fio) if kind == "write" else (ours / 4096, fio / 4096)
        words = [format_rate(one) if kind == "write" else f"{one:,.0f} /s" for one in shown]
        print(f"| {kind} | {words[0]} | {words[1]} | {ours / fio:.2f} |")


def run_fio(path: Path, size: int, seconds: float | None, words: list[str]) -> dict[str, float]:
    """Run one job of fio on a file; return its figures of reading or of writing."""
    timed = [] if seconds is None else [f"--runtime={round(seconds * 1000)}ms", "--time_based"]
    command = ["fio", "--name=probe", f"--filename={path}", f"--size={size}", "--output-format=json", *timed, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    job = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
    return max(job["read"], job["write"], key=lambda each: each["io_bytes"])


if __name__ == "__main__":
    main()
