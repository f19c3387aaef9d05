"""Convert a million tiny files and watch the memory of every process.

    python benchmarks/million.py --images DIR [--files 1000000] [--to lmdb]

DIR holds small JPEGs (CIFAR-10 as files, for example), which are copied with a changed comment until there are enough.
Prints files/s, and the largest peak of resident memory among all processes (VmHWM of proc_pid_status(5)), in total and
without the pages of mapped files.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def generate(source: Path, target: Path, count: int) -> None:
    """Make JPEGs of a thousand a folder, in a hundred classes; each differs by its comment."""
    originals = [path.read_bytes() for path in sorted(source.rglob("*.jpg"))[:5000]]
    for number in range(count):
        folder = target / f"class{number % 100:02d}" / f"{number // 100_000:02d}"
        if number < 100 * (count // 100_000 + 1) * 2:
            folder.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True) if not folder.exists() else None
        image = originals[number % len(originals)]
        (folder / f"{number:07d}.jpg").write_bytes(image[:-2] + b"\xff\xfe\x00\x0a%08d" % number + image[-2:])


class Watch(threading.Thread):
    """Follows the peak memory of a process and of all below it."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root = root
        self.peaks: dict[int, tuple[str, int, int]] = {}
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.2):
            for process in self._tree():
                try:
                    status = Path(f"/proc/{process}/status").read_text()
                    command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ")[-60:].decode()
                except OSError:
                    continue
                fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
                if "VmHWM" in fields:
                    peak = int(fields["VmHWM"].split()[0])
                    anonymous = int(fields["RssAnon"].split()[0])
                    before = self.peaks.get(process, ("", 0, 0))
                    self.peaks[process] = (command, peak, max(anonymous, before[2]))

    def _tree(self) -> list[int]:
        found, pending = [], [self.root]
        while pending:
            process = pending.pop()
            found.append(process)
            for tasks in Path(f"/proc/{process}/task").glob("*/children"):
                try:
                    pending += [int(child) for child in tasks.read_text().split()]
                except OSError:
                    continue
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--to", choices=["lmdb", "zarr"], default="lmdb")
    parser.add_argument("--work", type=Path, help="where to keep the generated files for another run")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="million-"))
    source = work / f"{options.files}"
    if not source.exists():
        generate(options.images, source, options.files)
    with tempfile.TemporaryDirectory(dir=work) as directory:
        store = Path(directory) / "store"
        began = time.perf_counter()
        command = [sys.executable, "-m", "tiering.cli.app", "convert", source, store, "--to", options.to]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            watch = Watch(process.pid)
            watch.start()
            said, _ = process.communicate()
        seconds = time.perf_counter() - began
        watch.done.set()
        watch.join()
        peaks = sorted(watch.peaks.values(), key=lambda each: -each[1])
        print(
            json.dumps(
                {
                    "files": options.files,
                    "to": options.to,
                    "seconds": round(seconds, 1),
                    "files_per_s": round(options.files / seconds),
                    "exit": process.returncode,
                    "said": said.strip(),
                    "peak_mib": round(peaks[0][1] / 1024),
                    "peak_anonymous_mib": round(max(each[2] for each in peaks) / 1024),
                    "processes": [
                        f"{peak // 1024} MiB, anonymous {anonymous // 1024}: {name}" for name, peak, anonymous in peaks
                    ],
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
