"""Runs of real programs that were recorded: the features of their traces, as fixtures/record_corpus.py wrote them."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tiering.workload.label import Workload


class Recorded(NamedTuple):
    """A recorded run, or a first part of one.

    program: its name, the group that is held out together; run: which of its runs; part: as in corpus.Example;
    workload: of the whole run; moved: B read, written, re-read; vector: as evidence.features gives it.
    """

    program: str
    run: str
    part: str
    workload: Workload
    moved: tuple[int, int, int]
    vector: npt.NDArray[np.float64]


def recorded() -> Iterator[Recorded]:
    """Read the recorded runs that come with the package."""
    lines = (importlib.resources.files("tiering.workload") / "recorded.jsonl").read_text(encoding="utf-8")
    for line in lines.splitlines():
        found = json.loads(line)
        vector = np.array([np.nan if value is None else value for value in found.pop("vector")], np.float64)
        yield Recorded(**{**found, "moved": tuple(found["moved"])}, vector=vector)
