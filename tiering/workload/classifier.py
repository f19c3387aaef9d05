"""The trained model as a value, and its file: written by skops, never by pickle, and read without trusting it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.resources
import re
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tiering.errors import ModelError
from tiering.storage.output_file import output_file
from tiering.text import shown
from tiering.workload.features import BYTE_FEATURES, FEATURE_NAMES
from tiering.workload.forest import Forest, read_forest, trained, untrained
from tiering.workload.label import WORKLOADS
from tiering.workload.skops_archive import Archive, items, mapping, open_archive, plain
from tiering.workload.thresholds import Thresholds

_FORMAT, _FORMAT_VERSION = "tiering-model", 3
#: The version of before, whose models know neither evidence nor thresholds of their own.
_WITHOUT_EVIDENCE = 2
#: The model that comes with the package, beside this module.
SHIPPED = "workload.skops"
_ACTION = "Use a model that this version of tiering has made: tiering model train -o FILE"

#: Far above the 0.87 that training finds. Far beyond, all probabilities would be equal, or lost in rounding.
_MOST_TEMPERATURE = 100.0
_LEAST_THRESHOLD, _MOST_THRESHOLD = 0.5, 2.0
_FIGURE = re.compile(r"[a-z0-9_.]{1,60}")
_MOST_SAID = 300


@dataclass(frozen=True, slots=True)
class Model:
    """A classifier of feature vectors.

    Attributes:
        estimator: A classifier whose classes are the positions in WORKLOADS: a Forest, or one of scikit-learn.
        medians: The median of each feature over the corpus, without NaN, float64; a typical trace, for explanations.
        temperature: Above 0; below 1 it sharpens the estimator's probabilities (Guo et al., ICML 2017, section 4.2).
        thresholds: The probabilities from which on it gives a verdict.
        figures: Its quality on families of programs outside its training, from train.evaluate_model.
    """

    estimator: Any
    medians: npt.NDArray[np.float64]
    temperature: float = 1.0
    thresholds: Thresholds = field(default_factory=Thresholds)
    figures: dict[str, float] = field(default_factory=dict)

    def probabilities(self, vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the probability of each workload.

        vectors: float64 (n, len(FEATURE_NAMES)). Returns float64 (n, len(WORKLOADS)).
        """
        votes: npt.NDArray[np.float64] = self.estimator.predict_proba(vectors)
        return tempered(votes, self.temperature)


def tempered(votes: npt.NDArray[np.float64], temperature: float) -> npt.NDArray[np.float64]:
    """Sharpen votes (below 1) or flatten them: each to the power of 1 / temperature, over the sum. float64 (n, 4)."""
    powers = votes ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def save_model(model: Model, path: str | Path) -> None:
    """Write a model file, which appears complete or not at all.

    Args:
        model: The model, such as one from `train_model`: its estimator is a Forest, or a forest of scikit-learn.
        path: The file. An existing one is replaced.

    Raises:
        ValueError: It has more trees, nodes or levels than a model file may have.
        OSError: The file cannot be written.

    Example:
        >>> tiering.save_model(tiering.train_model(seed=1), "mine.skops")  # doctest: +SKIP
    """
    forest = model.estimator if isinstance(model.estimator, Forest) else trained(model.estimator)
    document = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "features": list(FEATURE_NAMES),
        "workloads": list(WORKLOADS),
        "estimator": untrained(forest),
        "medians": model.medians,
        "temperature": model.temperature,
        "thresholds": dataclasses.asdict(model.thresholds),
        "figures": dict(model.figures),
    }
    with output_file(path) as file:
        _skops().dump(document, file, compression=zipfile.ZIP_DEFLATED)


def load_model(path: str | Path | None = None) -> Model:
    """Read a model file, which may come from an untrusted source.

    No object that the file names is created. A new forest is made of its arrays, after they were checked.

    Args:
        path: A file that `tiering model train` wrote; None for the model that ships with tiering.

    Returns:
        The model, for `classify`.

    Raises:
        ModelError: The file is not a model, is damaged, too large or of another version, names a type outside
            TRUSTED_TYPES, or has an unsound tree.
        OSError: It cannot be read.

    Example:
        >>> load_model().figures["accuracy"] > 0.9
        True
    """
    if path is None:
        return shipped()
    try:
        archive = open_archive(path)
        return _read(archive)
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, MemoryError) as error:
        found = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise _refused(path, shown(found[:_MOST_SAID]).rstrip(".")) from error


@functools.cache
def shipped() -> Model:
    """Return the model that comes with the package. It is read once."""
    with importlib.resources.as_file(importlib.resources.files("tiering.workload") / SHIPPED) as path:
        return load_model(path)


def _read(archive: Archive) -> Model:
    """Read a model from an archive. Raises ValueError if it has none, or one of another form."""
    content = archive.content
    if (found := plain(content.get("format"))) != _FORMAT:
        raise ValueError(f"format = {found!r}")
    version = plain(content.get("format_version"))
    if version not in (_FORMAT_VERSION, _WITHOUT_EVIDENCE):
        raise ValueError(f"format_version = {version!r}")
    known = FEATURE_NAMES if version == _FORMAT_VERSION else BYTE_FEATURES
    for name, names in {"features": known, "workloads": WORKLOADS}.items():
        if [plain(each) for each in items(content.get(name))] != list(names):
            raise ValueError(f"other {name}")
    estimator = read_forest(archive, content.get("estimator"), len(known), len(WORKLOADS))
    medians = archive.array(content.get("medians"))
    if medians.dtype != np.float64 or medians.shape != (len(known),):
        raise ValueError("no median for each feature")
    # Forests compare in single precision. NaN marks a feature that no trace of the corpus has.
    if (np.abs(medians) > np.finfo(np.float32).max).any():
        raise ValueError("a median beyond single precision")
    if version == _WITHOUT_EVIDENCE:
        # Its trees test the first features alone.
        estimator = dataclasses.replace(estimator, features=len(FEATURE_NAMES))
        medians = np.append(medians, np.full(len(FEATURE_NAMES) - len(known), np.nan))
    thresholds = Thresholds() if version == _WITHOUT_EVIDENCE else _thresholds(mapping(content.get("thresholds")))
    temperature = plain(content.get("temperature"))
    if not isinstance(temperature, float) or not 1 / _MOST_TEMPERATURE <= temperature <= _MOST_TEMPERATURE:
        raise ValueError(f"temperature = {temperature!r}")
    figures = {name: plain(value) for name, value in mapping(content.get("figures")).items()}
    if not all(_FIGURE.fullmatch(name) and isinstance(value, float | int) for name, value in figures.items()):
        raise ValueError("figures that are no numbers")
    return Model(estimator, medians, temperature, thresholds, figures)  # type: ignore[arg-type]  # numbers, as was checked


def _thresholds(saved: dict[str, object]) -> Thresholds:
    values = {name: plain(value) for name, value in saved.items()}
    if set(values) != {each.name for each in dataclasses.fields(Thresholds)}:
        raise ValueError("no threshold of each kind")
    # A model with one above 1 gives no verdict of that kind.
    if not all(isinstance(value, float) and _LEAST_THRESHOLD <= value <= _MOST_THRESHOLD for value in values.values()):
        raise ValueError(f"thresholds = {values!r}")
    return Thresholds(**values)  # type: ignore[arg-type]  # numbers, as was checked


def _refused(path: str | Path, found: str) -> ModelError:
    return ModelError(str(path), expected="a model file of tiering", found=found, action=_ACTION)


def _skops() -> Any:
    """Import skops.io, which imports every module of scikit-learn, including its adapter for torch.

    Importing torch takes 1.5 s and is useless here, so the adapter is hidden during the import.
    """
    with _hidden("sklearn.externals.array_api_compat.torch"):
        import skops.io  # noqa: PLC0415
    return skops.io


@contextlib.contextmanager
def _hidden(name: str) -> Iterator[None]:
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # how the import system marks "cannot be imported"
    try:
        yield
    finally:
        sys.modules.pop(name, None)
