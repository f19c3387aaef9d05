"""Train the workload model, and cross-validate it on families of programs that it has not seen.

`python -m tiering.workload.training.train [FILE]` makes the model that ships; without FILE it replaces workload.skops.
It takes a few minutes. The file keeps the figures of the cross-validation, which docs/reference/model.md repeats.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tiering.workload import classifier
from tiering.workload.classifier import Model
from tiering.workload.features import features
from tiering.workload.label import WORKLOADS, label
from tiering.workload.training.corpus import RECORDED, Example, examples, recorded
from tiering.workload.verdict import is_decided, judge, moves_data, no_ground

_TREES = 100
_LEAF = 6
#: Many trees with large leaves are less sure than they could be. Of the least loss in cross-validation by family.
_TEMPERATURE = 0.87


@dataclass(frozen=True, slots=True)
class _Table:
    """The corpus in columns: vectors, workloads (positions in WORKLOADS), families, parts, the plain rule, real ones.

    traces: profiles, of which a whole run's is marked as one.
    """

    vectors: npt.NDArray[np.float64]
    workloads: npt.NDArray[np.int64]
    families: npt.NDArray[np.str_]
    parts: npt.NDArray[np.str_]
    rule: npt.NDArray[np.int64]
    real: npt.NDArray[np.bool_]
    traces: npt.NDArray[np.object_]

    def only(self, rows: npt.NDArray[np.bool_]) -> _Table:
        """Return some of the examples."""
        return _Table(*(getattr(self, column.name)[rows] for column in fields(self)))


def train_model(
    seed: int = 0,
    corpus: Sequence[Example] | None = None,
    *,
    measure: bool = True,
) -> Model:
    """Train a model on the corpus of that seed and the recorded runs, or on the examples given.

    measure: also cross-validate, for Model.figures. The same seed and versions give the same model.
    """
    table = _columns(corpus, seed)
    return replace(_fitted(table, seed), figures=_figures(table, seed) if measure else {})


def evaluate_model(seed: int = 0, corpus: Sequence[Example] | None = None) -> dict[str, float]:
    """Judge every example by a model that was trained without its family or program.

    Returns figures for each part ("whole", and the shares of the first epoch): f1_* is macro F1 over the four
    workloads on generated runs, rule_* that of the plain rule, which applies the definition of the label to
    what the trace shows; answered_* the share of examples with a verdict other than inconclusive, accuracy_* the
    share of these that are right, and answered and accuracy the same over all parts. Verdicts are given and held back
    as tiering.workload.verdict does it: a whole run is judged as one that is known to be whole, and one that moves too
    little gets none. calibration_error: expected calibration error
    over ten bins (Guo et al., ICML 2017) of all forecasts. recorded_*: the recorded runs, how many got a verdict, and
    how many a wrong one, of the model and of the plain rule.
    """
    return _figures(_columns(corpus, seed), seed)


def _columns(corpus: Sequence[Example] | None, seed: int) -> _Table:
    given = [*examples(seed), *recorded()] if corpus is None else corpus
    made = [each for each in given if moves_data(each.trace)]
    moved = [(each.trace.bytes_read, each.trace.bytes_written, each.trace.bytes_reread) for each in made]
    return _Table(
        vectors=np.array([features(each.trace) for each in made]),
        workloads=np.array([WORKLOADS.index(each.workload) for each in made]),
        families=np.array([each.family for each in made]),
        parts=np.array([each.part for each in made]),
        rule=np.array([WORKLOADS.index(label(*each)) for each in moved]),
        real=np.array([each.family.startswith(RECORDED) for each in made]),
        traces=np.array([each.trace.model_copy(update={"whole": each.part == "whole"}) for each in made], object),
    )


def _fitted(table: _Table, seed: int) -> Model:
    """Fit a forest.

    Extremely randomised trees (Geurts, Ernst and Wehenkel, 2006) did better in grouped cross-validation than histogram
    gradient boosting, a random forest and logistic regression. Large leaves do better on beginnings, and are less sure,
    which one temperature makes up for. Platt's sigmoid and isotonic regression, with more to fit, do not
    carry over from families that were held out to others.
    """
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415

    forest = ExtraTreesClassifier(
        _TREES, min_samples_leaf=_LEAF, max_features=0.5, class_weight="balanced", random_state=seed
    )
    forest.fit(table.vectors, table.workloads)
    return Model(forest, np.nanmedian(table.vectors, axis=0), _TEMPERATURE)


def _figures(table: _Table, seed: int) -> dict[str, float]:
    from sklearn.metrics import f1_score  # noqa: PLC0415

    found = np.zeros((len(table.workloads), len(WORKLOADS)))
    for family in np.unique(table.families):
        unknown = table.families == family
        found[unknown] = _fitted(table.only(~unknown), seed).probabilities(table.vectors[unknown])
    judged = [judge(trace, chances) for trace, chances in zip(table.traces, found, strict=True)]
    best = np.array([each.best for each in judged])
    sure = np.array([each.sure for each in judged])
    grounds = [no_ground(trace) is None for trace in table.traces]
    answered = np.array([each.given for each in judged]) & np.array(grounds)
    forecast = np.array([not is_decided(trace) for trace in table.traces])
    right = best == table.workloads
    given = answered & ~table.real
    figures = {
        "answered": given.sum() / (~table.real).sum(),
        "accuracy": right[given].mean() if given.any() else math.nan,
        "calibration_error": _calibration_error(sure[forecast], right[forecast]),
    }
    for name in _in_order(table.parts):
        chosen = (table.parts == name) & ~table.real
        if not chosen.any():
            continue
        given = answered & chosen
        truth = table.workloads[chosen]
        figures[f"f1_{name}"] = f1_score(truth, best[chosen], average="macro")
        figures[f"rule_{name}"] = f1_score(truth, table.rule[chosen], average="macro")
        figures[f"answered_{name}"] = given.sum() / chosen.sum()
        figures[f"accuracy_{name}"] = right[given].mean() if given.any() else math.nan
    for name in _in_order(table.parts[table.real]):
        chosen = (table.parts == name) & table.real
        figures[f"recorded_{name}"] = chosen.sum()
        figures[f"recorded_answered_{name}"] = (chosen & answered).sum()
        figures[f"recorded_wrong_{name}"] = (chosen & answered & ~right).sum()
        figures[f"recorded_rule_wrong_{name}"] = (chosen & (table.rule != table.workloads)).sum()
    return {name: round(float(value), 3) for name, value in figures.items()}


def _in_order(parts: npt.NDArray[np.str_]) -> list[str]:
    """Name the parts there are: the whole first, then from the smallest."""
    return sorted(set(parts.tolist()), key=lambda part: 0.0 if part == "whole" else float(part))


def _calibration_error(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    bins = np.minimum((sure * 10).astype(np.int64), 9)
    gaps = [abs(sure[bins == each].mean() - right[bins == each].mean()) * (bins == each).mean() for each in set(bins)]
    return float(sum(gaps))


def main(arguments: list[str]) -> None:
    """Train on the corpus of seed 0 and write the model."""
    target = Path(arguments[0]) if arguments else Path(classifier.__file__).with_name(classifier.SHIPPED)
    classifier.save_model(train_model(seed=0), target)


if __name__ == "__main__":
    main(sys.argv[1:])
