"""Train the workload model, and cross-validate it on families of programs that it has not seen.

`python -m tiering.workload.training.train [FILE]` makes the model that ships; without FILE it replaces workload.skops.
It takes a few minutes. The file keeps the figures of the cross-validation, which docs/reference/model.md repeats.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tiering.progress import Progress, begin_step, no_progress
from tiering.workload import classifier
from tiering.workload.classifier import Model
from tiering.workload.forest import trained
from tiering.workload.training.corpus import GENERATED, Example, examples, recorded
from tiering.workload.training.cross_validation import calibrated, votes
from tiering.workload.training.evaluation import Evaluation, evaluated, variants
from tiering.workload.training.table import Table, columns, without_evidence

_TREES = 90
#: Every example is there twice, so this is eight examples.
_LEAF = 16
#: What an example weighs without its evidence of who reads.
_HIDDEN = 0.3
_FEATURES = 0.3


def train_model(
    seed: int = 0,
    corpus: Sequence[Example] | None = None,
    *,
    own: Sequence[Example] = (),
    measure: bool = True,
    progress: Progress = no_progress,
) -> Model:
    """Train a model on generated and recorded runs. The same seed, traces and versions give the same model.

    Args:
        seed: Seed of the corpus and of the training.
        corpus: The examples; by default the generated corpus of that seed and the recorded runs.
        own: Further examples, such as `own_examples` of a directory.
        measure: Also cross-validate, for Model.figures, and choose the thresholds and the temperature by that.
        progress: Called with the examples that were generated, all of them, and 0; then, if this
            cross-validates, with the families that were held out, all of them, and 0, and so on.

    Returns:
        The model, for `classify` or `save_model`.
    """
    if measure:
        return trained_and_evaluated(seed, corpus, own=own, progress=progress)[0]
    return _fitted(_table(corpus, seed, own, progress), seed)


def trained_and_evaluated(
    seed: int = 0,
    corpus: Sequence[Example] | None = None,
    *,
    own: Sequence[Example] = (),
    progress: Progress = no_progress,
) -> tuple[Model, Evaluation]:
    """Train a model as train_model does, and return its evaluation, too. Takes a few minutes."""
    table = _table(corpus, seed, own, progress)
    fit = partial(_fitted, seed=seed)
    cast = votes(table, fit, variants(), progress=progress)
    found = evaluated(table, fit, cast, progress=progress)
    suits = calibrated(table, cast[""])
    forest = fit(table)
    return Model(forest.estimator, forest.medians, suits.temperature, suits.thresholds, found.figures), found


def evaluate_model(
    seed: int = 0,
    corpus: Sequence[Example] | None = None,
    *,
    own: Sequence[Example] = (),
    progress: Progress = no_progress,
) -> dict[str, float]:
    """Cross-validate: judge every example by a model that was trained without its family or program.

    Verdicts are given or withheld as in tiering.workload.verdict: a whole run is judged as one that is known to be
    whole, and one that moves too little gets no verdict. Temperature and thresholds suit other families than those
    that are judged.

    Args:
        seed: Seed of the corpus and of the training.
        corpus: The examples; by default the generated corpus of that seed and the recorded runs.
        own: Further examples, such as `own_examples` of a directory.
        progress: As for train_model.

    Returns:
        Figures by name, for each part ("whole", and the shares of the first epoch). On generated runs: f1_* is macro F1
        over the four workloads, and rule_* that of the plain rule, which applies the definition of the label to the
        trace. answered_* is the share of examples with a verdict other than inconclusive, and accuracy_* the share of
        these that are right; answered and accuracy are the same over all parts. calibration_error is the expected
        calibration error over ten bins (Guo et al., ICML 2017) of all forecasts. recorded_* are the number of recorded
        runs, of those with a verdict, and of those with a wrong one, by the model and by the plain rule. misleading_*
        count verdicts, and wrong ones, on the families that were made to mislead. All of these begin with bytes_ for
        the same traces without what they show of programs and names. unlisted_f1_* is macro F1 if the table of names
        lists no program and no library. kind_* are recorded_* where all programs of a kind are held out together.
    """
    return evaluate(seed, corpus, own=own, progress=progress).figures


def evaluate(
    seed: int = 0,
    corpus: Sequence[Example] | None = None,
    *,
    own: Sequence[Example] = (),
    progress: Progress = no_progress,
) -> Evaluation:
    """Cross-validate as evaluate_model does, and return all results."""
    table = _table(corpus, seed, own, progress)
    return evaluated(table, partial(_fitted, seed=seed), progress=progress)


def _table(corpus: Sequence[Example] | None, seed: int, own: Sequence[Example], progress: Progress) -> Table:
    """Put the examples into columns. The corpus of a seed is made meanwhile: generated runs, then recorded ones."""
    real = [*recorded(), *own] if corpus is None else own
    made: Iterable[Example] = examples(seed) if corpus is None else corpus
    begin_step(progress, "generating", "examples")
    return columns(_told(chain(made, real), (GENERATED if corpus is None else len(corpus)) + len(real), progress))


def _told(every: Iterable[Example], of: int, progress: Progress) -> Iterator[Example]:
    """Yield examples, and report each."""
    progress(0, of, 0)
    for number, each in enumerate(every, 1):
        yield each
        progress(number, of, 0)


def _fitted(table: Table, seed: int) -> Model:
    """Fit a forest to each example as it is, and with less weight to the same example without its evidence.

    So a trace without names is judged about as well as by a model that knows none. Without these copies, macro F1 on
    beginnings without names is 0.04 to 0.05 lower.

    Extremely randomised trees (Geurts, Ernst and Wehenkel, 2006) did better in grouped cross-validation than histogram
    gradient boosting, a random forest and logistic regression. Large leaves do better on beginnings and are less
    confident, which one temperature compensates. Platt's sigmoid and isotonic regression have more parameters and do
    not generalise from held-out families to others.
    """
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415

    forest = ExtraTreesClassifier(
        _TREES, min_samples_leaf=_LEAF, max_features=_FEATURES, class_weight="balanced", random_state=seed
    )
    vectors = np.vstack([table.vectors, without_evidence(table.vectors)])
    forest.fit(vectors, np.tile(table.workloads, 2), np.repeat([1.0, _HIDDEN], len(table.workloads)))
    return Model(trained(forest), np.array([_median(column) for column in table.vectors.T]))


def _median(values: npt.NDArray[np.float64]) -> float:
    """Return the median of the values that are known; NaN if none is."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else math.nan


def main(arguments: list[str]) -> None:
    """Train on the corpus of seed 0 and write the model."""
    target = Path(arguments[0]) if arguments else Path(classifier.__file__).with_name(classifier.SHIPPED)
    classifier.save_model(train_model(seed=0), target)


if __name__ == "__main__":
    main(sys.argv[1:])
