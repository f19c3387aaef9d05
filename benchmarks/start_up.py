"""Measure what commands cost that have next to nothing to do: the processor time of loading, building and a verdict.

    python benchmarks/start_up.py [--runs 11] [--other DIRECTORY]

Each command runs in a process of its own, all of them in turn in every round, after one round that is not counted and
leaves compiled files and a warm page cache behind. Prints seconds of the processor (user and system, as the kernel
counts them for the process and what it started): the median, and the least and most. `--other` takes a second checkout
of tiering, whose runs come in between, and prints how many times as much it takes.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
FIXTURES = HERE / "fixtures"
STORE = FIXTURES / "v0.1.0" / "lmdb"

#: Opens, reads and closes one image. Twelve of them make a trace of 3 kB that breaks off, so the model has to judge it.
_READ = """\
7 17{at:02}.1 openat(AT_FDCWD</photos>, "{name}", O_RDONLY|O_CLOEXEC) = 3<{name}> <0.000020>
7 17{at:02}.2 read(3<{name}>, "x"..., 65536) = 48123 <0.000090>
7 17{at:02}.3 read(3<{name}>, "", 17413) = 0 <0.000010>
7 17{at:02}.4 close(3<{name}>) = 0 <0.000010>
"""


def small_trace(images: int = 12) -> str:
    """Return what strace wrote of the beginning of an epoch over so many images."""
    return "".join(_READ.format(at=at, name=f"/photos/{at * 7 % images:02}.jpg") for at in range(images))


def commands(trace: Path) -> dict[str, list[str]]:
    """Return the commands by the names in the table."""
    return {
        "`--version`": ["--version"],
        "`--help`": ["--help"],
        "`classify --help`": ["classify", "--help"],
        "`classify`, a trace of 3 kB": ["classify", str(trace)],
        "`classify --model`, the same": ["classify", str(trace), "--model", str(FIXTURES / "v0.1.0" / "model.skops")],
        "`profile --trace`, the same, 20 images": ["profile", str(FIXTURES / "images"), "--trace", str(trace)],
        "`recommend`, 20 images": ["recommend", str(FIXTURES / "images")],
        "`cache size`, the trace": ["cache", "size", str(trace)],
        "`model show`": ["model", "show"],
        "`estimate`": ["estimate"],
        "`tiers list`": ["tiers", "list"],
        "`info`, a store of 20 images": ["info", str(STORE)],
        "`log`, the same": ["log", str(STORE)],
        "`verify`, the same": ["verify", str(STORE)],
        "`survey`, 20 images": ["survey", str(FIXTURES / "images")],
    }


def cost(checkout: Path, words: list[str], compiled: Path) -> float:
    """Run a command; return its seconds of the processor."""
    settings = os.environ | {"PYTHONPATH": str(checkout), "PYTHONPYCACHEPREFIX": str(compiled)}
    settings.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "tiering", *words], env=settings, cwd=compiled, check=True, capture_output=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Run all commands in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--other", type=Path, help="a second checkout of tiering, to compare with")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        trace = Path(work) / "small.strace"
        trace.write_text(small_trace())
        asked = commands(trace)
        checkouts = [HERE, *([chosen.other.resolve()] if chosen.other else [])]
        found: dict[tuple[str, Path], list[float]] = {(name, where): [] for name in asked for where in checkouts}
        for round_ in range(chosen.runs + 1):
            for (name, where), seconds in found.items():
                spent = cost(where, asked[name], Path(work))
                if round_:
                    seconds.append(spent)
    print(
        f"Seconds of the processor, median of {chosen.runs} (least to most); the trace has {len(small_trace()):,} B.\n"
    )
    print("| command | seconds |" + (" other | times as much |" if chosen.other else ""))
    print("|---|---|" + ("---|---|" if chosen.other else ""))
    for name in asked:
        row = [
            f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"
            for each in (found[name, where] for where in checkouts)
        ]
        if chosen.other:
            pairs = zip(*(found[name, where] for where in checkouts), strict=True)
            row.append(f"{statistics.median(other / own for own, other in pairs):.1f} x")
        print("|", " | ".join([name, *row]), "|")


if __name__ == "__main__":
    main()
