"""Small charts of the fields of a dataset: histograms of numbers, and of the sizes of captions and other values."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from tiering.dataset.distributions import Distribution
from tiering.dataset.field_counts import ProfiledField
from tiering.reporting.chart import Chart
from tiering.reporting.figures import axis, curve_of, figure_of
from tiering.units import format_count, format_percent

#: The most fields that get a chart, so that the page stays small. The table has all fields.
CHARTED: Final = 24

#: The columns of the table of fields.
COLUMNS: Final = ("field", "kind", "images with a value", "smallest", "5 % below", "median", "5 % above", "largest")

_SHARES: Final = ("0", "0.05", "0.5", "0.95", "1")


def field_rows(fields: list[ProfiledField]) -> list[tuple[str, ...]]:
    """Return a row of COLUMNS for each field; without figures for vectors and numbers in files."""
    return [
        (
            field.name,
            field.kind,
            format_count(field.count),
            *(_figure(field, share) for share in _SHARES),
        )
        for field in fields
    ]


def _figure(field: ProfiledField, share: str) -> str:
    if field.distribution is None:
        return "-"
    return f"{'about ' if field.distribution.sampled else ''}{field.shown(field.distribution.quantiles[share])}"


def of_fields(fields: list[ProfiledField]) -> list[Chart]:
    """Return a chart for each of the first CHARTED fields whose values differ."""
    differing = [
        (field, field.distribution)
        for field in fields
        if field.distribution is not None and field.distribution.quantiles["0"] < field.distribution.quantiles["1"]
    ]
    return [_histogram(field, found) for field, found in differing[:CHARTED]]


def _histogram(field: ProfiledField, found: Distribution) -> Chart:
    edges, whole = found.edges, field.kind != "float"
    steps = curve_of(edges, [*found.counts, found.counts[-1]], field.name, "c1", False)
    steps |= {"fill": "tozeroy", "line": steps["line"] | {"shape": "hv"}}
    skewed = edges[0] > 0 and edges[-1] - edges[-2] > 2 * (edges[1] - edges[0])
    across = axis(
        field.name if field.numeric else "size (B)", **({"type": "log", "exponentformat": "none"} if skewed else {})
    )
    low, median, high = (field.shown(found.quantiles[share]) for share in ("0.05", "0.5", "0.95"))
    what = "values" if field.numeric else "sizes"
    bins = []
    for begin, end in pairwise(edges):
        first, last = (begin + 0.5, end - 0.5) if whole and begin % 1 == 0.5 else (begin, end)
        one = field.shown(first)
        bins.append(one if first == last else f"{one} to {field.shown(last)}")
    return Chart(
        f"field-{field.name}",
        field.name if field.numeric else f"{field.name}: sizes",
        f"Half of the {what} of {field.name} are at most {median}; 90 % are from {low} to {high}",
        _basis(field, found, what),
        figure_of([steps], x=across, y=axis("images", rangemode="tozero"), height=240),
        (what, "images", "share"),
        [
            (name, format_count(count), format_percent(count / found.values, digits=2))
            for name, count in zip(bins, found.counts, strict=True)
        ],
        [
            (f"{what} from", "to", "images"),
            *((*edge, count) for edge, count in zip(pairwise(edges), found.counts, strict=True)),
        ],
    )


def _basis(field: ProfiledField, found: Distribution, what: str) -> str:
    """Return a sentence that says which values a distribution shows."""
    values = format_count(found.values)
    if found.sampled:
        return f"Estimated from {values} {what} drawn at random; others may be smaller or larger."
    if found.values < field.count:
        return f"By {values} {what} drawn at random; the smallest and the largest are those of all."
    return f"These are all {values} {what}."
