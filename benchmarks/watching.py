"""What it costs a job to be watched, and what other tools cost it.

    python -m benchmarks.watching [--images DIR] [--photos DIR] [--rounds 11] [--other-rounds 3] [--quick]
        [--unprivileged]

The job is a torch DataLoader with two workers, which torch starts again for each epoch. No step takes time,
so that all that watching costs shows.

- files: shuffled epochs of 10,000 small images, from the page cache, decoded by Pillow as torchvision's folders are.
- files, only read: the same, but nothing is decoded. No training does that; it shows the cost of a call.
- LMDB, cold and warm: shuffled epochs of 1,000 photographs, mapped, without the kernel's read-ahead, and decoded by
  Pillow. Cold: they are dropped from the page cache before each measurement.
- np.memmap: shuffled epochs of 40,000 mapped arrays of 12 kB, from the page cache, scaled to float32.
- LMDB and np.memmap, only read: the same, from the page cache, but nothing is done with the bytes. An epoch then lasts
  a tenth of a second, and most of it is the start of its workers, which is what shows.

In each round the same process runs epochs while it is watched, some seconds after that began, and epochs while it is
not, in an order that changes from round to round. The median of the ratios counts, with its 95 % interval by the order
statistics of the rounds.
`tiering trace` starts what it records, so there another process runs the epochs under it. Prints Markdown tables; exits
with status 1 if watching costs a job more than 1.05 x, or the interval ends above 1.08. Needs root, strace, perf and
fatrace; a tool that is missing is named in its row. With --unprivileged, jobs and tools run without root's rights.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from PIL import Image

from benchmarks.drawn_photos import drawn_photos
from benchmarks.recording import interval
from tiering.system.page_cache import drop

MEDIAN, UPPER = 1.05, 1.08
_FILES, _PHOTOS, _ARRAYS, _SIDE = 10_000, 1_000, 40_000, 64
_BATCH = 64
#: Those that the bars are not for.
_EXTREME = {"files, only read", "LMDB, only read", "np.memmap, only read"}
#: Each job, and how many epochs a measurement has, so that it lasts a few seconds.
KINDS = {
    "files": 5,
    "LMDB, cold": 1,
    "LMDB, warm": 2,
    "np.memmap": 5,
    "files, only read": 12,
    "LMDB, only read": 30,
    "np.memmap, only read": 20,
}
#: What runs a program without any of root's rights.
UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
PROGRAM = Path(sys.executable).parent / "tiering"


class Files:
    """Small files."""

    def __init__(self, data: Path) -> None:
        self._paths = sorted((data / "files").iterdir())

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> bytes:
        return self._paths[index].read_bytes()[:64]


class Images(Files):
    """Small images, decoded."""

    def __getitem__(self, index: int) -> bytes:
        with self._paths[index].open("rb") as file:
            return Image.open(file).convert("RGB").tobytes()[:64]


class Database:
    """Photographs in an LMDB environment."""

    def __init__(self, data: Path) -> None:
        self._path = str(data / "photos.lmdb")
        self._transaction: Any = None
        with lmdb.open(self._path, readonly=True, lock=False) as environment:
            self._count = environment.stat()["entries"]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> bytes:
        if self._transaction is None:
            self._transaction = lmdb.open(self._path, readonly=True, lock=False, readahead=False).begin()
        content: bytes = self._transaction.get(f"{index:08}".encode())
        return self._made_of(content)[:64]

    def _made_of(self, content: bytes) -> bytes:
        return content


class Photographs(Database):
    """The same, decoded."""

    def _made_of(self, content: bytes) -> bytes:
        return Image.open(io.BytesIO(content)).convert("RGB").tobytes()


class Arrays:
    """Rows of a mapped array."""

    def __init__(self, data: Path) -> None:
        self._rows = np.load(data / "arrays.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> bytes:
        return bytes(self._rows[index].tobytes()[:64])


class Scaled(Arrays):
    """The same, as numbers in [0, 1]."""

    def __getitem__(self, index: int) -> bytes:
        return (self._rows[index].astype(np.float32) / 255).tobytes()[:64]


FORMS: dict[str, Callable[[Path], Any]] = {
    "files": Images,
    "files, only read": Files,
    "LMDB, cold": Photographs,
    "LMDB, warm": Photographs,
    "np.memmap": Scaled,
    "LMDB, only read": Database,
    "np.memmap, only read": Arrays,
}


def run_epochs(kind: str, data: Path) -> None:
    """Run as many epochs as each line says, and print how long they took, and how much processor time."""
    from torch.utils.data import DataLoader  # noqa: PLC0415 - it takes seconds

    loader: Any = DataLoader(FORMS[kind](data), _BATCH, shuffle=True, num_workers=2, collate_fn=b"".join)
    print("ready", flush=True)
    for line in sys.stdin:
        begun, before = time.perf_counter(), _processor()
        for _ in range(int(line)):
            for _ in loader:
                pass
        print(json.dumps([time.perf_counter() - begun, _processor() - before]), flush=True)


def _processor() -> float:
    """Return the s of processor time of this process, and of its children that have ended."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in found)


def make(data: Path, images: Path | None, photos: Path | None) -> None:
    """Make what the jobs read."""
    small = images or drawn_photos(data / "small", 500, "32-32")
    contents = [path.read_bytes() for path in sorted(small.rglob("*.*"))[:_FILES] if path.is_file()]
    (data / "files").mkdir()
    for number in range(_FILES):
        (data / "files" / f"{number:05}.jpg").write_bytes(contents[number % len(contents)])
    large = photos or drawn_photos(data / "large", 200, "500-700")
    paths = [path for path in sorted(large.rglob("*.*")) if path.is_file()][:_PHOTOS]
    most = _PHOTOS * (max(path.stat().st_size for path in paths) + 8192) + (16 << 20)
    with lmdb.open(str(data / "photos.lmdb"), map_size=most) as environment, environment.begin(write=True) as put:
        for number in range(_PHOTOS):
            put.put(f"{number:08}".encode(), paths[number % len(paths)].read_bytes())
    arrays = np.lib.format.open_memmap(data / "arrays.npy", "w+", np.uint8, (_ARRAYS, _SIDE, _SIDE, 3))
    arrays[:] = np.random.default_rng(0).integers(0, 256, (1, _SIDE, _SIDE, 3), np.uint8)
    arrays.flush()
    os.sync()


class Job:
    """A process that runs epochs when it is told to."""

    def __init__(self, kind: str, data: Path, *prefix: object) -> None:
        self._kind, self._data = kind, data
        words = [*prefix, sys.executable, "-m", "benchmarks.watching", "--job", kind, "--work", data]
        self.process = subprocess.Popen(
            list(map(str, words)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._answer("ready")
        # Everything is in the page cache, and imported.
        self.run(1, warm=True)

    def _answer(self, expected: str = "") -> str:
        while line := self.process.stdout.readline() if self.process.stdout is not None else "":
            if not expected or line.strip() == expected:
                return line
        raise RuntimeError(f"{self._kind}: the job ended with status {self.process.wait()}")

    def run(self, epochs: int, *, warm: bool = False) -> tuple[float, float]:
        """Run epochs. Return s that one took, and s of processor time."""
        if self._kind.endswith("cold") and not warm:
            drop([self._data / "photos.lmdb" / "data.mdb"])
        if self.process.stdin is not None:
            self.process.stdin.write(f"{epochs}\n")
            self.process.stdin.flush()
        seconds, processor = json.loads(self._answer())
        return seconds / epochs, processor / epochs

    def close(self) -> None:
        """End it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process.wait()


@contextmanager
def attached(words: Sequence[object], *, first_line: bool = False) -> Iterator[int]:
    """Run a tool beside a job, from the time at which it watches. Gives its pid."""
    out = subprocess.PIPE if first_line else subprocess.DEVNULL
    with subprocess.Popen(list(map(str, words)), stdout=out, stderr=subprocess.DEVNULL, text=True) as tool:
        if tool.stdout is not None:
            tool.stdout.readline()
        else:
            time.sleep(1.5)
        if tool.poll() is not None:
            raise RuntimeError(f"{words[0]} ended with status {tool.returncode}")
        try:
            yield tool.pid
        finally:
            tool.send_signal(signal.SIGINT)
            tool.communicate()


def used(pid: int) -> float:
    """Return the s of processor time that all threads of a process have used."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


@dataclass(slots=True)
class Figures:
    """What the rounds of one tool and job gave."""

    plain: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)

    def add(self, plain: tuple[float, float], seen: tuple[float, float], own: float | None, epochs: int) -> None:
        """Add a round: s of an epoch and of processor time, without and with the tool, and its own processor time."""
        self.plain.append(plain[0])
        self.ratios.append(seen[0] / plain[0])
        self.processor.append(seen[1] / plain[1])
        if own is not None:
            self.own.append(own / epochs)
            self.share.append(own / epochs / seen[0])

    @property
    def ok(self) -> bool:
        """Whether the bars are held."""
        return statistics.median(self.ratios) <= MEDIAN and interval(self.ratios)[1] <= UPPER

    def cells(self) -> str:
        """Return the cells of a row."""
        low, high = interval(self.ratios)
        cells = [f"{statistics.median(self.plain):.2f}", f"{statistics.median(self.ratios):.3f}"]
        cells += [f"{low:.3f} to {high:.3f}", f"{statistics.median(self.processor):.3f}"]
        cells += [f"{statistics.median(self.own):.3f}" if self.own else "-"]
        cells += [f"{statistics.median(self.share):.1%}" if self.share else "-"]
        return " | ".join(cells)


#: Tools that attach to a running job: the command, and whether its first line says that it watches.
ATTACHED: dict[str, tuple[Callable[[int, Path], list[object]], bool]] = {
    "tiering watch": (lambda pid, to: [PROGRAM, "watch", pid, "-o", to / "t.parquet", "--json"], True),
    "tiering watch --warm-maps": (
        lambda pid, to: [PROGRAM, "watch", pid, "-o", to / "t.parquet", "--json", "--warm-maps"],
        True,
    ),
    "perf trace -p": (lambda pid, to: ["perf", "trace", "-p", pid, "-o", to / "t.perf"], False),
    "strace -f -p": (lambda pid, to: ["strace", "-f", "-ttt", "-T", "-yy", "-p", pid, "-o", to / "t.strace"], False),
    "fatrace": (lambda _, to: ["fatrace", "-o", to / "t.fatrace"], False),
}
#: Tools that start the job.
STARTED = {f"tiering trace --backend {name}": name for name in ("tracepoints", "strace", "dftracer")}


def measured(tool: str, kind: str, data: Path, work: Path, rounds: int, as_whom: Sequence[str] = ()) -> Figures:
    """Measure one tool beside one job. as_whom: what runs both."""
    figures, epochs = Figures(), KINDS[kind]
    with ExitStack() as stack:
        job = Job(kind, data, *as_whom)
        stack.callback(job.close)
        traced = None
        if tool in STARTED:
            prefix = [PROGRAM, "trace", "-o", work / "t.parquet", "--backend", STARTED[tool], "--"]
            traced = Job(kind, data, *as_whom, *prefix)
            stack.callback(traced.close)
        for number in range(rounds):
            own: float | None = None
            taken: dict[bool, tuple[float, float]] = {}
            for watched in (False, True) if number % 2 else (True, False):
                if watched and tool in ATTACHED:
                    words, first_line = ATTACHED[tool]
                    # fatrace replaces no file.
                    (work / "t.fatrace").unlink(missing_ok=True)
                    with attached([*as_whom, *words(job.process.pid, work)], first_line=first_line) as pid:
                        # The first second of a watch costs more, however long it is.
                        job.run(epochs)
                        before = used(pid)
                        taken[True] = job.run(epochs)
                        own = used(pid) - before
                else:
                    taken[watched] = (traced or job if watched else job).run(epochs)
            figures.add(taken[False], taken[True], own, epochs)
    return figures


def machine() -> str:
    """Name this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} processors, Linux {platform.release()}, load {load:.1f} at the beginning"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="small images; by default some are drawn")
    parser.add_argument("--photos", type=Path, help="photographs; by default some are drawn")
    parser.add_argument("--rounds", type=int, default=11, help="of `tiering watch`; 0 leaves it out")
    parser.add_argument("--other-rounds", type=int, default=3, help="of the other tools; 0 leaves them out")
    parser.add_argument("--quick", action="store_true", help="two rounds, and one of the other tools")
    parser.add_argument("--unprivileged", action="store_true", help="without root's rights")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--work", type=Path, help="keep the data here, and use those that are there")
    parser.add_argument("--job", choices=list(KINDS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        run_epochs(asked.job, asked.work)
        return 0
    rounds, others = (2, min(1, asked.other_rounds)) if asked.quick else (asked.rounds, asked.other_rounds)
    ok = True
    with tempfile.TemporaryDirectory(prefix="watching-") as name:
        data, work = asked.work or Path(name), Path(name)
        if not (data / "arrays.npy").exists():
            data.mkdir(exist_ok=True)
            make(data, asked.images, asked.photos)
        print(f"{machine()}; {rounds} rounds of `tiering watch`, {others} of the others.\n")
        print(
            "| job | tool | s an epoch alone | x | 95 % | processor time of the job, x | own s an epoch | of a core |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
        for tool in [*ATTACHED, *STARTED]:
            is_ours = tool == "tiering watch"
            times = rounds if is_ours else others
            for kind in asked.only if times else ():
                program = str(ATTACHED[tool][0](0, work)[0]) if tool in ATTACHED else str(PROGRAM)
                if shutil.which(program) is None:
                    print(f"| {kind} | {tool} | {program} is not installed | | | | | |", flush=True)
                    continue
                figures = measured(tool, kind, data, work, times, UNPRIVILEGED if asked.unprivileged else ())
                ok &= figures.ok or not is_ours or kind in _EXTREME
                print(f"| {kind} | {tool} | {figures.cells()} |", flush=True)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
