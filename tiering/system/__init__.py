"""The only room that makes system calls and reads /proc: each call, limit and mount fact is here once.

`machine` says how many processors and how much memory this process may use. `direct_reads` reads past the page cache,
`page_cache` inspects and empties it, `madvise` announces reads, `maps` maps files, `mounts` names file systems.
"""

from __future__ import annotations

import sys

from tiering.errors import MachineError


def require_linux() -> None:
    """Raise MachineError on any system but Linux, whose system calls and locks tiering needs."""
    if sys.platform != "linux":
        raise MachineError(
            "tiering", expected="Linux", found=sys.platform,
            action="Run it on Linux: on Windows in WSL 2, on macOS in a container or a virtual machine.",
        )  # fmt: skip
