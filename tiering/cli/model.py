"""`tiering model`: train, evaluate and show the classifier of workloads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from tiering.cli.choices import MOST_SEED
from tiering.cli.output import JsonFlag, emit_json, note, out, table
from tiering.cli.panels import INPUT, OUTPUT, WORK
from tiering.cli.progress import progress
from tiering.cli.verbs import Verbs
from tiering.units import format_percent

model = Verbs(help="Train, evaluate and show the classifier of workloads.", no_args_is_help=True)

_Model = Annotated[
    Path | None,
    typer.Option(
        "--model", metavar="FILE", rich_help_panel=INPUT, help="Use this model instead of the one that ships."
    ),
]
_Seed = Annotated[
    int,
    typer.Option(
        min=0,
        max=MOST_SEED,
        rich_help_panel=WORK,
        metavar="NUMBER",
        help="Seed of the generated corpus and of the forest.",
    ),
]


@model.command()
def train(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="Model to write.")
    ],
    seed: _Seed = 0,
) -> None:
    """Train a model on generated and recorded traces, and cross-validate it. Takes a few minutes.

    The same seed and the same package versions give the same model, bit for bit.

    Example: `tiering model train -o mine.skops`
    """
    from tiering.workload.classifier import save_model
    from tiering.workload.training.train import train_model

    with progress("training", "steps") as advance:
        made = train_model(seed, progress=advance)
    save_model(made, output)
    note(f"Wrote {output}.")
    _show(made.figures)


@model.command()
def evaluate(seed: _Seed = 0, json: JsonFlag = False) -> None:
    """Test how well the classifier judges programs that it was not trained on. Takes a few minutes.

    Example: `tiering model evaluate`
    """
    from tiering.workload.training.train import evaluate_model

    with progress("cross-validating", "steps") as advance:
        figures = evaluate_model(seed, progress=advance)
    if json:
        emit_json(figures, "model-figures")
    else:
        _show(figures)


@model.command()
def show(model: _Model = None, json: JsonFlag = False) -> None:
    """Show how well a model judged programs that it was not trained on, as recorded in its file.

    Example: `tiering model show`
    """
    from tiering.workload.classifier import load_model

    figures = load_model(model).figures
    if json:
        emit_json(figures, "model-figures")
    else:
        _show(figures)


def _show(figures: Mapping[str, float]) -> None:
    parts = [name.removeprefix("f1_") for name in figures if name.startswith("f1_")]
    made = table("part seen", "macro F1", "plain rule", "with a verdict", "of these, right", title="Generated runs")
    for part in parts:
        shares = [format_percent(figures[f"{name}_{part}"], digits=3) for name in ("answered", "accuracy")]
        made.add_row(_words(part), f"{figures[f'f1_{part}']:.3f}", f"{figures[f'rule_{part}']:.3f}", *shares)
    out().show(made)
    real = [part for part in parts if f"recorded_{part}" in figures]
    if real:
        names = ("recorded", "recorded_answered", "recorded_wrong", "recorded_rule_wrong")
        made = table("part seen", "runs", "with a verdict", "wrong", "plain rule wrong", title="Recorded programs")
        for part in real:
            made.add_row(_words(part), *(f"{figures[f'{name}_{part}']:.0f}" for name in names))
        out().print()
        out().show(made)
    out().print()
    out().say(
        f"Verdicts on generated runs: {format_percent(figures['accuracy'], digits=3)} right, "
        f"on {format_percent(figures['answered'], digits=3)}."
    )
    out().say(f"Expected calibration error of forecasts: {figures['calibration_error']:.3f}")


def _words(part: str) -> str:
    return "whole run" if part == "whole" else f"{format_percent(float(part))} of the first epoch"
