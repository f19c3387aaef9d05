"""The limits of a trace: why it lacks part of the run, has too little data, or shares close to a threshold."""

from __future__ import annotations

from collections.abc import Iterator

from tiering.trace.trace_profile import TraceProfile
from tiering.units import format_bytes
from tiering.workload.explain import percent
from tiering.workload.features import possible_labels
from tiering.workload.label import MAJORITY, SINGLE_PASS, Workload

#: B; below this there is no verdict. No choice of storage helps a run that moves less.
FLOOR = 1 << 16
#: There is no verdict either if the excluded bytes are this many times the others.
DWARFED = 100
#: Shares this close to a threshold might as well be on its other side.
NEAR = 0.05
#: From these shares of the opened files on, files that no call touches show that calls were not traced. Some programs
#: open files only to check that they exist, and one of a few outputs is often a lock.
_UNTOUCHED, _UNTOUCHED_OUTPUTS = 0.1, 0.5
#: Passes from which on the second epoch has clearly begun.
_SECOND_PASS = 1.5
#: From this share of the bytes on, it matters that the processes which moved them failed or were ended.
_FAILED = 0.1


def gaps(trace: TraceProfile) -> list[str]:
    """Return reasons, as clauses, why a trace cannot contain the whole run; empty if there are none."""
    found = list(trace.gaps)
    if trace.skipped_lines:
        found.append("lines of it could not be read")
    inputs, outputs = trace.untouched_share or 0.0, trace.untouched_output_share or 0.0
    if inputs > _UNTOUCHED or outputs > _UNTOUCHED_OUTPUTS:
        share, what = max((inputs, "reading"), (outputs, "writing"))
        found.append(f"{percent(share)} of the files opened for {what} are touched by no call: others were not traced")
    if trace.failed_share > _FAILED:
        found.append(f"processes that moved {percent(trace.failed_share)} of the bytes failed or were ended")
    return found


def calls_are_missing(trace: TraceProfile) -> bool:
    """Return whether calls that move data are known to be missing, so that no share of the bytes is known.

    Opened but untouched files are not enough if other files were read or written, as some libraries access files in
    ways that some tracers do not see. But if no file was touched, a whole kind of calls is missing.
    """
    unread = (trace.untouched_share or 0.0) > _UNTOUCHED and not trace.reads
    unwritten = (trace.untouched_output_share or 0.0) > _UNTOUCHED_OUTPUTS and not trace.writes
    return trace.calls_missing or unread or unwritten


def unsupported(trace: TraceProfile, workload: Workload) -> str | None:
    """Return why an incomplete trace cannot support a workload, or None."""
    if calls_are_missing(trace):
        return "Calls that move data are missing, so that no share of the bytes is known."
    if workload == "read-once" and gaps(trace):
        return "So far it is a single pass, which may be the first of several: the end of the run would say."
    if workload == "mixed" and gaps(trace):
        return "So far it is a mixture, which the rest of the run may tip to any side."
    return None


def what_decides(trace: TraceProfile, best: Workload, second: Workload) -> str:
    """Return what a user can do to decide between the two likeliest workloads, as a note."""
    asked, told = {best, second}, []
    if "re-read-heavy" in asked and (trace.epochs or 1.0) < _SECOND_PASS:
        seen = "" if not trace.coverage else f" (so far it shows {percent(min(1.0, trace.coverage))} of the dataset)"
        told.append(f"record past the first epoch: from the second on, bytes are read again{seen}")
    elif "write-heavy" in asked:
        told.append("record until the run has written its results")
    else:
        told.append("record a longer part of the run")
    if trace.coverage is None and "re-read-heavy" in asked and trace.level in {"application", "file"}:
        told.append("name the dataset with --dataset, which shows how much of it is read")
    hides_programs = trace.evidence is None or trace.evidence.process_kinds is None
    if hides_programs and trace.level in {"application", "file"}:
        told.append("record the program from its start (tiering trace), which shows the libraries that it loads")
    first, *others = told
    return f"What would decide: {first}" + "".join(f"; or {each}" for each in others) + "."


def too_little(trace: TraceProfile) -> str | None:
    """Return why there is too little data for a verdict, or None."""
    moved = trace.bytes_read + trace.bytes_written
    if not (moved or trace.mapped_bytes):
        return "No data was read, written or mapped: there is nothing to judge by."
    if moved + trace.mapped_bytes < FLOOR:
        return (
            f"Only {format_bytes(moved + trace.mapped_bytes)} of data was moved or mapped: below {format_bytes(FLOOR)} "
            "there is no verdict."
        )
    if trace.excluded_bytes > DWARFED * (moved + trace.mapped_bytes):
        return (
            f"{format_bytes(trace.excluded_bytes)} of programs, libraries, pipes and sockets were left out of account, "
            f"over {DWARFED} times the {format_bytes(moved + trace.mapped_bytes)} of data that are left: there is no "
            "verdict on so small a part."
        )
    return None


def unplaced(trace: TraceProfile) -> str | None:
    """Return why the workload depends on unknown positions of reads, or None."""
    labels = possible_labels(trace)
    if len(labels) == 1:
        return None
    moved = trace.bytes_read + trace.bytes_written
    if trace.bytes_mapped_unsure > trace.bytes_unplaced:
        more = (
            "Accessed bits show no more: `tiering.Loader(trace=...)` records each read."
            if trace.mapped_seen
            else "Watch it with `warm_maps`."
        )
        return (
            f"{format_bytes(trace.bytes_mapped_unsure)} of mapped files beyond the {format_bytes(moved)} in the trace "
            f"were perhaps read, so that it is {' or '.join(labels)}. {more}"
        )
    most = min(trace.bytes_read, trace.bytes_reread + trace.bytes_unplaced) / moved
    unknown = percent(trace.bytes_unplaced / trace.bytes_read)
    return (
        f"The trace does not show where {unknown} of the bytes read are: between {percent(trace.reread_share)} and "
        f"{percent(most)} of all bytes may have been read again, so that it is {' or '.join(labels)}."
    )


def near(trace: TraceProfile) -> Iterator[str]:
    """Return a note for each share near a threshold of the definition, with the workloads on its two sides."""
    once = 1 - trace.reread_share - trace.write_share
    for share, what, bound, name in (
        (trace.reread_share, "Bytes read again", MAJORITY, "re-read-heavy"),
        (trace.write_share, "Written bytes", MAJORITY, "write-heavy"),
        (once, "Bytes read for the first time", SINGLE_PASS, "read-once"),
    ):
        if abs(share - bound) <= NEAR:
            yield (
                f"{what} are {percent(share)} of the bytes, near a threshold: above {percent(bound)} a run is {name}, "
                "below it is mixed."
            )
