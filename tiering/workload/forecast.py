"""The trained model as a value, and its file: saved and loaded with skops, never with pickle."""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import math
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tiering.errors import ModelError
from tiering.workload.evidence import FEATURE_NAMES
from tiering.workload.label import WORKLOADS

_FORMAT, _FORMAT_VERSION = "tiering-model", 2
_SHIPPED = "workload.skops"
_ACTION = "Use a model that this version of tiering has made: python -m tiering.workload.build FILE"

#: Types that a model file may hold beside what skops trusts by itself: numbers, texts, NumPy arrays and the public
#: estimators of scikit-learn. Nothing else is ever constructed.
TRUSTED_TYPES: tuple[str, ...] = (
    "sklearn.ensemble._forest.ExtraTreesClassifier",
    "sklearn.tree._classes.ExtraTreeClassifier",
    "sklearn.tree._tree.Tree",
)


@dataclass(frozen=True, slots=True)
class Model:
    """A classifier of feature vectors.

    estimator: a scikit-learn classifier whose classes are the positions in WORKLOADS.
    medians: of each feature over the corpus, NaN left out; a typical trace, for explanations.
    temperature: above 0; below 1 it sharpens the estimator's probabilities (Guo et al., ICML 2017, section 4.2).
    figures: how well it does on families of programs that it was not trained on; see train.cross_validate.
    """

    estimator: Any
    medians: npt.NDArray[np.float64]
    temperature: float = 1.0
    figures: dict[str, float] = field(default_factory=dict)

    def probabilities(self, vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the probability of each workload: (n, len(FEATURE_NAMES)) in, (n, len(WORKLOADS)) out."""
        votes: npt.NDArray[np.float64] = self.estimator.predict_proba(vectors)
        tempered = votes ** (1 / self.temperature)
        return np.asarray(tempered / tempered.sum(axis=1, keepdims=True))


def save(model: Model, path: str | Path) -> None:
    """Write a model file; it appears whole or not at all. Raises OSError."""
    document = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "features": list(FEATURE_NAMES),
        "workloads": list(WORKLOADS),
        "estimator": model.estimator,
        "medians": model.medians,
        "temperature": model.temperature,
        "figures": dict(model.figures),
    }
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        _skops().dump(document, temporary, compression=zipfile.ZIP_DEFLATED)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | Path) -> Model:
    """Read a model file.

    Raises ModelError when it is no such file, is broken, is of another version, or holds a type that is not in
    TRUSTED_TYPES - before anything of that type is made. Raises OSError when it cannot be read.
    """
    skops = _skops()
    from skops.io.exceptions import UntrustedTypesFoundException  # noqa: PLC0415

    try:
        unknown = sorted(set(skops.get_untrusted_types(file=path)) - set(TRUSTED_TYPES))
        if unknown:
            raise _refused(path, f"types that are not trusted: {', '.join(unknown)}")
        document = skops.load(path, trusted=list(TRUSTED_TYPES))
    except UntrustedTypesFoundException as error:
        raise _refused(path, str(error)) from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        ImportError,
        NotImplementedError,
        RecursionError,
    ) as error:
        raise _refused(path, f"{type(error).__name__}: {error}".rstrip(".")) from error
    return _checked(path, document)


@functools.cache
def shipped() -> Model:
    """Return the model that comes with the package; it is read once."""
    with importlib.resources.as_file(importlib.resources.files("tiering.workload") / _SHIPPED) as path:
        return load(path)


def _checked(path: str | Path, document: object) -> Model:
    wanted = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "features": list(FEATURE_NAMES),
        "workloads": list(WORKLOADS),
    }
    if not isinstance(document, dict):
        raise _refused(path, f"a {type(document).__name__}")
    for key, value in wanted.items():
        if document.get(key) != value:
            raise _refused(path, f"{key} = {document.get(key)!r}")
    estimator: Any = document.get("estimator")
    medians, figures = document.get("medians"), document.get("figures")
    if _name(estimator) != TRUSTED_TYPES[0] or list(estimator.classes_) != list(range(len(WORKLOADS))):
        raise _refused(path, f"another estimator, {_name(estimator)}")
    if not isinstance(medians, np.ndarray) or medians.shape != (len(FEATURE_NAMES),):
        raise _refused(path, "no median for each feature")
    temperature = document.get("temperature")
    if not isinstance(temperature, float) or not 0 < temperature < math.inf:
        raise _refused(path, f"temperature = {temperature!r}")
    return Model(estimator, medians.astype(np.float64), temperature, figures if isinstance(figures, dict) else {})


def _name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _refused(path: str | Path, found: str) -> ModelError:
    return ModelError(str(path), expected="a model file of tiering", found=found, action=_ACTION)


def _skops() -> Any:
    """Import skops.io. It imports every module of scikit-learn, its adapter for torch among them.

    Importing torch takes 1.5 s and is for nothing here: while skops is imported, the adapter is hidden.
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
