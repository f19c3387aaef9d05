"""The scenarios of storage architects, and the price sheets behind them: whole, sourced, and consistent with each other."""

from __future__ import annotations

import tomllib
from datetime import date

import pytest

from tests.advice.profiles import TIERS, dataset
from tests.conftest import FIXTURES
from tiering.advice.constraints import Limits
from tiering.advice.recommend import Job, recommend

SCENARIOS = tomllib.loads((FIXTURES / "advice" / "scenarios.toml").read_text())
SHEETS = tomllib.loads((FIXTURES / "advice" / "price_sheets.toml").read_text())
RANGES = ("samples_per_s", "monthly_usd", "stall_fraction")
#: Scenarios of shipped tiers that the advice meets so far. The others wait for what it cannot express yet: bills of object
#: classes, opens in flight of local disks, kept originals, checkpoints, inference, data that is read once.
MET = {
    "filer-64-nodes", "filer-8-nodes", "starving-on-hard-disks", "dominated-option", "network-folder-opens",
    "decode-on-96-cpus", "decode-on-8-cpus", "originals-kept", "demo-with-decoding", "laptop-tiny", "laptop-10gb-photos",
    "lab-imagenet-a100", "lab-imagenet-h100", "lab-4k-tiff", "hpc-imagenet-128-h100", "hpc-imagenet-512-h100",
    "hpc-cosmoflow", "hpc-worked-example", "hpc-filer-with-caches", "hpc-billion-tiny-files", "ten-gigabytes-everywhere",
}  # fmt: skip


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


def _tier(name, inputs):
    own = dict(inputs.get("extra_tiers", {}).get(name, {}))
    if not own:
        return TIERS[name]
    return TIERS[own.pop("like")].model_copy(update={"name": name, "title": name, **own})


def _misses(scenario):
    """Return in which points the advice misses the range of a sensible answer."""
    inputs, answer = scenario["inputs"], scenario["answer"]
    job = Job(
        epochs=inputs["epochs"], decode=inputs["decode"] == "cpu", nodes=inputs["nodes"],
        threads=inputs.get("loader_threads", inputs["cpus_per_node"]), ram=inputs["node_ram_bytes"] // 2,
        samples_per_s=inputs.get("job_samples_per_s"), hour_usd=inputs.get("node_usd_per_h"),
    )  # fmt: skip
    found = recommend(
        dataset(inputs["samples"], inputs["bytes"]), tiers=[_tier(name, inputs) for name in inputs["tiers"]], job=job,
        limits=Limits(capacity=inputs.get("room", {}), max_epoch_s=inputs.get("max_epoch_s")), current=inputs["data_now"],
    ).choice  # fmt: skip
    cached = found.cache_local or found.cache_ram
    kind = "cached" if cached else "shared" if found.shared else "copy"
    used = {found.tier, f"{found.tier}:{kind}"}
    if not (used | {found.cache_tier}) & set(answer["admitted"]):
        yield f"{found.tier} is not admitted"
    if used & set(answer["refused"]):
        yield f"{found.tier} is refused"
    for name in RANGES:
        low, high = answer.get(name, (0, float("inf")))
        if not low * 0.999 <= (getattr(found, name) or 0) <= high * 1.001:
            yield f"{name} {getattr(found, name)} is not in {low} to {high}"


@pytest.mark.parametrize("name", sorted(MET))
def test_the_advice_is_what_a_storage_architect_would_accept(name):
    scenario = next(scenario for scenario in SCENARIOS["scenario"] if scenario["name"] == name)
    assert list(_misses(scenario)) == []
