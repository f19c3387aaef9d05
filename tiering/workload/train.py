"""Training and honest testing: always on families of programs that the model has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from tiering.workload.corpus import Example, examples
from tiering.workload.evidence import FEATURE_NAMES, features
from tiering.workload.forecast import Model
from tiering.workload.label import WORKLOADS, label
from tiering.workload.recorded import Recorded, recorded
from tiering.workload.verdict import ABSTAIN_BELOW, MAPPED_CAP

_FOLDS = 10
_CALIBRATION_FOLDS = 5
_TREES = 100
_LEAF = 5


@dataclass(frozen=True, slots=True)
class _Table:
    """The corpus in columns: vectors, workloads (positions in WORKLOADS), families, parts, the plain rule, real ones.

    mapped: most bytes are mapped, so that even a whole run has to be guessed.
    """

    vectors: npt.NDArray[np.float64]
    workloads: npt.NDArray[np.int64]
    families: npt.NDArray[np.str_]
    parts: npt.NDArray[np.str_]
    rule: npt.NDArray[np.int64]
    real: npt.NDArray[np.bool_]

    @property
    def mapped(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.vectors[:, FEATURE_NAMES.index("mapped_share")] > 0.5, np.bool_)


def train(
    seed: int = 0,
    corpus: Sequence[Example] | None = None,
    real: Sequence[Recorded] | None = None,
    *,
    measure: bool = True,
) -> Model:
    """Train and calibrate a model on the corpus of that seed and the recorded runs, or on those given.

    measure: also cross-validate, for Model.figures. The same seed and versions give the same model.
    """
    table = _columns(corpus, real, seed)
    estimator = _estimator(table, seed).fit(table.vectors, table.workloads)
    medians = np.nanmedian(table.vectors, axis=0)
    return Model(estimator, medians, _figures(table, seed) if measure else {})


def cross_validate(
    seed: int = 0, corpus: Sequence[Example] | None = None, real: Sequence[Recorded] | None = None
) -> dict[str, float]:
    """Judge every example by a model that was trained and calibrated without its family or program.

    Returns figures for each part ("whole", and the shares of the first epoch): f1_* is macro F1 over the four
    workloads on generated runs, rule_* that of the plain rule, which applies the definition of the label to
    what the trace shows; answered_* the share of examples with a verdict other than inconclusive, accuracy_* the
    share of these that are right. A whole run is judged as one that is known to be whole: by the definition, unless
    most of it is mapped. calibration_error: expected calibration error over ten bins (Guo et al., ICML 2017) of all
    forecasts. recorded_*: the recorded runs, how many got a verdict, and how many a wrong one, of the model and of the
    plain rule.
    """
    return _figures(_columns(corpus, real, seed), seed)


def _columns(corpus: Sequence[Example] | None, real: Sequence[Recorded] | None, seed: int) -> _Table:
    made = list(examples(seed)) if corpus is None else corpus
    seen = list(recorded()) if real is None and corpus is None else (real or [])
    moved = [(each.trace.bytes_read, each.trace.bytes_written, each.trace.bytes_reread) for each in made]
    moved += [each.moved for each in seen]
    names = [*(each.workload for each in made), *(each.workload for each in seen)]
    return _Table(
        vectors=np.array([*(features(each.trace) for each in made), *(each.vector for each in seen)]),
        workloads=np.array([WORKLOADS.index(name) for name in names]),
        families=np.array([*(each.family for each in made), *(f"recorded {each.program}" for each in seen)]),
        parts=np.array([*(each.part for each in made), *(each.part for each in seen)]),
        rule=np.array([WORKLOADS.index(label(*each)) for each in moved]),
        real=np.array([False] * len(made) + [True] * len(seen)),
    )


def _part(table: _Table, rows: npt.NDArray[np.int64]) -> _Table:
    return _Table(*(getattr(table, column.name)[rows] for column in fields(table)))


def _estimator(table: _Table, seed: int) -> Any:
    """Return an unfitted forest whose calibration sees only families that were held out.

    Extremely randomised trees (Geurts, Ernst and Wehenkel, 2006) did better in grouped cross-validation than histogram
    gradient boosting (macro F1 on a quarter of the first epoch 0.82 against 0.78) and a random forest.
    Platt's sigmoid (1999) keeps log-odds finite, as explanations need them.
    """
    from sklearn.calibration import CalibratedClassifierCV  # noqa: PLC0415
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415

    forest = ExtraTreesClassifier(
        _TREES, min_samples_leaf=_LEAF, max_features=0.5, class_weight="balanced", random_state=seed
    )
    return CalibratedClassifierCV(forest, method="sigmoid", cv=_splits(table, seed, _CALIBRATION_FOLDS), ensemble=False)


def _splits(table: _Table, seed: int, count: int) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415

    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    return list(folds.split(table.vectors, table.workloads, table.families))


def _figures(table: _Table, seed: int) -> dict[str, float]:
    from sklearn.metrics import f1_score  # noqa: PLC0415

    found = np.zeros((len(table.workloads), len(WORKLOADS)))
    for known, unknown in _splits(table, seed, _FOLDS):
        part = _part(table, known)
        found[unknown] = _estimator(part, seed).fit(part.vectors, part.workloads).predict_proba(table.vectors[unknown])
    decided = (table.parts == "whole") & ~table.mapped
    forecast = ~decided
    best = np.where(decided, table.rule, found.argmax(axis=1))
    held = np.where(table.mapped, MAPPED_CAP, 1.0)
    sure = np.where(decided, 1.0, np.minimum(found.max(axis=1), held))
    answered, right = sure >= ABSTAIN_BELOW, best == table.workloads
    figures = {"calibration_error": _calibration_error(sure[forecast], right[forecast])}
    for name in dict.fromkeys(table.parts.tolist()):
        chosen = (table.parts == name) & ~table.real
        if not chosen.any():
            continue
        given = answered & chosen
        truth = table.workloads[chosen]
        figures[f"f1_{name}"] = f1_score(truth, best[chosen], average="macro")
        figures[f"rule_{name}"] = f1_score(truth, table.rule[chosen], average="macro")
        figures[f"answered_{name}"] = given.sum() / chosen.sum()
        figures[f"accuracy_{name}"] = right[given].mean() if given.any() else math.nan
    for name in dict.fromkeys(table.parts[table.real].tolist()):
        chosen = (table.parts == name) & table.real
        figures[f"recorded_{name}"] = chosen.sum()
        figures[f"recorded_answered_{name}"] = (chosen & answered).sum()
        figures[f"recorded_wrong_{name}"] = (chosen & answered & ~right).sum()
        figures[f"recorded_rule_wrong_{name}"] = (chosen & (table.rule != table.workloads)).sum()
    return {name: round(float(value), 3) for name, value in figures.items()}


def _calibration_error(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    bins = np.minimum((sure * 10).astype(np.int64), 9)
    gaps = [abs(sure[bins == each].mean() - right[bins == each].mean()) * (bins == each).mean() for each in set(bins)]
    return float(sum(gaps))
