"""The scenarios of storage architects, and the price sheets behind them: whole, sourced, and consistent with each other."""

from __future__ import annotations

import tomllib
from datetime import date

import pytest

from tests.conftest import FIXTURES

SCENARIOS = tomllib.loads((FIXTURES / "advice" / "scenarios.toml").read_text())
SHEETS = tomllib.loads((FIXTURES / "advice" / "price_sheets.toml").read_text())
RANGES = ("samples_per_s", "monthly_usd", "stall_fraction")


def _figures(table, path=()):
    """Every table that has a value, with its path."""
    for name, each in table.items():
        if isinstance(each, dict):
            if "value" in each:
                yield (*path, name), each
            else:
                yield from _figures(each, (*path, name))


FIGURES = dict(_figures(SHEETS))


def test_there_are_enough_of_them():
    assert len(SCENARIOS["scenario"]) >= 40
    assert len({scenario["name"] for scenario in SCENARIOS["scenario"]}) == len(SCENARIOS["scenario"])
    assert sum(tier.get("core", False) for tier in SHEETS["tier"].values()) == 15


@pytest.mark.parametrize("scenario", SCENARIOS["scenario"], ids=lambda scenario: scenario["name"])
def test_a_scenario_says_what_a_sensible_answer_is_and_why(scenario):
    inputs, answer = scenario["inputs"], scenario["answer"]
    known = {"dram", *inputs.get("tiers", ()), *inputs.get("extra_tiers", ())}
    assert known <= {"dram", *SCENARIOS["reference"], *SHEETS["tier"], *inputs.get("extra_tiers", ())}
    assert len(answer["why"]) > 80
    for each in (answer, *scenario.get("row", ())):
        for name in RANGES:
            low, high = each.get(name, (0, 0))
            assert 0 <= low <= high
    if "tiers" in inputs:
        assert {name.partition(":")[0] for name in (*answer["admitted"], *answer["refused"])} <= known
    assert not set(answer["admitted"]) & set(answer["refused"])


@pytest.mark.parametrize("path", FIGURES, ids=".".join)
def test_a_figure_names_where_and_when_it_was_read(path):
    figure = FIGURES[path]
    assert figure["source"].startswith("https://")
    assert date.fromisoformat(figure["read"]) <= date(2026, 11, 28)
    assert 0 < len(figure["quote"].split()) <= 16
    assert figure["unit"]
