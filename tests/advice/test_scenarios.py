"""The scenarios of storage architects, and the price sheets behind them: whole, sourced, and consistent with each other."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import date
from typing import get_args

import pytest

from docs.scenario_table import PAGE, page
from tests.advice.profiles import TIERS, dataset, everything, verdict
from tests.conftest import FIXTURES
from tiering.advice.catalog import load_catalog
from tiering.advice.checkpoints import checkpoint_plans
from tiering.advice.constraints import Limits
from tiering.advice.job import Job
from tiering.advice.recommend import recommend
from tiering.errors import UsageError
from tiering.literals import Cloud
from tiering.units import MONTH_SECONDS

SCENARIOS = tomllib.loads((FIXTURES / "advice" / "scenarios.toml").read_text())
SHEETS = tomllib.loads((FIXTURES / "advice" / "price_sheets.toml").read_text())
RATES = ("read_bandwidth", "random_bandwidth", "write_bandwidth")
BY_NAME = {scenario["name"]: scenario for scenario in SCENARIOS["scenario"]}
#: Tiers that the presets leave out because a price was not found: the limits are those of the price sheets, and the rest is
#: that of the class.
UNPRICED = {
    "aws-s3-glacier-ir": TIERS["object-archive"].model_copy(update={"cloud": "aws", "gb": 1 << 30}),
    "gcp-hyperdisk-balanced": TIERS["nvme"].model_copy(
        update=dict.fromkeys(RATES, SHEETS["tier"]["gcp-hyperdisk-balanced"]["max_throughput"]["value"])
    ),
    "azure-premium-ssd-v2": TIERS["nvme"].model_copy(
        update=dict.fromkeys(RATES, SHEETS["tier"]["azure-premium-ssd-v2"]["max_throughput"]["value"])
    ),
}
CATALOG = (
    {name: tier.model_copy(update={"name": name, "title": name}) for name, tier in UNPRICED.items()}
    | {tier.name: tier for cloud in get_args(Cloud) for tier in load_catalog(cloud=cloud)}
    | TIERS
)
RANGES = ("samples_per_s", "monthly_usd", "stall_fraction")
#: Scenarios without a dataset of their own: checkpoints below, several jobs and ranks in tests/placement.
ELSEWHERE = {
    "hpc-checkpoint-405b", "hpc-checkpoint-1t", "checkpoint-8b-one-node", "lab-impossible-budget", "place-parallel-ranks",
    "hpc-four-jobs-one-filer",
}  # fmt: skip
#: Scenarios whose ranges the advice does not meet, and why.
NOT_MET = {
    "lab-tight-room": "the range asks for a cache; the disk array keeps up where it is read in blocks, which costs less",
    "hpc-cosmoflow": "the row without a cache is 1.5 % too quick: a node's page cache has 1 / 64 of what it wants",
    "hpc-unet3d": "the same on 16 nodes, 1 %",
    "aws-imagenet-p4d": "1.28 million single objects of one prefix take 276 s at 4,650 GETs/s; the range is 40 to 200 s",
    "aws-other-region": "445 USD once, not 440: the reads of single objects cost 73 USD of it, which the range leaves out",
}


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
    assert date.fromisoformat(figure["read"]) <= date(2026, 11, 29)
    assert 0 < len(figure["quote"].split()) <= 16
    assert figure["unit"]


def _tier(name, inputs):
    own = dict(inputs.get("extra_tiers", {}).get(name, {}))
    if not own:
        return CATALOG[name]
    return TIERS[own.pop("like")].model_copy(update={"name": name, "title": name, **own})


def _job(inputs):
    """Return the job of a scenario. An online service reads all month, as often as that makes."""
    epochs = inputs["epochs"] or 1
    if inputs.get("inference"):
        epochs = round(inputs["job_samples_per_s"] * MONTH_SECONDS / inputs["samples"])
    optional = {
        "runs_per_month": inputs["runs_per_month"] if inputs["epochs"] or inputs.get("inference") else 0,
        "kept_days": None if "written_bytes_per_day" in inputs else inputs.get("kept_days"),
        "prefixes": inputs.get("prefixes"),
        "network": inputs.get("network_bytes_per_s"),
        "reads_from": {"us-west-2": "other-region", "on premises": "internet"}.get(inputs.get("node_region")),
    }
    return Job(
        epochs=epochs, decode=inputs["decode"] == "cpu", nodes=inputs["nodes"],
        processes=inputs["ranks_per_node"], cpus=inputs["cpus_per_node"], threads=inputs.get("loader_threads"), ram=inputs["node_ram_bytes"] // 2,
        samples_per_s=inputs.get("job_samples_per_s"), hour_usd=inputs.get("node_usd_per_h"),
        checkpoint_bytes=inputs.get("checkpoint_bytes"), checkpoint_every_s=inputs.get("checkpoint_every_s"),
        originals={None: "cheapest", True: "stay", False: "drop"}[inputs.get("keep_originals")],
        **{name: value for name, value in optional.items() if value is not None},
    )  # fmt: skip


def _advice(scenario, **changed):
    inputs = scenario["inputs"] | changed
    tiers = [_tier(name, inputs).model_copy(update=inputs.get("device", {})) for name in inputs["tiers"]]
    found = verdict("write-heavy") if "written_bytes_per_day" in inputs else None
    return recommend(
        dataset(inputs["samples"], inputs["bytes"]), tiers=tiers, job=_job(inputs), verdict=found,
        limits=Limits(
            capacity=inputs.get("room", {}), max_epoch_s=inputs.get("max_epoch_s"), budget_usd=inputs.get("budget_usd"),
            read_p99_s=inputs.get("p99_s"), single_files=not inputs.get("may_pack", True),
        ),
        current=inputs["data_now"], current_format=_format_now(inputs),
    )  # fmt: skip


def _format_now(inputs):
    if inputs.get("format_now") != "packed":
        return "folder"
    return "lmdb" if _tier(inputs["data_now"], inputs).mmap_ok else "zarr"


def _words(option, home, ram=0, *, remote=False):
    """Yield the words of a scenario that an option answers to, besides the name of its tier."""
    held = option.hit_ratio >= 0.5 or option.kind in {"cached", "share"}
    yield "cached" if held else "uncached"
    if option.cache == "page cache" and ram >= option.stored:
        yield "cached"  # after some epochs, in the memory of every node
    if option.tier == home and not option.remote and option.stored and option.move_s and remote:
        yield "copy"  # beside the nodes
    yield "shared" if option.shared else "copy"
    if option.tier == home:
        yield from ("stay", *(["streamed across regions"] if option.remote else []))
    if option.format == "folder":
        yield from ("folder", "unpacked", *([] if held else ["unpacked, uncached"]))
    if option.kind == "copy":
        yield "whole copy"
    yield "provisioned for the job" if option.provisioned else "free throughput"


def _words_of_choice(choice, inputs):
    return {*_words(choice, inputs["data_now"], inputs["node_ram_bytes"] // 2, remote="node_region" in inputs)}


def _outside(name, value, table):
    low, high = table.get(name, (-float("inf"), float("inf")))
    # The ends of the ranges have three digits.
    if not low - abs(low) * 5e-3 <= (value or 0) <= high * 1.005:
        yield f"{name} {value} is not in {low} to {high}"


def _misses(scenario):
    """Yield in which points the advice misses the range of a sensible answer."""
    found = _advice(scenario)
    yield from _wrong_place(scenario, found.choice)
    yield from _wrong_figures(scenario, found)
    known = *found.notes, *(each.text for each in found.assumptions)
    said = " ".join((found.answer, found.choice.reason, *found.choice.warnings, *known)).lower()
    for word in (*scenario["answer"].get("advises", ()), *scenario["answer"].get("warns", ())):
        if word not in said:
            yield f"{word!r} is not said"
    for row in scenario.get("row", ()):
        yield from _row_misses(scenario, found, row)


def _wrong_place(scenario, choice):
    answer, words = scenario["answer"], _words_of_choice(choice, scenario["inputs"])
    names = {choice.tier, *(f"{choice.tier}:{word}" for word in words)}
    rests_on = names | {choice.cache_tier, "dram" if choice.cache_ram else None}
    if not rests_on & set(answer["admitted"]):
        yield f"{sorted(names)} is not admitted"
    if choice.kind == "cached" and choice.hit_ratio >= 0.99:
        # It rests on the caches alone.
        names = {f"{choice.tier}:cached"}
    if names & set(answer["refused"]):
        yield f"{sorted(names)} is refused"
    if not words & set(answer["kind"]):
        yield f"{sorted(words)} is none of {answer['kind']}"


def _wrong_figures(scenario, found):
    inputs, answer, choice = scenario["inputs"], scenario["answer"], found.choice
    epoch = "first_epoch_s" if inputs.get("cold") else "steady_epoch_s"
    if inputs.get("cold"):
        rate = inputs["samples"] / choice.first_epoch_s
        choice = replace(choice, samples_per_s=rate, stall_fraction=1 - rate / inputs["job_samples_per_s"])
    else:
        limit = {"CPU copy": "cpu", "all cores": "cpu", "open latency": "device"}.get(
            choice.bottleneck, choice.bottleneck
        )
        limits = {limit, "checkpoint" if choice.checkpoint_fraction else limit}
        if not limits & set(answer.get("limit", limits)):
            yield f"{limit} is none of {answer['limit']}"
    figures = {
        "samples_per_s": choice.samples_per_s, "monthly_usd": choice.monthly_usd, "first_epoch_s": choice.first_epoch_s,
        "stall_fraction": choice.stall_fraction, "epoch_s": choice.steady_epoch_s, "once_usd": choice.move_usd,
        "checkpoint_share": choice.checkpoint_fraction, "read_per_written": found.asks.read_write_ratio,
    }  # fmt: skip
    if choice.kind == "copy":
        figures["loading_s"] = choice.loading_s
    packed = [each for each in everything(found) if each.format in {"lmdb", "zarr"} and each.tier == inputs["data_now"]]
    best = min((getattr(each, epoch) for each in packed), default=getattr(found.baseline, epoch))
    figures["packing_gain"] = getattr(found.baseline, epoch) / best
    for name, value in figures.items():
        yield from _outside(name, value, answer)


def _row_misses(scenario, found, row):
    if "job_samples_per_s" in row:
        found = _advice(scenario, job_samples_per_s=row["job_samples_per_s"])
    home = scenario["inputs"]["data_now"]
    shown = [
        option for option in (*everything(found), found.baseline)
        if option.tier == row["tier"] and row["kind"] in {*_words(option, home)}
        and row.get("format", option.format) == option.format
    ]  # fmt: skip
    once = {"once_usd": [row["once_usd"]] * 2} if "once_usd" in row else {}
    misses = [
        [
            *_outside("once_usd", option.move_usd, once),
            *(line for name in RANGES for line in _outside(name, getattr(option, name), row)),
        ]
        for option in shown
    ]  # fmt: skip
    if not misses:
        yield f"no row of {row['tier']}, {row['kind']}"
    elif all(misses):
        yield f"{row['tier']}, {row['kind']}: {min(misses, key=len)}"


@pytest.mark.parametrize("name", sorted(BY_NAME.keys() - ELSEWHERE - NOT_MET.keys()))
def test_the_advice_is_what_a_storage_architect_would_accept(name):
    assert list(_misses(BY_NAME[name])) == []


@pytest.mark.parametrize("name", sorted(NOT_MET))
def test_a_scenario_that_is_met_is_not_listed_as_one_that_is_not(name):
    assert list(_misses(BY_NAME[name]))


def test_a_budget_that_nothing_keeps_is_an_error_that_names_what_comes_nearest():
    with pytest.raises(UsageError, match=r"budget_usd.*20\.37 USD"):
        _advice(BY_NAME["lab-impossible-budget"])


@pytest.mark.parametrize("name", [name for name in BY_NAME if name.startswith(("hpc-checkpoint", "checkpoint-8b"))])
def test_checkpoints_go_where_a_storage_architect_would_write_them(name):
    inputs, answer = BY_NAME[name]["inputs"], BY_NAME[name]["answer"]
    best, *rest = checkpoint_plans(
        [CATALOG[tier] for tier in inputs["tiers"]], inputs["checkpoint_bytes"], inputs["checkpoint_every_s"],
        nodes=inputs["nodes"], kept=inputs["kept_checkpoints"], hour_usd=inputs.get("node_usd_per_h"),
    )  # fmt: skip
    assert {best.tier, best.drained_to} - {None} <= set(answer["admitted"])
    assert {"copy" if best.path == "local" else best.path} & set(answer["kind"])
    for field in ("monthly_usd", "stall_fraction", "life_years"):
        assert not list(_outside(field, getattr(best, field), answer))
    for row in BY_NAME[name].get("row", ()):
        plan = next(plan for plan in (best, *rest) if (plan.tier, plan.path) == (row["tier"], row["kind"]))
        assert not list(_outside("stall_fraction", plan.stall_fraction, row))


def test_the_documentation_shows_every_scenario():
    assert PAGE.read_text() == page(), "remake it: python -m docs.scenario_table"
