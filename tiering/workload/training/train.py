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

from tiering.progress import Progress, no_progress
from tiering.workload import classifier
from tiering.workload.classifier import Model
from tiering.workload.features import features
from tiering.workload.forest import trained
from tiering.workload.label import WORKLOADS, label
from tiering.workload.training.corpus import GENERATED, RECORDED, Example, examples, recorded
from tiering.workload.verdict import is_decided, judge, moves_data, no_ground

_TREES = 100
_LEAF = 6
#: Many trees with large leaves are underconfident. This temperature had the least loss in cross-validation by family.
_TEMPERATURE = 0.87


@dataclass(frozen=True, slots=True)
class _Table:
    """The corpus in columns: vectors, workloads (positions in WORKLOADS), families, parts, the plain rule, real runs.

    traces: the profiles. That of a whole run is marked as one.
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
    progress: Progress = no_progress,
) -> Model:
    """Train a model on generated and recorded runs. The same seed and versions give the same model.

    Args:
        seed: Seed of the corpus and of the training.
        corpus: The examples; by default the generated corpus of that seed and the recorded runs.
        measure: Also cross-validate, for Model.figures.
        progress: Called with the examples made, all of the default corpus, and 0; then with the families that were
            left out once, all of them, and 0.

    Returns:
        The model, for `classify` or `save_model`.
    """
    table = _columns(corpus, seed, progress)
    return replace(_fitted(table, seed), figures=_figures(table, seed, progress) if measure else {})


def evaluate_model(
    seed: int = 0, corpus: Sequence[Example] | None = None, progress: Progress = no_progress
) -> dict[str, float]:
    """Cross-validate: judge every example by a model that was trained without its family or program.

    Verdicts are given or withheld as in tiering.workload.verdict: a whole run is judged as one that is known to be
    whole, and one that moves too little gets no verdict.

    Args:
        seed: Seed of the corpus and of the training.
        corpus: The examples; by default the generated corpus of that seed and the recorded runs.
        progress: As for train_model.

    Returns:
        Figures by name, for each part ("whole", and the shares of the first epoch). On generated runs: f1_* is macro F1
        over the four workloads, and rule_* that of the plain rule, which applies the definition of the label to the
        trace. answered_* is the share of examples with a verdict other than inconclusive, and accuracy_* the share of
        these that are right; answered and accuracy are the same over all parts. calibration_error is the expected
        calibration error over ten bins (Guo et al., ICML 2017) of all forecasts. recorded_* are the number of recorded
        runs, of those with a verdict, and of those with a wrong one, by the model and by the plain rule.
    """
    return _figures(_columns(corpus, seed, progress), seed, progress)


def _columns(corpus: Sequence[Example] | None, seed: int, progress: Progress) -> _Table:
    every = corpus
    if every is None:
        progress(0, GENERATED, 0)
        made_up = []
        for each in examples(seed):
            made_up.append(each)
            progress(len(made_up), GENERATED, 0)
        every = [*made_up, *recorded()]
    made = [each for each in every if moves_data(each.trace)]
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
    gradient boosting, a random forest and logistic regression. Large leaves do better on beginnings and are less
    confident, which one temperature compensates. Platt's sigmoid and isotonic regression have more parameters and do
    not generalise from held-out families to others.
    """
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415

    forest = ExtraTreesClassifier(
        _TREES, min_samples_leaf=_LEAF, max_features=0.5, class_weight="balanced", random_state=seed
    )
    forest.fit(table.vectors, table.workloads)
    return Model(trained(forest), np.nanmedian(table.vectors, axis=0), _TEMPERATURE)


def _figures(table: _Table, seed: int, progress: Progress) -> dict[str, float]:
    from sklearn.metrics import f1_score  # noqa: PLC0415

    found = np.zeros((len(table.workloads), len(WORKLOADS)))
    families = np.unique(table.families)
    for done, family in enumerate(families):
        progress(done, len(families), 0)
        unknown = table.families == family
        found[unknown] = _fitted(table.only(~unknown), seed).probabilities(table.vectors[unknown])
    judged = [judge(trace, chances) for trace, chances in zip(table.traces, found, strict=True)]
    best = np.array([each.best for each in judged])
    sure = np.array([each.sure for each in judged])
    grounds = [no_ground(trace) is None for trace in table.traces]
    answered = np.array([each.conclusive for each in judged]) & np.array(grounds)
    forecast = np.array([not is_decided(trace) for trace in table.traces])
    right = best == table.workloads
    counted = answered & ~table.real
    figures = {
        "answered": counted.sum() / (~table.real).sum(),
        "accuracy": right[counted].mean() if counted.any() else math.nan,
        "calibration_error": _calibration_error(sure[forecast], right[forecast]),
    }
    for name in _in_order(table.parts):
        chosen = (table.parts == name) & ~table.real
        if not chosen.any():
            continue
        counted = answered & chosen
        truth = table.workloads[chosen]
        figures[f"f1_{name}"] = f1_score(truth, best[chosen], average="macro")
        figures[f"rule_{name}"] = f1_score(truth, table.rule[chosen], average="macro")
        figures[f"answered_{name}"] = counted.sum() / chosen.sum()
        figures[f"accuracy_{name}"] = right[counted].mean() if counted.any() else math.nan
    for name in _in_order(table.parts[table.real]):
        chosen = (table.parts == name) & table.real
        figures[f"recorded_{name}"] = chosen.sum()
        figures[f"recorded_answered_{name}"] = (chosen & answered).sum()
        figures[f"recorded_wrong_{name}"] = (chosen & answered & ~right).sum()
        figures[f"recorded_rule_wrong_{name}"] = (chosen & (table.rule != table.workloads)).sum()
    return {name: round(float(value), 3) for name, value in figures.items()}


def _in_order(parts: npt.NDArray[np.str_]) -> list[str]:
    """Return the names of the parts: the whole first, then by size."""
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
