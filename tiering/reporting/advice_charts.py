"""The chart of a recommendation: cost against epoch time."""

from __future__ import annotations

from tiering.reporting.advice import Advice
from tiering.reporting.chart import Chart
from tiering.reporting.figures import axis, curve_of, escaped, figure_of, scale
from tiering.units import format_number, format_seconds, format_usd


def of_advice(advice: Advice) -> Chart:
    """Return the plot of cost against epoch time, with the Pareto front as a line."""
    front = sorted((row for row in advice.rows if row.on_frontier), key=lambda row: row.usd)
    data = (
        [curve_of([row.usd for row in front], [row.epoch_s for row in front], "Pareto front", "c3", False)]
        if front
        else []
    )
    for mark, label, colour, symbol in (
        ("", "other options", "c1", "circle"),
        ("now", "as it is now", "c2", "square"),
        ("chosen", "chosen", "c3", "star"),
    ):
        rows = [row for row in advice.rows if row.mark == mark]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label,
                "text": [escaped(row.name) for row in rows],
                "x": [row.usd for row in rows],
                "y": [row.epoch_s for row in rows],
                "marker": {"color": colour, "symbol": symbol, "size": 15 if mark else 9},
            }
        )
    return Chart(
        "pareto",
        "Cost against epoch time",
        _lesson(advice),
        "Lower and further left is better. No option is both cheaper and faster than one on the Pareto front.",
        figure_of(
            data,
            x=axis("cost (USD/month)", **scale([row.usd for row in advice.rows])),
            y=axis("time of a later epoch (s)", **scale([row.epoch_s for row in advice.rows])),
            height=440,
        ),
        ("option", "", "USD/month", "s of a later epoch", "on the Pareto front"),
        [
            (row.name, row.mark, f"{row.usd:,.2f}", format_number(row.epoch_s), "yes" if row.on_frontier else "no")
            for row in advice.rows
        ],
    )


def _lesson(advice: Advice) -> str:
    chosen = next(row for row in advice.rows if row.mark == "chosen")
    fastest = min(advice.rows, key=lambda row: row.epoch_s)
    cheapest = min(advice.rows, key=lambda row: row.usd)
    if fastest.epoch_s >= chosen.epoch_s and cheapest.usd >= chosen.usd:
        return "The chosen option is both the cheapest and the fastest"
    saved = chosen.usd - cheapest.usd
    if 0.95 * chosen.epoch_s < fastest.epoch_s < chosen.epoch_s:
        cheaper = f"{format_usd(saved)} USD a month less, with epochs of {format_seconds(cheapest.epoch_s)}"
        rest = f"; the cheapest costs {cheaper}" if saved >= 0.01 else ", which is nearly the cheapest"
        return f"No option is more than 5 % faster than the choice{rest}"
    if fastest.epoch_s < chosen.epoch_s:
        more = fastest.usd - chosen.usd
        return (
            f"Epochs of {format_seconds(fastest.epoch_s)} are possible, for {format_usd(abs(more))} USD a month "
            f"{'more' if more >= 0 else 'less'} than the choice"
        )
    if saved < 0.01:
        return "The choice is the fastest, and nearly the cheapest"
    return (
        f"The choice is the fastest; {format_usd(saved)} USD a month could be saved with epochs of "
        f"{format_seconds(cheapest.epoch_s)}"
    )
