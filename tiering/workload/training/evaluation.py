"""How well the classifier judges families and programs that it has not seen: figures, reliability, and tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from tiering.progress import Progress, begin_step, no_progress
from tiering.workload.classifier import Model
from tiering.workload.features import FEATURE_NAMES, PROCESS_FEATURES
from tiering.workload.label import WORKLOADS
from tiering.workload.training.corpus import CUT, MISLEADING
from tiering.workload.training.cross_validation import Judged, Probabilities, Variants, cross_judged, votes
from tiering.workload.training.reliability import Bin, bins, calibration_error
from tiering.workload.training.table import Table, unlisted, without_evidence

#: From this share of the bytes on, an example counts as one of programs of a kind.
_OF_KIND: Final = 0.5
#: The figures without evidence begin with this.
WITHOUT: Final = "bytes_"


@dataclass(frozen=True, slots=True)
class FamilyRow:
    """A family or a recorded program that was held out: examples, those with a verdict, and with a wrong one."""

    family: str
    workload: str
    examples: int
    answered: int
    wrong: int


@dataclass(frozen=True, slots=True)
class KindRow:
    """Examples whose bytes are mostly moved by programs of a kind, and the share whose likeliest workload is right.

    kind: one of features.PROCESS_FEATURES. without: if the trace shows nothing of programs and names. known: as it is.
    unlisted: if no table lists the names of this kind. wrong: wrong verdicts if unlisted.
    """

    kind: str
    examples: int
    without: float
    known: float
    unlisted: float
    wrong: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of a cross-validation.

    Attributes:
        figures: By name; evaluate_model describes them.
        reliability: The forecasts in ten bins of their probability; empty ones are left out.
        without: The same if traces show no evidence of programs and names.
        families: A row for each family and recorded program.
        kinds: A row for each kind of program.
    """

    figures: dict[str, float]
    reliability: list[Bin]
    without: list[Bin]
    families: list[FamilyRow]
    kinds: list[KindRow]


def evaluated(
    table: Table,
    fit: Callable[[Table], Model],
    cast: dict[str, Probabilities] | None = None,
    *,
    progress: Progress = no_progress,
) -> Evaluation:
    """Cross-validate. cast: the votes of the held-out forests on the vectors and on variants(), if they are known.

    progress: as for votes, and then called with the forms of the vectors that were judged, all of them, and 0.
    """
    known = votes(table, fit, variants(), progress=progress) if cast is None else cast
    by_kind = _by_kind(table, fit, known[""], progress)
    begin_step(progress, "judging", "forms of the traces")
    progress(0, len(known), 0)
    judged: dict[str, Judged] = {}
    for form in known:
        judged[form] = cross_judged(table, known[""], known[form])
        progress(len(judged), len(known), 0)
    with_evidence, without = judged[""], judged["none"]
    figures = _figures(table, with_evidence)
    figures |= {f"{WITHOUT}{name}": value for name, value in _figures(table, without).items() if "rule" not in name}
    for part in _in_order(table.parts):
        chosen = (table.parts == part) & ~table.real
        if chosen.any():
            figures[f"unlisted_f1_{part}"] = _f1(table.workloads[chosen], judged["all"].best[chosen])
    figures |= by_kind
    return Evaluation(
        figures={name: round(float(value), 3) for name, value in figures.items()},
        reliability=_reliability(table, with_evidence),
        without=_reliability(table, without),
        families=_families(table, with_evidence),
        kinds=[_kind(table, kind, without, with_evidence, judged[kind]) for kind in PROCESS_FEATURES],
    )


def _by_kind(table: Table, fit: Callable[[Table], Model], cast: Probabilities, progress: Progress) -> dict[str, float]:
    """Judge recorded programs by a model without any program of their kind."""
    has_kind = table.kinds != ""
    if not has_kind.any():
        return {}
    apart = np.where(has_kind[:, None], votes(table, fit, held_out=table.kinds, progress=progress)[""], cast)
    return _recorded("kind", table, cross_judged(table, cast, apart), has_kind)


def variants() -> Variants:
    """Return forms of the vectors in which the table of names lists one kind less, or none ("all").

    In one more form the trace shows nothing of programs and names ("none").
    """

    def all_unlisted(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        for kind in PROCESS_FEATURES:
            vectors = unlisted(vectors, kind)
        return vectors

    return {
        **{kind: partial(unlisted, kind=kind) for kind in PROCESS_FEATURES},
        "all": all_unlisted,
        "none": without_evidence,
    }


def _figures(table: Table, found: Judged) -> dict[str, float]:
    right = found.best == table.workloads
    counted = found.answered & ~table.real
    misleading = np.isin(table.families, list(MISLEADING))
    figures: dict[str, float] = {
        "answered": _share(counted, ~table.real),
        "accuracy": _share(right & counted, counted),
        "calibration_error": calibration_error(_reliability(table, found)),
    }
    if misleading.any():
        figures["misleading_answered"] = (found.answered & misleading).sum()
        figures["misleading_wrong"] = (found.answered & misleading & ~right).sum()
    for part in _in_order(table.parts):
        chosen = (table.parts == part) & ~table.real
        if chosen.any():
            truth = table.workloads[chosen]
            figures[f"f1_{part}"] = _f1(truth, found.best[chosen])
            figures[f"rule_{part}"] = _f1(truth, table.rule[chosen])
            figures[f"answered_{part}"] = _share(counted & chosen, chosen)
            figures[f"accuracy_{part}"] = _share(right & counted & chosen, counted & chosen)
    return figures | _recorded("recorded", table, found, table.real)


def _recorded(name: str, table: Table, found: Judged, judged: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Count recorded runs, verdicts on them, and wrong ones. name: begins each figure. judged: the rows that count."""
    figures: dict[str, float] = {}
    wrong = found.answered & (found.best != table.workloads)
    for part in _in_order(table.parts[judged]):
        chosen = (table.parts == part) & judged
        figures[f"{name}_{part}"] = chosen.sum()
        figures[f"{name}_answered_{part}"] = (chosen & found.answered).sum()
        figures[f"{name}_wrong_{part}"] = (chosen & wrong).sum()
        figures[f"{name}_rule_wrong_{part}"] = (chosen & (table.rule != table.workloads)).sum()
    return figures


def _f1(truth: npt.NDArray[np.int64], found: npt.NDArray[np.int64]) -> float:
    from sklearn.metrics import f1_score  # noqa: PLC0415

    return float(f1_score(truth, found, average="macro"))


def _share(part: npt.NDArray[np.bool_], whole: npt.NDArray[np.bool_]) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else math.nan


def _in_order(parts: npt.NDArray[np.str_]) -> list[str]:
    """Return the names of the parts: the whole first, then the beginnings by size, then runs that were cut."""
    names = set(parts.tolist())
    return [each for each in ("whole", *sorted(names - {"whole", *CUT}, key=float), *CUT) if each in names]


def _reliability(table: Table, found: Judged) -> list[Bin]:
    return bins(found.sure[found.forecast], (found.best == table.workloads)[found.forecast])


def _families(table: Table, found: Judged) -> list[FamilyRow]:
    wrong = found.answered & (found.best != table.workloads)
    made = []
    for family in np.unique(table.families):
        mine = table.families == family
        workloads = [WORKLOADS[each] for each in np.unique(table.workloads[mine])]
        counts = (int((each & mine).sum()) for each in (mine, found.answered, wrong))
        made.append(FamilyRow(str(family), ", ".join(workloads), *counts))
    return made


def _kind(table: Table, kind: str, without: Judged, known: Judged, hidden: Judged) -> KindRow:
    mine = table.vectors[:, FEATURE_NAMES.index(kind)] >= _OF_KIND
    mine &= known.forecast
    bare, seen, unseen = (_share((each.best == table.workloads) & mine, mine) for each in (without, known, hidden))
    wrong = hidden.answered & mine & (hidden.best != table.workloads)
    return KindRow(kind, int(mine.sum()), bare, seen, unseen, int(wrong.sum()))
