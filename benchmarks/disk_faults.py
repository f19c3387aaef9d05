"""Let system calls fail under a conversion, and see that it says so and that no store verifies wrongly.

    python benchmarks/disk_faults.py [--runs 100] [--images DIR]

strace injects EIO or ENOSPC into a random call of write, pwrite64, pwritev, writev, fsync, rename or renameat, in any
of the processes. Afterwards the same command, without faults, must finish the store. Needs strace 5 or later.
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
CALLS = {"write": 120, "pwrite64": 200, "pwritev": 30, "writev": 30, "fsync": 80, "rename": 80, "renameat": 20}
SHARD = 200_000


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
        wholes = {}
        for kind in ("lmdb", "zarr"):
            tiering.convert(options.images, work / kind, kind, shard_bytes=SHARD)
            wholes[kind] = digest(work / kind)
        for number in range(options.runs):
            kind = ("lmdb", "zarr")[number % 2]
            call, most = dice.choice(list(CALLS.items()))
            error = dice.choice(["EIO", "ENOSPC"])
            store = work / "store"
            command = [
                sys.executable, "-m", "tiering.cli.app", "convert", options.images, store, "--to", kind,
                "--shard-size", str(SHARD),
            ]  # fmt: skip
            inject = ["strace", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", f"trace={call}"]
            fault = ["-e", f"inject={call}:error={error}:when={dice.randint(1, most)}", "-P", str(work)]
            done = subprocess.run([*inject, *fault[:2], *command], capture_output=True, text=True, check=False)
            said = done.stderr.strip().splitlines()
            tally = counts.setdefault(f"{kind} {call} {error}", Counter())
            if store.exists():
                sound = tiering.verify(store, source=options.images).ok and digest(store) == wholes[kind]
                tally["finished" if sound else "WRONG STORE"] += 1
                bad += not sound
                bad += done.returncode != 0
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
