"""Runs of real programs that were recorded: the profiles of their traces, as fixtures/record_corpus.py wrote them."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator

from tiering.trace.trace_profile import TraceProfile
from tiering.workload.training.corpus import Example

#: What the families of recorded runs begin with.
RECORDED = "recorded "


def recorded() -> Iterator[Example]:
    """Read the recorded runs that come with the package; the family is "recorded" and the program's name."""
    lines = (importlib.resources.files("tiering.workload") / "recorded.jsonl").read_text(encoding="utf-8")
    for line in lines.splitlines():
        found = json.loads(line)
        family, trace = f"{RECORDED}{found['program']}", TraceProfile.model_validate(found["trace"])
        yield Example(family, trace, found["part"], found["workload"])
