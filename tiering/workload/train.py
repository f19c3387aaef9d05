"""Training and honest testing: always on families of programs that the model has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiering.workload.corpus import Example, examples
from tiering.workload.evidence import features
from tiering.workload.forecast import Model
from tiering.workload.label import WORKLOADS, label
from tiering.workload.verdict import ABSTAIN_BELOW

_FOLDS = 5
_TREES = 100
_LEAF = 5


@dataclass(frozen=True, slots=True)
class _Table:
    """The corpus in columns: vectors, workloads (positions in WORKLOADS), families, whole runs, the plain rule."""

    vectors: npt.NDArray[np.float64]
    workloads: npt.NDArray[np.int64]
    families: npt.NDArray[np.str_]
    whole: npt.NDArray[np.bool_]
    rule: npt.NDArray[np.int64]


def train(seed: int = 0, corpus: Sequence[Example] | None = None, *, measure: bool = True) -> Model:
    """Train and calibrate a model on the corpus of that seed, or on the one given.

    measure: also cross-validate, for Model.figures. The same seed and versions give the same model.
    """
    table = _columns(list(examples(seed)) if corpus is None else corpus)
    estimator = _estimator(table, seed).fit(table.vectors, table.workloads)
    medians = np.nanmedian(table.vectors, axis=0)
    return Model(estimator, medians, _figures(table, seed) if measure else {})


def cross_validate(seed: int = 0, corpus: Sequence[Example] | None = None) -> dict[str, float]:
    """Judge every example by a model that was trained and calibrated without its family.

    Returns shares in [0, 1], for whole runs and for first parts of runs: f1_whole and f1_parts are macro F1 over
    the four workloads; rule_whole and rule_parts those of the plain rule, which applies the definition of the
    label to what the trace shows; answered_* are the shares of examples with a verdict other than inconclusive,
    and accuracy_* the shares of these that are right.
    """
    return _figures(_columns(list(examples(seed)) if corpus is None else corpus), seed)


def _columns(corpus: Sequence[Example]) -> _Table:
    rule = [label(each.trace.bytes_read, each.trace.bytes_written, each.trace.bytes_reread) for each in corpus]
    return _Table(
        vectors=np.array([features(each.trace) for each in corpus]),
        workloads=np.array([WORKLOADS.index(each.workload) for each in corpus]),
        families=np.array([each.family for each in corpus]),
        whole=np.array([each.fraction == 1.0 for each in corpus]),
        rule=np.array([WORKLOADS.index(each) for each in rule]),
    )


def _part(table: _Table, rows: npt.NDArray[np.int64]) -> _Table:
    return _Table(table.vectors[rows], table.workloads[rows], table.families[rows], table.whole[rows], table.rule[rows])


def _estimator(table: _Table, seed: int) -> Any:
    """Return an unfitted forest whose calibration sees only families that were held out.

    Extremely randomised trees (Geurts, Ernst and Wehenkel, 2006) did a little better on first parts of runs than
    a random forest and gradient boosting in grouped cross-validation, and no worse on whole runs on average.
    Platt's sigmoid (1999) keeps log-odds finite, as explanations need them.
    """
    from sklearn.calibration import CalibratedClassifierCV  # noqa: PLC0415
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415

    forest = ExtraTreesClassifier(
        _TREES, min_samples_leaf=_LEAF, max_features=0.5, class_weight="balanced", random_state=seed
    )
    return CalibratedClassifierCV(forest, method="sigmoid", cv=_splits(table, seed), ensemble=False)


def _splits(table: _Table, seed: int) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415

    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    return list(folds.split(table.vectors, table.workloads, table.families))


def _figures(table: _Table, seed: int) -> dict[str, float]:
    from sklearn.metrics import f1_score  # noqa: PLC0415

    found = np.zeros((len(table.workloads), len(WORKLOADS)))
    for known, unknown in _splits(table, seed):
        part = _part(table, known)
        found[unknown] = _estimator(part, seed).fit(part.vectors, part.workloads).predict_proba(table.vectors[unknown])
    best = found.argmax(axis=1)
    answered = found.max(axis=1) >= ABSTAIN_BELOW
    figures = {}
    for name, chosen in (("whole", table.whole), ("parts", ~table.whole)):
        right, given = table.workloads[chosen], answered & chosen
        figures[f"f1_{name}"] = f1_score(right, best[chosen], average="macro")
        figures[f"rule_{name}"] = f1_score(right, table.rule[chosen], average="macro")
        figures[f"answered_{name}"] = given.sum() / chosen.sum()
        figures[f"accuracy_{name}"] = (best == table.workloads)[given].mean()
    return {name: round(float(value), 3) for name, value in figures.items()}
