"""Give up root's rights inside a process, for what is to be seen as an unprivileged user.

    python -m benchmarks.other_user PID TRACE [SECONDS] [--dataset PATH] [--warm-maps] [--as-root] [--wait]

watches a process of that user, by default until it ends. Another user cannot execute an interpreter below /root, and
cannot import from there, so both come first. Prints "ready", and with --wait begins when it gets a line. Prints a line
of JSON once it watches, with the time from which it does, and one at the end, with the sources and what they cost.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiering.trace.watching.observation import Observation

#: "nobody".
USER = 65534
_SET_DUMPABLE = 4


def become_other() -> None:
    """Become the other user for good. The kernel then hides a process from its own user, unless it is told not to."""
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    ctypes.CDLL(None).prctl(_SET_DUMPABLE, 1, 0, 0, 0)


def main() -> None:
    from tiering.trace.watching.watch import watch  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pid", type=int)
    parser.add_argument("trace", type=Path)
    parser.add_argument("seconds", type=float, nargs="?")
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--warm-maps", action="store_true")
    parser.add_argument("--as-root", action="store_true")
    parser.add_argument("--wait", action="store_true")
    asked = parser.parse_args()
    with subprocess.Popen(["sleep", "5"]) as sleep:
        # Everything is imported by a first watch.
        watch(sleep.pid, asked.trace.with_suffix(".first"), seconds=0.3, warm_maps=asked.warm_maps)
        sleep.terminate()
    if not asked.as_root:
        become_other()
    print("ready", flush=True)
    if asked.wait:
        sys.stdin.readline()
    begun: list[float] = []

    def tell(_: Observation) -> None:
        if not begun:
            begun.append(now)
            print(json.dumps({"begin": now}), flush=True)

    before, now = time.process_time(), time.time()
    made = watch(
        asked.pid,
        asked.trace,
        seconds=asked.seconds,
        dataset=asked.dataset,
        warm_maps=asked.warm_maps,
        on_look=tell,
    )
    sources = {source.name: source.reason for source in made.sources}
    found = {"seconds": made.seconds, "share": made.watcher_share, "processor": time.process_time() - before}
    print(json.dumps(found | {"sources": sources, "notes": made.notes}), flush=True)


if __name__ == "__main__":
    main()
