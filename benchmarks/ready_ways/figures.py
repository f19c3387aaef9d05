"""Tables of what the rounds found, and the goals beside them."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.ready_ways.rounds import Result, Way


@dataclass(frozen=True)
class Bar:
    """A figure that was set as a goal: the values of all rounds, and what they should reach."""

    name: str
    values: Sequence[float]
    goal: float
    at_least: bool = True
    form: str = "{:.2f} x"


def against(found: Result, ours: str, theirs: str, goal: float, *, wall: bool = False) -> list[Bar]:
    """Return the bar of how many times as fast one way is as another, if both ran."""
    rates = found.wall if wall else found.cpu
    if ours not in rates or theirs not in rates:
        return []
    unit = "second of wall" if wall else "CPU-second"
    return [Bar(f"{ours} / {theirs}, per {unit}", ratios(rates, ours, theirs), goal)]


def ratios(rates: dict[str, list[float]], one: str, other: str) -> list[float]:
    return [first / second for first, second in zip(rates[one], rates[other], strict=True)]


def section(head: str, ways: list[Way], found: Result, bases: list[str], rounds: int, foot: str = "") -> str:
    """Return a table of the ways, fastest by processor time first, with the ratios of the bases to each."""
    filters = any(way.filter for way in ways)
    names = ["way", *(["filter"] if filters else []), "images per CPU-second"]
    names += [f"{base} is" for base in bases] + ["images per second"] + [f"{base} is" for base in bases]
    rows = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    for way in sorted(ways, key=lambda way: -statistics.median(found.cpu.get(way.name, [0]))):
        cells = [way.name, *([way.filter] if filters else [])]
        if way.name in found.missing:
            rows.append(f"| {' | '.join(cells)} | not measured: {found.missing[way.name]} |")
            continue
        for rates in (found.cpu, found.wall):
            cells.append(interval(rates[way.name], "{:,.0f}"))
            cells += [interval(ratios(rates, base, way.name), "{:.2f} x") if base in rates else "" for base in bases]
        rows.append(f"| {' | '.join(cells)} |")
    versions = ", ".join(f"{package} {version}" for package, version in sorted(found.versions.items()))
    foot = f"Medians of {rounds} rounds, with intervals of 95 %. {foot} Versions: {versions}."
    return "\n".join([filled(head), "", *rows, "", filled(foot)])


def interval(values: Sequence[float], form: str) -> str:
    """Return the median and its bootstrap interval of 95 %."""
    low, high = bounds(values)
    return f"{form.format(statistics.median(values))} ({form.format(low)} to {form.format(high)})"


def bounds(values: Sequence[float]) -> tuple[float, float]:
    draws = np.random.default_rng(0).choice(np.array(values), (10_000, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return float(low), float(high)


def table_of_bars(bars: list[Bar]) -> str:
    """Return what was wanted beside what was found."""
    rows = ["### Goals", "", "| figure | goal | found | |", "|---|---|---|---|"]
    for bar in bars:
        middle = statistics.median(bar.values)
        met = middle >= bar.goal if bar.at_least else middle <= bar.goal
        none = bar.goal == float("inf")
        goal = "none" if none else f"{'at least' if bar.at_least else 'at most'} {bar.form.format(bar.goal)}"
        rows.append(f"| {bar.name} | {goal} | {interval(bar.values, bar.form)} | {'' if none or met else 'missed'} |")
    return "\n".join(rows)


def filled(text: str) -> str:
    return "\n\n".join(textwrap.fill(" ".join(part.split()), 120) for part in text.split("\n\n"))
