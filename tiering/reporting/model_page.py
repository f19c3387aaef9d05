"""How well a model judges what it has not seen, as one HTML file: reliability diagrams, tables by family and kind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from tiering import __version__
from tiering.storage.output_file import write_output
from tiering.text import shown
from tiering.units import format_percent
from tiering.workload.training.evaluation import Evaluation
from tiering.workload.training.reliability import Bin, calibration_error

_SIDE: Final = 260
_EDGE: Final = 34
_HELD_OUT: Final = (
    "<p>Each family of generated runs and each recorded program is judged by a model that was trained without it. "
    "Temperature and thresholds suit other families, too.</p>"
)
_OF_KINDS: Final = (
    "<p>Forecasts of examples whose bytes are mostly moved by such programs: the share whose likeliest workload is "
    "right, without any evidence of programs, with it, and if the table of names did not list this kind.</p>"
)
_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --with: #2a78d6; --bad: #c0392b }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; width: 100% } caption { text-align: left; font-weight: 600 }
th, td { padding: .2rem .7rem .2rem 0; border-bottom: 1px solid var(--line); text-align: right }
th:first-child, td:first-child, .word { text-align: left } .bad { color: var(--bad); font-weight: 600 }
figure { display: inline-block; margin: 0 2rem 1rem 0 } svg { font: 11px system-ui, sans-serif; fill: currentColor }
"""


def write_model_page(evaluation: Evaluation, output: str | os.PathLike[str]) -> None:
    """Write an evaluation as one HTML file that opens offline.

    Args:
        evaluation: From tiering.workload.training.train.evaluate.
        output: The file to write. It appears complete or not at all, and replaces an existing one.

    Raises:
        OSError: The file cannot be written.

    Example:
        >>> write_model_page(evaluate(seed=0), "model.html")  # doctest: +SKIP
    """
    write_output(output, model_page(evaluation))


def model_page(evaluation: Evaluation) -> str:
    """Return the HTML of an evaluation."""
    parts = [
        "<h1>How well the classifier judges what it has not seen</h1>",
        _HELD_OUT,
        "<h2>Reliability of forecasts</h2>",
        _diagram("with evidence of programs", evaluation.reliability),
        _diagram("without", evaluation.without),
        "<h2>By kind of program</h2>",
        _OF_KINDS,
        _table(
            ("kind", "forecasts", "without", "with", "not listed", "wrong verdicts if not listed"),
            (
                (each.kind.replace("_", " "), each.examples, *map(_percent, (each.without, each.known, each.unlisted)),
                 each.wrong)
                for each in evaluation.kinds
            ),
            worst=5,
        ),
        "<h2>By family and program</h2>",
        _table(
            ("family", "workload", "examples", "with a verdict", "wrong"),
            ((each.family, each.workload, each.examples, each.answered, each.wrong) for each in evaluation.families),
            words=2,
            worst=4,
        ),
    ]  # fmt: skip
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>tiering: the model</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><style>{_STYLE}</style></head><body>'
        + "\n".join(parts)
        + f"<p>tiering {escape(__version__)}</p></body></html>\n"
    )


def _percent(share: float) -> str:
    return "" if share != share else format_percent(share, digits=3)  # noqa: PLR0124 - no examples


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, words: int = 1, worst: int) -> str:
    """Return a table. words: columns of words. worst: the column whose numbers above 0 are bad."""
    made = ["<table><tr>", *(f"<th{_word(at, words)}>{escape(head)}</th>" for at, head in enumerate(heads)), "</tr>"]
    for row in rows:
        made.append("<tr>")
        for at, value in enumerate(row):
            kind = ' class="bad"' if at == worst and value else _word(at, words)
            made.append(f"<td{kind}>{escape(shown(str(value)))}</td>")
        made.append("</tr>")
    return "".join([*made, "</table>"])


def _word(at: int, words: int) -> str:
    return ' class="word"' if at < words else ""


def _diagram(title: str, bins: list[Bin]) -> str:
    """Return a reliability diagram: the share that is right over the probability, with the number of forecasts."""
    most = max((each.count for each in bins), default=1)
    marks = [
        f'<circle cx="{_x(each.sure):.1f}" cy="{_y(each.right):.1f}" r="{3 + 7 * (each.count / most) ** 0.5:.1f}" '
        f'fill="var(--with)" fill-opacity="0.75"><title>{each.count:,} forecasts: probability '
        f"{_percent(each.sure)}, right {_percent(each.right)}</title></circle>"
        for each in bins
    ]
    ticks = [
        f'<text x="{_x(at):.0f}" y="{_SIDE + _EDGE + 16}" text-anchor="middle">{100 * at:g} %</text>'
        f'<text x="{_EDGE - 6}" y="{_y(at) + 4:.0f}" text-anchor="end">{100 * at:g}</text>'
        for at in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    total = sum(each.count for each in bins)
    error = calibration_error(bins)
    label = f"Reliability {title}: {total:,} forecasts, expected calibration error {error:.3f}"
    lines = (
        f'<rect x="{_EDGE}" y="{_EDGE}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="var(--line)"/>'
        f'<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" stroke="var(--line)"/>'
    )
    side = _SIDE + 2 * _EDGE
    return (
        f'<figure><svg viewBox="0 0 {side} {side}" width="{side}" role="img" aria-label="{escape(label)}">'
        + lines + "".join(ticks) + "".join(marks)
        + f"</svg><figcaption>{escape(label)}</figcaption></figure>"
    )  # fmt: skip


def _x(share: float) -> float:
    return _EDGE + share * _SIDE


def _y(share: float) -> float:
    return _EDGE + (1 - share) * _SIDE
