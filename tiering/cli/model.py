"""`tiering model`: train, evaluate and show the classifier of workloads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli.choices import MOST_SEED
from tiering.cli.output import JsonFlag, emit_json, note, out, table
from tiering.cli.panels import INPUT, OUTPUT, WORK
from tiering.cli.progress import progress
from tiering.cli.verbs import Verbs
from tiering.units import counted, format_percent

if TYPE_CHECKING:
    from tiering.workload.training.corpus import Example

model = Verbs(help="Train, evaluate and show the classifier of workloads.", no_args_is_help=True)

_Model = Annotated[
    Path | None,
    typer.Option(
        "--model", metavar="FILE", rich_help_panel=INPUT, help="Use this model instead of the one that ships."
    ),
]
_Own = Annotated[
    list[Path] | None,
    typer.Option(
        "--add",
        metavar="DIR",
        rich_help_panel=INPUT,
        help="Your own traces: DIR/WORKLOAD/PROGRAM/TRACE. May be repeated.",
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
    add: _Own = None,
    seed: _Seed = 0,
) -> None:
    """Train a model on generated, recorded and your own traces, and cross-validate it. Takes several minutes.

    The same seed, traces and package versions give the same model, bit for bit. --add takes traces in folders named by
    their workload, such as DIR/re-read-heavy/PROGRAM/TRACE.

    Example: `tiering model train --add traces/ -o mine.skops`
    """
    from tiering.workload.classifier import save_model
    from tiering.workload.training.train import train_model

    own = _own(add)
    with progress("training", "examples") as advance:
        made = train_model(seed, own=own, progress=advance)
    save_model(made, output)
    note(f"Wrote {output}.")
    _show(made.figures)


@model.command()
def evaluate(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="HTML file to write: reliability, and tables by family and kind.",
        ),
    ] = None,
    add: _Own = None,
    seed: _Seed = 0,
    json: JsonFlag = False,
) -> None:
    """Test how well the classifier judges programs that it was not trained on. Takes several minutes.

    Example: `tiering model evaluate -o model.html`
    """
    from tiering.reporting.model_page import write_model_page
    from tiering.workload.training import train

    own = _own(add)
    with progress("testing", "examples") as advance:
        found = train.evaluate(seed, own=own, progress=advance)
    if output is not None:
        write_model_page(found, output)
        note(f"Wrote {output}.")
    if json:
        emit_json(found.figures, "model-figures")
    else:
        _show(found.figures)


@model.command()
def card(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="Markdown file to write.")
    ],
    model: _Model = None,
) -> None:
    """Write the model card: what the model is for, how it was made, how well it does, and its limits.

    Example: `tiering model card -o model.md`
    """
    from tiering.reporting.model_card import write_model_card
    from tiering.workload.classifier import load_model

    write_model_card(load_model(model), output)
    note(f"Wrote {output}.")


def _own(directories: list[Path] | None) -> list[Example]:
    from tiering.workload.training.own_traces import own_examples

    if not directories:
        return []
    with progress("reading", "traces") as advance:
        examples = [example for directory in directories for example in own_examples(directory, advance)]
    if examples:
        whole = sum(example.part == "whole" for example in examples)
        note(
            f"{counted(whole, 'trace')} of your own, of {counted(len({each.family for each in examples}), 'program')}."
        )
    return examples


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


#: Parts of recorded runs that are no shares of an epoch, in words.
_CUT = {"attached": "from later to the end", "killed": "up to a kill"}


def _show(figures: Mapping[str, float]) -> None:
    parts = [name.removeprefix("f1_") for name in figures if name.startswith("f1_")]
    heads = ("part seen", "macro F1", "without names", "plain rule", "with a verdict", "of these, right")
    made = table(*heads, title="Generated runs")
    for part in parts:
        shares = [format_percent(figures[f"{name}_{part}"], digits=3) for name in ("answered", "accuracy")]
        # A model of before has no figures without names.
        scores = [f"{figures.get(f'{name}_{part}', math.nan):.3f}" for name in ("f1", "bytes_f1", "rule")]
        made.add_row(_words(part), *scores, *shares)
    out().show(made)
    for kind, title in (("recorded", "Recorded programs"), ("kind", "The same, held out by kind")):
        real = [part for part in (*parts, *_CUT) if f"{kind}_{part}" in figures]
        if real:
            names = (kind, f"{kind}_answered", f"{kind}_wrong", f"{kind}_rule_wrong")
            made = table("part seen", "runs", "with a verdict", "wrong", "plain rule wrong", title=title)
            for part in real:
                made.add_row(_words(part), *(f"{figures[f'{name}_{part}']:.0f}" for name in names))
            out().print()
            out().show(made)
    out().print()
    for kind, words in (("", "Verdicts on generated runs"), ("bytes_", "The same without names")):
        if f"{kind}answered" in figures:
            right, answered = (format_percent(figures[f"{kind}{name}"], digits=3) for name in ("accuracy", "answered"))
            out().say(f"{words}: {right} right, on {answered}.")
    if "misleading_answered" in figures:
        out().say(
            f"Runs that were made to mislead: {figures['misleading_answered']:.0f} verdicts, "
            f"{figures['misleading_wrong']:.0f} wrong."
        )
    out().say(f"Expected calibration error of forecasts: {figures['calibration_error']:.3f}")


def _words(part: str) -> str:
    return ({"whole": "whole run"} | _CUT).get(part) or f"{format_percent(float(part))} of the first epoch"
