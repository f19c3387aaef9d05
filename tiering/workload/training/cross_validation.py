"""Judge every example by a model that was trained without its family or program.

Each family of generated runs is held out by itself, together with one or two of the recorded programs, which are dealt
among them. The bounds of verdicts are not chosen on what they are tested with, either: families and programs are dealt
into ten groups, and the temperature and thresholds for the verdicts on a group are those that suit the other nine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tiering.progress import Progress, begin_step, no_progress
from tiering.workload.classifier import Model, tempered
from tiering.workload.label import WORKLOADS
from tiering.workload.thresholds import Thresholds, lowest_thresholds
from tiering.workload.training.reliability import bins, calibration_error
from tiering.workload.training.table import Table
from tiering.workload.verdict import ground, is_decided, judge, no_ground

#: Groups by which temperature and thresholds are chosen.
_GROUPS: Final = 10
#: Temperatures that are tried. New families decide more than the temperature does, so finer steps are useless, and what
#: is sharper than 0.5 suits some families well and claims too much for others.
_TEMPERATURES: Final = np.round(np.arange(0.5, 1.51, 0.05), 2)
_ANY: Final = Thresholds(0.0, 0.0, 0.0)

Probabilities = npt.NDArray[np.float64]
Variants = dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The temperature and the thresholds that suit some judged examples."""

    temperature: float
    thresholds: Thresholds


@dataclass(frozen=True, slots=True)
class Judged:
    """The judgement of each example of a Table.

    Attributes:
        best: Position of the likeliest workload in WORKLOADS, int64 (n,).
        sure: Its probability, float64 (n,).
        answered: Whether that is a verdict, bool (n,).
        forecast: Whether it is a forecast: the definition does not decide, bool (n,).
    """

    best: npt.NDArray[np.int64]
    sure: npt.NDArray[np.float64]
    answered: npt.NDArray[np.bool_]
    forecast: npt.NDArray[np.bool_]


def votes(
    table: Table,
    fit: Callable[[Table], Model],
    variants: Variants | None = None,
    *,
    held_out: npt.NDArray[np.str_] | None = None,
    progress: Progress = no_progress,
) -> dict[str, Probabilities]:
    """Let a forest without the family of each example vote on it.

    Args:
        table: The examples.
        fit: Trains a model.
        variants: Other forms of the vectors that the same forests vote on, by name.
        held_out: What is held out together, if not each family: names, (n,). Nothing votes on those without.
        progress: Called with what was held out so far, all of that, and 0.

    Returns:
        The votes, float64 (n, len(WORKLOADS)), by the name of the variant; "" for the vectors themselves.
    """
    forms: Variants = {"": lambda vectors: vectors, **(variants or {})}
    found = {name: np.zeros((len(table.workloads), len(WORKLOADS))) for name in forms}
    begin_step(progress, "testing", "families held out" if held_out is None else "kinds held out")
    if held_out is None:
        held_out = _apart(table)
    groups = np.unique(held_out[held_out != ""])
    progress(0, len(groups), 0)
    for number, group in enumerate(groups, 1):
        unknown = held_out == group
        forest = fit(table.only(~unknown)).estimator
        for name, form in forms.items():
            found[name][unknown] = forest.predict_proba(form(table.vectors[unknown]))
        progress(number, len(groups), 0)
    return found


def _apart(table: Table) -> npt.NDArray[np.str_]:
    """Return the group in which each example is held out: a family each, with some of the recorded programs."""
    families = np.unique(table.families[~table.real])
    if not len(families):
        return table.families
    groups = table.families.copy()
    groups[table.real] = families[_dealt(table.families[table.real], len(families))]
    return groups


def _dealt(families: npt.NDArray[np.str_], groups: int) -> npt.NDArray[np.int64]:
    """Deal families into groups at random, and return the group of each example."""
    names = np.unique(families)
    group = np.empty(len(names), np.int64)
    group[np.random.default_rng(groups).permutation(len(names))] = np.arange(len(names)) % groups
    return np.asarray(group[np.searchsorted(names, families)])


def calibrated(table: Table, cast: Probabilities) -> Calibration:
    """Return the temperature of the least calibration error, and thresholds that keep the risks. cast: from votes."""
    forecast = np.array([not is_decided(trace) for trace in table.traces])

    def error(temperature: float) -> float:
        chances = tempered(cast[forecast], temperature)
        return calibration_error(bins(chances.max(axis=1), chances.argmax(axis=1) == table.workloads[forecast]))

    temperature = float(min(_TEMPERATURES, key=error))
    found = judged(table, tempered(cast, temperature), _ANY)
    grounds = np.array([ground(trace, WORKLOADS[best]) for trace, best in zip(table.traces, found.best, strict=True)])
    counted = found.answered & found.forecast
    right = found.best == table.workloads
    parts = int((table.real & (table.parts != "whole")).sum())
    bounds = lowest_thresholds(found.sure[counted], right[counted], grounds[counted], table.real[counted], parts)
    return Calibration(temperature, bounds)


def judged(table: Table, chances: Probabilities, thresholds: Thresholds) -> Judged:
    """Give verdicts, or withhold them, as classify does. chances: the probability of each workload."""
    made = [judge(trace, each, thresholds) for trace, each in zip(table.traces, chances, strict=True)]
    return Judged(
        best=np.array([each.best for each in made], np.int64),
        sure=np.array([each.sure for each in made], np.float64),
        answered=np.array(
            [each.conclusive and no_ground(t) is None for each, t in zip(made, table.traces, strict=True)]
        ),
        forecast=np.array([not is_decided(trace) for trace in table.traces]),
    )


def cross_judged(table: Table, cast: Probabilities, of: Probabilities | None = None) -> Judged:
    """Judge votes, each with the temperature and thresholds that suit the other groups of families.

    cast: from votes. of: the votes to judge, if those are of another variant.
    """
    own = _dealt(table.families, _GROUPS)
    shape = len(table.workloads)
    found = Judged(np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_))
    for number in np.unique(own):
        mine = own == number
        suits = calibrated(table.only(~mine), cast[~mine])
        chances = tempered((cast if of is None else of)[mine], suits.temperature)
        part = judged(table.only(mine), chances, suits.thresholds)
        for name in ("best", "sure", "answered", "forecast"):
            getattr(found, name)[mine] = getattr(part, name)
    return found
