"""The corpus in columns, as training and cross-validation use it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from tiering.workload.features import BYTE_FEATURES, FEATURE_NAMES, PROCESS_FEATURES, features
from tiering.workload.label import WORKLOADS, label
from tiering.workload.training.corpus import OWN, RECORDED, Example
from tiering.workload.verdict import moves_data


@dataclass(frozen=True, slots=True)
class Table:
    """Examples, a row each.

    Attributes:
        vectors: Their features, float64 (n, len(FEATURE_NAMES)).
        workloads: Positions in WORKLOADS, int64 (n,).
        families: The names of families and programs.
        kinds: The kinds of recorded programs; "" for generated runs.
        parts: The part of the run that each covers.
        rule: What the plain rule says: positions in WORKLOADS.
        real: Whether the run was recorded, by us or by the user.
        traces: The profiles. That of a whole run is marked as one.
    """

    vectors: npt.NDArray[np.float64]
    workloads: npt.NDArray[np.int64]
    families: npt.NDArray[np.str_]
    kinds: npt.NDArray[np.str_]
    parts: npt.NDArray[np.str_]
    rule: npt.NDArray[np.int64]
    real: npt.NDArray[np.bool_]
    traces: npt.NDArray[np.object_]

    def only(self, rows: npt.NDArray[np.bool_]) -> Table:
        """Return some of the examples."""
        return Table(*(getattr(self, column.name)[rows] for column in fields(self)))


def columns(examples: Iterable[Example]) -> Table:
    """Put examples that move data into columns."""
    made = [each for each in examples if moves_data(each.trace)]
    moved = [(each.trace.bytes_read, each.trace.bytes_written, each.trace.bytes_reread) for each in made]
    return Table(
        vectors=np.array([features(each.trace) for each in made]),
        workloads=np.array([WORKLOADS.index(each.workload) for each in made]),
        families=np.array([each.family for each in made]),
        kinds=np.array([each.kind for each in made]),
        parts=np.array([each.part for each in made]),
        rule=np.array([WORKLOADS.index(label(*each)) for each in moved]),
        real=np.array([each.family.startswith((RECORDED, OWN)) for each in made]),
        traces=np.array([each.trace.model_copy(update={"whole": each.part == "whole"}) for each in made], object),
    )


def without_evidence(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return vectors as if the traces showed nothing of programs and names."""
    changed = vectors.copy()
    changed[:, len(BYTE_FEATURES) :] = np.nan
    return changed


def unlisted(vectors: npt.NDArray[np.float64], kind: str) -> npt.NDArray[np.float64]:
    """Return vectors as if the table of names did not list a kind of programs and libraries.

    kind: one of PROCESS_FEATURES. Its processes then count as those of no known kind, unless they have another.
    """
    changed = vectors.copy()
    at = FEATURE_NAMES.index(kind)
    others = [FEATURE_NAMES.index(name) for name in PROCESS_FEATURES if name != kind]
    share = changed[:, at]
    unnamed = FEATURE_NAMES.index("unnamed_programs")
    rest = changed[:, others].max(axis=1)
    changed[:, unnamed] = np.where(share > 0, np.maximum(changed[:, unnamed], share - rest), changed[:, unnamed])
    changed[:, at] = np.where(share > 0, 0.0, share)
    return changed
