"""The classifier: train, calibrate, save, load, classify and explain."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tiering.trace.features import TraceProfile

Workload = Literal["re-read-heavy", "write-heavy", "read-once", "mixed"]


class Fact(BaseModel):
    """One fact that moved the verdict."""

    model_config = ConfigDict(frozen=True)

    feature: str
    value: float
    weight: float = Field(description="how far it moved the log-odds of the verdict; negative speaks against it")
    text: str = Field(description='in plain words: "80 % of the bytes read had been read before"')


class Verdict(BaseModel):
    """What kind of workload a trace shows, and how sure that is."""

    model_config = ConfigDict(frozen=True)

    workload: Workload | Literal["inconclusive"]
    probability: float
    probabilities: dict[str, float]
    facts: list[Fact] = Field(description="the three that weighed most, heaviest first")
    notes: list[str] = []


def classify(trace: TraceProfile) -> Verdict:
    """Say what kind of workload a trace shows."""
    raise NotImplementedError
