"""The features by which a trace is judged: shares, ratios and logarithms, independent of the run's length."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tiering.trace.program_evidence import ProgramEvidence
from tiering.workload.label import Workload, label

if TYPE_CHECKING:
    from tiering.trace.trace_profile import TraceProfile

#: Names of the features that describe what is read and written.
BYTE_FEATURES: tuple[str, ...] = (
    "reread_share",
    "write_share",
    "shared_share",
    "mapped_share",
    "epochs",
    "coverage",
    "opens_per_file",
    "reopened_share",
    "whole_file_share",
    "read_only_files",
    "write_only_files",
    "read_write_files",
    "sequentiality",
    "order_randomness",
    "file_size",
    "read_size",
    "write_size",
    "write_call_share",
    "file_coverage",
    "unrepeated",
)

#: Features that describe who reads (tiering.trace.program_evidence), with the kinds of programs and libraries of each.
#: Kinds that mean much the same count together, so that a name missing in the table matters less.
PROCESS_FEATURES: dict[str, tuple[str, ...]] = {
    "framework": ("deep_learning",),
    "inference_engine": ("inference",),
    "accelerator": ("accelerator",),
    "image_decoder": ("image_decoder",),
    "sample_loader": ("sample_loader",),
    "data_tools": ("table", "array"),
    "databases": ("database", "key_value"),
    "serving": ("web_server", "file_server"),
    "copying": ("archive", "copy", "backup"),
    "scanning": ("scanner", "version_control"),
    "compiling": ("compiler",),
    "media_tools": ("media",),
    "parallel_computing": ("mpi",),
    "interpreted": ("interpreter",),
    "logging": ("log",),
}

#: The same for kinds of files.
FILE_FEATURES: dict[str, tuple[str, ...]] = {
    "image_files": ("image",),
    "archive_files": ("archive", "image_of_disk"),
    "record_files": ("records",),
    "table_files": ("table",),
    "text_files": ("text", "document"),
    "database_files": ("database",),
    "media_files": ("media",),
}

#: All features that need evidence.
EVIDENCE_FEATURES: tuple[str, ...] = (
    *PROCESS_FEATURES,
    "unnamed_programs",
    "readers_alike",
    *FILE_FEATURES,
    "class_folders",
    "alike_names",
    "largest_file",
    "checkpoint_share",
    "checkpoints",
    "renamed_share",
    "training_split",
    "validation_split",
    "validation_between",
    "burst_spread",
    "interval_spread",
    "idle_share",
)

#: Names of the features, in the order of the vector.
FEATURE_NAMES: tuple[str, ...] = (*BYTE_FEATURES, *EVIDENCE_FEATURES)

#: How often a run may touch a mapping: the number of epochs of a long training.
_TOUCHES = 100


def features(trace: TraceProfile) -> npt.NDArray[np.float64]:
    """Return the feature vector of a trace, float64 (len(FEATURE_NAMES),), in the order of FEATURE_NAMES.

    Features that the trace does not show are NaN: coverage without a known dataset, everything about opens without
    traced opens, everything about reads without reads, and everything about the positions of reads if they are unknown.
    file_size, read_size and write_size are log10 of bytes. mapped_share is mapped / (mapped + moved) bytes. unrepeated
    is the share of the bytes read that uniform draws with replacement would have read again by now, minus the actual
    share: it is above 0 if each byte is drawn once, as in an epoch. Evidence of who reads is NaN where the trace shows
    none. The others are those of TraceProfile.
    """
    moved = trace.bytes_read + trace.bytes_written
    opened, read = bool(trace.opens), trace.bytes_read > 0
    placed = read and trace.is_placed
    bounded = len(possible_labels(trace)) == 1
    unseen = trace.bytes_mapped_unseen
    values: dict[str, float | None] = {
        "reread_share": trace.reread_share if moved and bounded else math.nan,
        "write_share": trace.write_share if moved else math.nan,
        "shared_share": trace.bytes_shared / moved
        if moved and trace.is_placed and trace.bytes_shared is not None
        else None,
        "mapped_share": unseen / (unseen + moved) if unseen else 0.0,
        "epochs": trace.epochs if read and bounded else math.nan,
        # with a coverage of 0, the trace does not concern that dataset
        "coverage": trace.coverage or math.nan,
        "opens_per_file": trace.opens_per_file if opened else math.nan,
        "reopened_share": trace.reopened_share if opened else math.nan,
        "whole_file_share": trace.whole_file_share if opened and trace.is_placed else math.nan,
        "read_only_files": trace.read_only_files,
        "write_only_files": trace.write_only_files,
        "read_write_files": trace.read_write_files,
        "sequentiality": math.nan if trace.sequentiality is None or not read else trace.sequentiality,
        "order_randomness": trace.order_randomness if read else math.nan,
        "file_size": _log(trace.file_size_mean) if placed and trace.file_size_mean is not None else None,
        "read_size": _log(trace.bytes_read / max(1, trace.reads)) if read else math.nan,
        "write_size": _log(trace.bytes_written / max(1, trace.writes)) if trace.bytes_written else math.nan,
        "write_call_share": trace.writes / max(1, trace.reads + trace.writes),
        # 0 with reads is a profile of before this was counted
        "file_coverage": (trace.file_coverage or math.nan) if placed else math.nan,
        "unrepeated": _unrepeated(trace) if placed else math.nan,
    }
    values |= _evidence_features(trace.evidence or ProgramEvidence())
    return np.array([math.nan if (value := values[name]) is None else value for name in FEATURE_NAMES])


def _evidence_features(found: ProgramEvidence) -> dict[str, float]:
    """Return the EVIDENCE_FEATURES. A kind of library that no process has is 0; without knowledge of any, it is NaN."""
    values = {
        "unnamed_programs": _known(found.unnamed),
        # log2, since the second worker tells more than the ninth
        "readers_alike": math.nan if found.alike is None else math.log2(max(1, found.alike)),
        "class_folders": _known(found.class_folders),
        "alike_names": _known(found.alike_names),
        "largest_file": _known(found.largest_file),
        "checkpoint_share": _known(found.checkpoint_share),
        "checkpoints": math.nan if found.checkpoints is None else math.log2(1 + found.checkpoints),
        "renamed_share": _known(found.renamed_share),
        "training_split": math.nan if found.splits is None else found.splits.get("training", 0.0),
        "validation_split": math.nan if found.splits is None else found.splits.get("validation", 0.0),
        "validation_between": _known(found.validation_between),
        "burst_spread": _known(found.burst_spread),
        "interval_spread": _known(found.interval_spread),
        "idle_share": _known(found.idle_share),
    }
    for table, kinds in ((PROCESS_FEATURES, found.process_kinds), (FILE_FEATURES, found.file_kinds)):
        for name, counted in table.items():
            values[name] = math.nan if kinds is None else max(kinds.get(kind, 0.0) for kind in counted)
    return values


def _known(value: float | None) -> float:
    return math.nan if value is None else float(value)


def possible_labels(trace: TraceProfile) -> list[Workload]:
    """Return the workloads that the trace can be: several if reads at unknown positions decide."""
    least, most = trace.bytes_reread, min(trace.bytes_read, trace.bytes_reread + trace.bytes_unplaced)
    # With more re-read bytes, the label goes from read-once over mixed to re-read-heavy, and never back.
    bounds = [(trace.bytes_read, each) for each in (least, (least + most) // 2, most)]
    # Bytes of mapped files that were perhaps read: for the first time, or again.
    unsure = trace.bytes_mapped_unsure
    new = unsure if trace.bytes_mapped_unread is None else min(unsure, trace.bytes_mapped_unread)
    if unsure:
        bounds += [(trace.bytes_read + new, least), (trace.bytes_read + unsure, least + unsure - new)]
        bounds += [(trace.bytes_read + unsure, most + unsure)]
    return list(dict.fromkeys(label(read, trace.bytes_written, again) for read, again in bounds))


def mapping_decides(trace: TraceProfile) -> bool:
    """Return whether the workload depends on how often the mapped bytes were touched, which no tracer sees.

    The bounds of each workload are planes, so a label that holds at the corners of the possible region holds
    everywhere. The corners are: no touch; one touch of bytes that were not read before; and many touches of bytes that
    were not, or that were. Where first touches are among the reads, the others touch bytes that were read.
    """
    once, often = trace.bytes_mapped_unseen, _TOUCHES * trace.bytes_mapped_unseen
    corners = [(0, 0), (often, often)]
    if not trace.mapped_once_seen:
        corners += [(once, 0), (often, often - once)]
    most = min(trace.bytes_read, trace.bytes_reread + trace.bytes_unplaced)
    found = {
        label(trace.bytes_read + read, trace.bytes_written, reread + again)
        for read, again in corners
        for reread in (trace.bytes_reread, most)
    }
    return len(found) > 1


def _log(size: float) -> float:
    return math.log10(max(size, 1.0))


def _unrepeated(trace: TraceProfile) -> float:
    """Compare with n draws out of N: a share of 1 - exp(-n/N) is expected to be drawn at least once."""
    covered = min(trace.file_coverage or 0.0, 0.999)
    if covered == 0:
        return math.nan
    return 1 + covered / math.log1p(-covered) - trace.bytes_reread / trace.bytes_read
