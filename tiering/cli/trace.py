"""`tiering trace`: record what a command does to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiering.cli.choices import either
from tiering.cli.output import note
from tiering.cli.panels import OUTPUT, WORK
from tiering.literals import Tracer
from tiering.units import counted, format_bytes


def trace(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="The command and its arguments.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="Trace to write.")
    ] = Path("trace.parquet"),
    backend: Annotated[
        Tracer,
        typer.Option(
            rich_help_panel=WORK,
            metavar=either(Tracer),
            help="How to record. auto takes the first that the system allows.",
        ),
    ] = "auto",
) -> None:
    """Run a command and record its reads, writes, opens and mappings as a trace.

    The command keeps its standard streams and receives the signals that are sent to tiering. tiering exits with its
    exit status. `tiering profile --trace` and `tiering classify` read the trace, a Parquet file.

    tracepoints: the kernel records every system call; needs root, or CAP_BPF and CAP_PERFMON. strace: every system
    call too, but it stops the command at each. dftracer: costs little, but sees only calls of the C library.

    Example: `tiering trace -o train.parquet -- python train.py`
    """
    from tiering.trace.capture import record

    made = record(command, output, backend=backend)
    read, written = format_bytes(made.bytes_read), format_bytes(made.bytes_written)
    note(f"Wrote {output}: {counted(made.events, 'event')}, {read} read, {written} written.")
    if made.counted_read is not None and made.counted_written is not None:
        of_kernel = f"{format_bytes(made.counted_read)} read and {format_bytes(made.counted_written)} written"
        note(f"The kernel counted {of_kernel} for the command and its children.")
    note(f"Recorded with {made.backend}, which took {made.processor_seconds:.2f} s of processor time.")
    for reason in made.refused:
        note(f"Note: not with {reason}.")
    for line in made.notes:
        note(f"Warning: {line}")
    if made.mapped_bytes:
        missing = "reads of a page after its first" if made.mapped_reads else "reads of them"
        mapped = format_bytes(made.mapped_bytes)
        note(f"Note: up to {mapped} of data were mapped into memory; {missing} may be missing.")
    if made.status:
        raise typer.Exit(made.status)
