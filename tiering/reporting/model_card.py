"""The model card: what the model is for, how it was made, how well it does, and its limits.

The words are in model_card.md. Every figure in it comes from the model file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from importlib import resources
from string import Template
from typing import Final

from tiering.storage.output_file import write_output
from tiering.units import format_percent
from tiering.workload.classifier import Model
from tiering.workload.features import BYTE_FEATURES, EVIDENCE_FEATURES, FEATURE_NAMES
from tiering.workload.forest import Forest
from tiering.workload.training.corpus import CUT, FAMILIES, PARTS

_WORDS: Final = {"whole": "the whole run", "attached": "from later to the end", "killed": "up to a kill"}
_PARTS: Final = ("whole", *(f"{part:g}" for part in PARTS))


def write_model_card(model: Model, output: str | os.PathLike[str]) -> None:
    """Write the card of a model as Markdown.

    Args:
        model: A model from load_model or train_model, with its figures.
        output: The file to write. It appears complete or not at all, and replaces an existing one.

    Raises:
        OSError: The file cannot be written.

    Example:
        >>> write_model_card(load_model(), "model.md")  # doctest: +SKIP
    """
    write_output(output, model_card(model))


def model_card(model: Model) -> str:
    """Return the card of a model as Markdown."""
    text = (resources.files("tiering.reporting") / "model_card.md").read_text(encoding="utf-8")
    found = model.figures
    forest = model.estimator
    size = {"trees": 0, "nodes": 0, "levels": 0}
    if isinstance(forest, Forest):
        size = {"trees": len(forest.starts), "nodes": len(forest.left), "levels": forest.levels}
    words = {name: f"{value:,}" for name, value in size.items()} | {
        "features": str(len(FEATURE_NAMES)),
        "byte_features": str(len(BYTE_FEATURES)),
        "evidence_features": str(len(EVIDENCE_FEATURES)),
        "families": str(len(FAMILIES)),
        "temperature": f"{model.temperature:g}",
        "forecast": f"{model.thresholds.forecast:.3f}",
        "shown": f"{model.thresholds.shown:.3f}",
        "mixed": f"{model.thresholds.mixed:.3f}",
        "generated": _generated(found),
        "recorded": _counts(found, "recorded"),
        "kinds": _of_kinds(found),
        "unlisted": _unlisted(found),
    }
    shares = ("accuracy", "answered", "bytes_accuracy", "bytes_answered")
    words |= {name: _percent(found, name) for name in shares}
    errors = ("calibration_error", "bytes_calibration_error")
    words |= {name: f"{found.get(name, math.nan):.3f}" for name in errors}
    counts = ("misleading_wrong", "misleading_answered", "recorded_whole")
    for name in (*counts, *(f"bytes_{each}" for each in counts)):
        words[name] = f"{found.get(name, 0):.0f}"
    names = {"parts": "recorded", "part_wrong": "recorded_wrong", "part_answered": "recorded_answered"}
    parts = {word: sum(found.get(f"{name}_{part}", 0) for part in (*_PARTS[1:], *CUT)) for word, name in names.items()}
    words |= {word: f"{count:.0f}" for word, count in parts.items()}
    words["part_share"] = (
        format_percent(parts["part_wrong"] / parts["parts"], digits=2) if parts["parts"] else "unknown"
    )
    return Template(text).safe_substitute(words)


def _generated(found: Mapping[str, float]) -> str:
    heads = ("part seen", "macro F1", "without names", "plain rule", "with a verdict", "without names", "right of them")
    rows = [
        (
            _part(part),
            *(f"{found.get(f'{name}_{part}', math.nan):.3f}" for name in ("f1", "bytes_f1", "rule")),
            *(_percent(found, f"{name}_{part}") for name in ("answered", "bytes_answered", "accuracy")),
        )
        for part in _PARTS
        if f"f1_{part}" in found
    ]
    return _markdown(heads, rows)


def _counts(found: Mapping[str, float], kind: str) -> str:
    heads = (
        "part seen",
        "recordings",
        "with a verdict",
        "wrong",
        "verdicts without names",
        "wrong",
        "plain rule wrong",
    )
    names = (kind, f"{kind}_answered", f"{kind}_wrong", f"bytes_{kind}_answered", f"bytes_{kind}_wrong")
    rows = [
        (_part(part), *(f"{found.get(f'{name}_{part}', 0):.0f}" for name in (*names, f"{kind}_rule_wrong")))
        for part in (*_PARTS, *CUT)
        if f"{kind}_{part}" in found
    ]
    return _markdown(heads, rows)


def _of_kinds(found: Mapping[str, float]) -> str:
    heads = ("part seen", "recordings", "with a verdict", "wrong", "plain rule wrong")
    names = ("kind", "kind_answered", "kind_wrong", "kind_rule_wrong")
    rows = [
        (_part(part), *(f"{found[f'{name}_{part}']:.0f}" for name in names))
        for part in (*_PARTS, *CUT)
        if f"kind_{part}" in found
    ]
    if not rows:
        return ""
    table = _markdown(heads, rows)
    return (
        f"\nThe same, each held out with all programs of its kind (all of PyTorch, of JAX, all databases):\n\n{table}\n"
    )


def _unlisted(found: Mapping[str, float]) -> str:
    rows = [
        (_part(part), *(f"{found.get(f'{name}_{part}', math.nan):.3f}" for name in ("unlisted_f1", "f1", "bytes_f1")))
        for part in _PARTS
        if f"unlisted_f1_{part}" in found
    ]
    return _markdown(("part seen", "no name listed", "as it is", "no evidence"), rows)


def _markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(heads)
    lines = [titles, ["---"] * len(titles), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _part(part: str) -> str:
    return _WORDS.get(part) or f"{format_percent(float(part))} of the first epoch"


def _percent(found: Mapping[str, float], name: str) -> str:
    return format_percent(found[name], digits=3) if name in found else "unknown"
