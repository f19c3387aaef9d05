"""Give up root's rights inside a process, for what is to be seen as an unprivileged user.

    python -m benchmarks.other_user PID TRACE SECONDS

watches a process of that user. Another user cannot execute an interpreter below /root, and cannot import from there, so
both come first.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

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

    pid, trace, seconds = int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    with subprocess.Popen(["sleep", "5"]) as sleep:
        # Everything is imported by a first watch.
        watch(sleep.pid, trace.with_suffix(".first"), seconds=0.3)
        sleep.terminate()
    become_other()
    print(watch(pid, trace, seconds=seconds).sources)


if __name__ == "__main__":
    main()
