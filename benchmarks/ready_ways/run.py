"""One way, one process: make ready batches, an epoch for each line of the input, and print what it took as JSON.

Usage: python -m benchmarks.ready_ways.run MODULE ARGUMENTS < NUMBERS

ARGUMENTS are those of the module's function `opened`, as JSON. The first line of the output tells the versions.
Processor time is that of this process and of all below it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from itertools import islice
from pathlib import Path
from typing import Any, Final

#: After a tool's last batch, it may still make some that nobody asked for. They must not take time from the next tool.
_SETTLED: Final = 0.3
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def main() -> None:
    way = import_module(f"benchmarks.ready_ways.{sys.argv[1]}")
    epoch = way.opened(**json.loads(sys.argv[2]))
    print(json.dumps({"versions": {name: version(name) for name in way.PACKAGES}}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measured(epoch, int(line), getattr(way, "LEAD", 0))), flush=True)


def measured(epoch: Callable[[int], Iterator[Any]], number: int, lead: int) -> dict[str, Any]:
    """Serve an epoch: images, seconds of wall and of the processors, and the shape of an image."""
    batches = iter(())
    if lead:
        batches = epoch(number)
        for _ in islice(batches, lead):
            pass
    images, shape, kind = 0, (), ""
    cpu, began = spent(), time.perf_counter()
    for batch in batches if lead else epoch(number):
        images += len(batch)
        shape, kind = tuple(batch.shape[1:]), str(batch.dtype).removeprefix("torch.")
        float(batch[-1, 0, 0, 0])
    took = time.perf_counter() - began
    used = spent() - cpu
    if lead:
        time.sleep(_SETTLED)
    return {"images": images, "seconds": took, "cpu": used, "shape": shape, "dtype": kind}


def spent() -> float:
    """Return the seconds of user and system time of this process and of all below it, also of those that ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total, below = time.process_time() + ended.ru_utime + ended.ru_stime, children(os.getpid())
    for process in below:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        total += sum(map(int, fields[11:15])) / _TICKS
        below += children(process)
    return total


def children(process: int) -> list[int]:
    return [int(one) for task in Path(f"/proc/{process}/task").glob("*/children") for one in task.read_text().split()]


def version(package: str) -> str:
    return metadata.version(package) if package != "tiering" else import_module("tiering").__version__


if __name__ == "__main__":
    main()
