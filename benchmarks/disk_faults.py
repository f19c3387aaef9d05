"""Let system calls fail under a conversion, and see that it says so and that no store verifies wrongly.

    python benchmarks/disk_faults.py [--runs 100] [--images DIR]

strace injects EIO or ENOSPC into one call of write, pwrite64, pwritev, fsync or rename, drawn at random among all those
that a whole run makes, in its one process. Afterwards the same command, without faults, must finish the store. Needs
strace 5 or later.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import tiering
from benchmarks.crash_loop import digest

FIXTURES = Path(__file__).parent.parent / "fixtures" / "images"
CALLS = ("write", "pwrite64", "pwritev", "fsync", "rename")
SHARD = 200_000


def calls_of(command: list[object], log: Path) -> dict[str, int]:
    """How often the busiest thread of a run makes each call: strace counts by thread."""
    traced = ["strace", "-f", "-qq", "-o", log, "--seccomp-bpf", "-e", f"trace={','.join(CALLS)}"]
    subprocess.run([*traced, *command], check=True, capture_output=True)
    counts: Counter[tuple[str, str]] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        thread, call = line.split(None, 1)
        counts[thread, call.split("(")[0]] += 1
    return {call: max((n for (_, name), n in counts.items() if name == call), default=0) for call in CALLS}


def command_for(images: Path, store: Path, kind: str) -> list[object]:
    """The conversion, in one process, so that no call is about anything but files."""
    words = ["convert", images, store, "--to", kind, "--shard-size", f"{SHARD}B", "--workers", "1"]
    return [sys.executable, "-m", "tiering.cli.app", *words]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--images", type=Path, default=FIXTURES)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    counts: dict[str, Counter[str]] = {}
    bad = 0
    with tempfile.TemporaryDirectory(prefix="disk-faults-") as directory:
        work = Path(directory)
        wholes, most = {}, {}
        for kind in ("lmdb", "zarr"):
            most[kind] = calls_of(command_for(options.images, work / kind, kind), work / "log")
            wholes[kind] = digest(work / kind)
        print(json.dumps(most), file=sys.stderr)
        for number in range(options.runs):
            kind = ("lmdb", "zarr")[number % 2]
            call = dice.choice([call for call in CALLS if most[kind][call]])
            error = dice.choice(["EIO", "ENOSPC"])
            store = work / "store"
            command = command_for(options.images, store, kind)
            inject = ["strace", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", f"trace={call}"]
            fault = ["-e", f"inject={call}:error={error}:when={dice.randint(1, most[kind][call])}"]
            done = subprocess.run([*inject, *fault, *command], capture_output=True, text=True, check=False)
            said = done.stderr.strip().splitlines()
            tally = counts.setdefault(f"{kind} {call} {error}", Counter())
            if store.exists():
                sound = tiering.verify(store, source=options.images).ok and digest(store) == wholes[kind]
                tally["finished" if sound else "WRONG STORE"] += 1
                bad += not sound
                # What failed may have been the last words on stderr, or the sync after the store was in place.
                bad += done.returncode != 0 and call not in ("write", "fsync")
            else:
                words = ("no space left on device",) if error == "ENOSPC" else ("input/output error",)
                clear = done.returncode == 4 and any(word in said[-1].lower() for word in words)
                tally["clear error" if clear else "UNCLEAR"] += 1
                if not clear:
                    bad += 1
                    print(f"{kind} {call} {error}: exit {done.returncode}: {said[-3:]}", file=sys.stderr)
                again = subprocess.run(command, capture_output=True, text=True, check=False)
                if again.returncode or digest(store) != wholes[kind]:
                    bad += 1
                    tally["NOT RESUMED"] += 1
                    print(again.stderr, file=sys.stderr)
            shutil.rmtree(store, ignore_errors=True)
            shutil.rmtree(work / "store.partial", ignore_errors=True)
    print(json.dumps({name: dict(tally) for name, tally in sorted(counts.items())}, indent=2))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
