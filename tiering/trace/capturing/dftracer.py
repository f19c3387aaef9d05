"""Record a command with DFTracer's preloaded library: cheap, but it sees only calls of the C library."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tiering.errors import MachineError
from tiering.system.signals import passing_on
from tiering.trace.capturing.running import Run, UnavailableError, exit_status

_LIBRARY_ALONE = (
    "DFTracer only sees calls of the C library, so the verdict on the whole run is a forecast. Record the run with "
    "strace to judge it."
)


def record_dftracer(command: Sequence[str], to: Path, work: Path) -> Run:
    """Run a command and record it, as `Backend` has it."""
    spec = importlib.util.find_spec("dftracer")
    directories = [Path(directory) for directory in (spec.submodule_search_locations or [])] if spec is not None else []
    library = next((file for directory in directories for file in directory.rglob("libdftracer_preload.so")), None)
    if library is None:
        raise UnavailableError("DFTracer is not installed (pip install 'tiering[dftracer]')")
    logs = work / "logs"
    logs.mkdir()
    environment = {
        "LD_PRELOAD": ":".join(filter(None, [str(library), os.environ.get("LD_PRELOAD", "")])),
        "DFTRACER_ENABLE": "1",
        "DFTRACER_INIT": "PRELOAD",
        "DFTRACER_INC_METADATA": "1",
        "DFTRACER_DATA_DIR": "all",
        "DFTRACER_LOG_FILE": str(logs / "log"),
    }
    process = subprocess.Popen(list(command), env=os.environ | environment)  # noqa: S603
    with passing_on(lambda: process.pid):
        status = process.wait()
    status = exit_status(status)
    if not any(file.stat().st_size for file in logs.iterdir()):
        raise MachineError(
            "dftracer",
            found="the command left no log of its calls",
            action='Use `backend="strace"`: DFTracer sees no programs that are linked statically.',
        )
    from tiering.trace.parquet_writer import TraceWriter  # noqa: PLC0415
    from tiering.trace.readers import read_trace  # noqa: PLC0415
    from tiering.trace.readers.base import Damage  # noqa: PLC0415

    trace, events = read_trace(logs, lenient=True), TraceWriter(work)
    for batch in trace.batches:
        events.add(batch)
    damage = Damage(to, trace.format, lenient=True)
    damage.skipped, damage.gaps, damage.notes = trace.skipped_lines, trace.gaps, [_LIBRARY_ALONE]
    return Run(events, damage, status)
