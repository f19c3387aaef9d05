"""Placement: plans keep capacity and rate, cost no more than they must, and say what is short."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from tests.examples import examples
from tiering.advice.catalog import load_catalog
from tiering.errors import UsageError
from tiering.placement.bundles import bundle
from tiering.placement.file_costs import charges, occupied, read_seconds
from tiering.placement.heat import HEAT_SCHEMA, Heat
from tiering.placement.month import Month, Terms
from tiering.placement.plan import place
from tiering.units import MONTH_SECONDS

CATALOG = {tier.name: tier for tier in load_catalog()}
LASTING = [name for name, tier in CATALOG.items() if tier.access != "memory"]
DAY = 86400.0
MINIMUMS = {tier.minimum_object for tier in CATALOG.values()}

files = st.tuples(
    st.integers(0, 10**10), st.integers(0, 10**6), st.integers(1, 2**22), st.integers(0, 10**9)
)  # size, reads, bytes a read, bytes written


def heat(rows, duration=DAY):
    rows = [
        {
            "path": f"d{number % 3}/{number:05}",
            "size": size,
            "opens": min(reads, 5),
            "reads": reads,
            "bytes_read": reads * each,
            "writes": int(written > 0),
            "bytes_written": written,
        }
        for number, (size, reads, each, written) in enumerate(rows)
    ]
    return Heat(pl.DataFrame(rows, schema=HEAT_SCHEMA), duration)


def many(count, seed):
    """So many files, most of them cold, some hot; sizes over some decades."""
    generator = np.random.default_rng(seed)
    size = np.exp(generator.normal(14, 2, count)).astype(int)
    reads = np.where(generator.random(count) < 0.4, generator.pareto(1, count) * 50, 0).astype(int)
    written = np.where(generator.random(count) < 0.2, size, 0)
    return heat(zip(size.tolist(), reads.tolist(), np.minimum(size + 1, 2**18).tolist(), written.tolist(), strict=True))


def check(placement, capacities, most_busy=0.8):
    """Recount the plan from its own rows: limits, sums and the bound."""
    summary = placement.summary
    for share in summary.tiers:
        mine = placement.units.filter(pl.col("tier") == share.tier)
        limit = capacities[share.tier] or CATALOG[share.tier].capacity
        assert share.files == mine["files"].sum()
        assert limit is None or share.bytes <= limit
        assert share.busy <= most_busy * (1 + 1e-8)
        assert share.bytes >= mine["size"].sum()
        assert share.alone_usd is None or summary.monthly_usd <= share.alone_usd * (1 + 1e-9)
        assert share.monthly_usd == pytest.approx(mine["monthly_usd"].sum())
        assert share.monthly_usd == pytest.approx(
            share.storage_usd + share.access_usd + share.moving_usd + share.waiting_usd
        )
    assert sum(share.files for share in summary.tiers) == summary.files == len(placement.members)
    assert summary.monthly_usd == pytest.approx(sum(share.monthly_usd for share in summary.tiers))
    assert summary.bound_usd <= summary.monthly_usd * (1 + 1e-9)


def every_plan(found, names, capacities, duration=DAY, hour_usd=2.0):
    """Return the cost of the best of all plans, by trying each; None where none keeps the limits."""
    units, _ = bundle(found.files, minimum_objects=MINIMUMS)
    terms = Terms(duration, MONTH_SECONDS / duration, hour_usd)
    charged = [charges(units, CATALOG[name], terms) for name in names]
    cost = np.array([each.total(hour_usd) for each in charged])
    busy = np.array([each.busy for each in charged])
    weight = np.array([occupied(units, CATALOG[name]) for name in names])
    limits = [capacities[name] or CATALOG[name].capacity or np.inf for name in names]
    best = None
    for choice in itertools.product(range(len(names)), repeat=len(units)):
        chosen = np.array(choice)
        held = [chosen == number for number in range(len(names))]
        if any(weight[n, mine].sum() > limits[n] or busy[n, mine].sum() > 1 + 1e-9 for n, mine in enumerate(held)):
            continue
        total = cost[chosen, np.arange(len(units))].sum()
        best = total if best is None else min(best, total)
    return best


@settings(max_examples=examples(60))
@given(
    rows=st.lists(files, min_size=1, max_size=6),
    names=st.lists(st.sampled_from(LASTING), min_size=1, max_size=3, unique=True),
    tightness=st.lists(st.floats(0.05, 1.2), min_size=3, max_size=3),
)
def test_a_plan_is_the_best_of_all_plans_and_is_found_if_there_is_one(rows, names, tightness):
    found = heat(rows)
    total = int(bundle(found.files, minimum_objects=MINIMUMS)[0]["paged"].sum())
    capacities = {name: max(1, int(share * total)) for name, share in zip(names, tightness, strict=False)}
    best = every_plan(found, names, capacities)
    if best is None:
        with pytest.raises(UsageError, match="expected capacity and rate for everything"):
            place(found, capacities, most_busy=1.0)
        return
    placement = place(found, capacities, most_busy=1.0)
    check(placement, capacities, most_busy=1.0)
    assert placement.summary.monthly_usd == pytest.approx(best, rel=2e-4, abs=1e-12)


@settings(max_examples=examples(15))
@given(seed=st.integers(0, 10**6), count=st.integers(20, 5000), share=st.floats(0.02, 0.6))
def test_plans_of_many_files_keep_every_limit(seed, count, share):
    found = many(count, seed)
    total = int(found.files["size"].sum())
    capacities = {"nvme": max(1, int(share * total)), "hdd": None, "object": None}
    placement = place(found, capacities, month=Month(runs_per_month=30, in_flight=64))
    check(placement, capacities)
    assert placement.summary.gap < 0.01


@pytest.mark.parametrize("seed", range(4))
def test_a_plan_is_within_a_hundredth_of_an_exact_solver(seed):
    found, names = many(120, seed), ("nvme", "hdd", "object")
    units, _ = bundle(found.files, minimum_objects=MINIMUMS)
    capacities = {"nvme": int(units["paged"].sum()) // 5, "hdd": int(units["paged"].sum()) // 3, "object": None}
    terms = Terms(DAY, MONTH_SECONDS / DAY, 2.0)
    charged = [charges(units, CATALOG[name], terms) for name in names]
    cost = np.concatenate([each.total(2.0) for each in charged])
    rows = np.zeros((5, len(cost)))
    for number, name in enumerate(names):
        mine = slice(number * 120, (number + 1) * 120)
        rows[number, mine] = charged[number].busy
        if capacities[name]:
            rows[3 + number, mine] = occupied(units, CATALOG[name]) / capacities[name]
    once = np.tile(np.eye(120), 3)
    exact = milp(
        cost,
        integrality=np.ones(len(cost)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(rows, -np.inf, 1), LinearConstraint(once, 1, 1)],
        options={"time_limit": 20},
    )
    placement = place(found, capacities, most_busy=1.0)
    check(placement, capacities, most_busy=1.0)
    assert placement.summary.monthly_usd <= exact.fun * 1.01
    assert placement.summary.bound_usd <= exact.fun * (1 + 1e-4)


def test_files_that_are_all_alike_are_divided_to_the_last_byte():
    capacities = {"nvme": 250 * 4096, "object": None}
    placement = place(heat([(4000, 10, 4000, 0)] * 1000), capacities)
    check(placement, capacities)
    nvme, rest = placement.summary.tiers
    assert (nvme.files, rest.files) == (250, 750)
    assert placement.summary.gap < 1e-6


def test_hot_files_lie_on_the_fast_tier_and_cold_ones_on_the_cheap_one():
    rows = [(10**9, 1000, 2**20, 0)] * 5 + [(10**9, 0, 1, 0)] * 20
    placement = place(heat(rows), {"nvme": 6 * 10**9, "hdd": None, "object-archive": None})
    tiers = placement.units.sort("path")["tier"].to_list()
    hot = placement.units.filter(pl.col("reads") > 0)["tier"].unique().to_list()
    assert hot == ["nvme"]
    assert tiers.count("object-archive") == 20


def test_a_tier_that_cannot_carry_the_rate_gets_no_more_than_it_can():
    # 3,000 reads a second of 4 KiB: the hard disks do 2,000 in all, and have capacity for everything.
    rows = [(10**6, 300 * 86400, 4096, 0)] * 10
    capacities = {"nvme": 5 * 10**6, "hdd": None}
    placement = place(heat(rows), capacities, month=Month(hour_usd=0), most_busy=1.0)
    check(placement, capacities, most_busy=1.0)
    assert placement.summary.tiers[1].files == 6
    assert placement.summary.tiers[1].busy == pytest.approx(0.9)
    half = place(heat(rows), capacities | {"nvme": 10**8}, month=Month(hour_usd=0), most_busy=0.5)
    assert half.summary.tiers[1].files == 3


def test_what_is_short_is_named_with_its_amount():
    with pytest.raises(UsageError, match="10 GB to place, 4 GB of capacity; hdd is short of 6 GB"):
        place(heat([(10**9, 0, 1, 0)] * 10), {"hdd": 4 * 10**9})
    with pytest.raises(UsageError, match=r"hdd would be busy 1\.5 times as long as it may be"):
        place(heat([(10**6, 300 * 86400, 4096, 0)] * 10), {"hdd": None}, most_busy=1.0)
    with pytest.raises(UsageError, match="hdd would be busy"):
        place(heat([(10**3, 30_000, 4096, 0)] * 20_000), {"hdd": None, "sata-ssd": 8192})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"capacities": {}}, "at least one tier"),
        ({"capacities": {"tape": 1}}, "must be one of nvme"),
        ({"capacities": {"dram": 1}}, "must be one of nvme"),
        ({"capacities": {"hdd": 0}}, "at least 1 byte"),
        ({"month": Month(duration=0.0)}, "`duration`"),
        ({"most_busy": 1.5}, "up to 1"),
    ],
)
def test_impossible_requests_are_refused(arguments, said):
    with pytest.raises(UsageError, match=said):
        place(heat([(1, 1, 1, 0)]), **({"capacities": {"hdd": None}} | arguments))
    with pytest.raises(UsageError, match="files to place"):
        place(heat([]), {"hdd": None})


@pytest.mark.parametrize(
    "wrong", [{"runs_per_month": -1.0}, {"runs_per_month": float("inf")}, {"in_flight": 0}, {"hour_usd": float("nan")}]
)
def test_an_impossible_month_is_refused_by_name(wrong):
    with pytest.raises(UsageError, match=f"^{next(iter(wrong))}: must be at least"):
        Month(**wrong)


def test_runs_scale_the_bill_but_not_the_rate():
    found = heat([(10**9, 1000, 2**20, 0)] * 3, duration=3600.0)
    once, thrice = (
        place(found, {"object": None}, month=Month(runs_per_month=runs)).summary.tiers[0] for runs in (1, 3)
    )
    assert thrice.access_usd == pytest.approx(3 * once.access_usd)
    assert thrice.waiting_h == pytest.approx(3 * once.waiting_h)
    assert (thrice.busy, thrice.storage_usd) == (once.busy, once.storage_usd)
    always = place(found, {"object": None}).summary
    assert always.runs == 1
    assert any("priced as one run a month" in note for note in always.notes)
    log = place(heat([(10**9, 1000, 2**20, 0)] * 3, duration=7 * DAY), {"object": None}).summary
    assert log.runs == pytest.approx(MONTH_SECONDS / (7 * DAY))
    assert any("7 days and is taken to go on all month" in note for note in log.notes)


def test_directories_and_packed_stores_stay_whole():
    paths = ["a/1", "a/2", "a/b/3", "top", "x/photos.zarr/c/0/0", "x/photos.zarr/zarr.json", "x/photos.zarrow"]
    paths += [
        "db/data.mdb",
        "db/lock.mdb",
        "packed/manifest.json",
        "packed/shard-0/data.mdb",
        "packed/index/key/zarr.json",
    ]
    paths += ["plain/manifest.json", "plain/1"]
    table = pl.DataFrame({"path": paths, "size": [5000] * len(paths)}).with_columns(
        **{name: pl.lit(0, pl.Int64) for name in HEAT_SCHEMA if name not in ("path", "size", "first", "last")}
    )
    units, members = bundle(table)
    stores = units.filter(pl.col("kind") == "store")
    assert stores.select("path", "files").rows() == [("db", 2), ("packed", 3), ("x/photos.zarr", 2)]
    assert (units["files"].sum(), len(members)) == (len(paths), len(paths))
    assert stores["paged"][0] == 2 * 8192
    units, members = bundle(table, "directory")
    assert units["path"].to_list() == [".", "a", "a/b", "db", "packed", "plain", "x", "x/photos.zarr"]
    at = dict(zip(members["path"], units["path"].gather(members["unit"]), strict=True))
    assert at["a/1"] == at["a/2"] == "a"
    assert at["top"] == "."
    whole, _ = bundle(pl.concat([table, table.head(1).with_columns(path=pl.lit("zarr.json"))]))
    assert whole["path"].to_list() == ["."]


@given(st.sampled_from(sorted(CATALOG)), st.integers(0, 10**10))
def test_many_sizes_at_once_take_what_the_tier_says_of_each(name, size):
    tier = CATALOG[name]
    assert read_seconds(tier, np.array([float(size)]))[0] == pytest.approx(tier.read_seconds(size))


CLASSES = dict.fromkeys(("object", "object-infrequent", "object-archive"))


@pytest.mark.parametrize("by", ["file", "directory"])
@pytest.mark.parametrize("current", [None, "object"])
def test_small_objects_are_not_moved_to_classes_that_cost_more(by, current):
    # 10 kB each: billed as 128 KiB in the other classes, where each pays for its move, too.
    found = heat([(10_000, 1, 10_000, 0)] * 3000)
    plan = place(found, CLASSES, by=by, month=Month(runs_per_month=1, in_flight=64), current=current).summary
    standard, infrequent, archive = plan.tiers
    assert standard.files == 3000
    assert standard.monthly_usd == pytest.approx(plan.monthly_usd)
    assert plan.current == current
    assert standard.moving_usd == pytest.approx(0.0 if current else 3 * 0.005)
    # Storage 13 times as large at half the price, 0.01 USD for a thousand moves, 2.5 times the price of a read.
    assert infrequent.alone_usd > 2 * standard.monthly_usd
    assert infrequent.alone_usd - standard.waiting_usd == pytest.approx(
        3000 * 131072 / 1e9 * 0.0125 + 3 * 0.01 + 3 * 0.001 + 0.03 * 0.01, rel=1e-3
    )
    assert archive.alone_usd > infrequent.alone_usd


def test_large_cold_objects_are_moved_and_pay_once():
    found = heat([(10**9, 1, 1, 0)] * 50)
    plan = place(found, CLASSES, month=Month(runs_per_month=0, in_flight=64), current="object").summary
    assert plan.tiers[2].files == 50
    assert plan.monthly_usd == pytest.approx(50 * 0.004 + 0.05 * 0.02)
    assert plan.tiers[2].moving_usd == pytest.approx(0.05 * 0.02)


def test_leaving_a_tier_pays_for_reading_it():
    found = heat([(10**9, 0, 1, 1)] * 10)
    plan = place(found, {"hdd": None}, month=Month(runs_per_month=0), current="object-archive").summary
    assert plan.tiers[0].moving_usd == pytest.approx(10 * 0.03 + 0.01 * 0.01)


def test_what_the_plan_cannot_count_is_said():
    lustre = CATALOG["parallel-fs"].model_copy(update={"minimum_capacity": 10**13, "price_steps": ((10.0, 0.1),)})
    notes = place(heat([(10**6, 5, 100, 0)]), {"parallel-fs": None}, tiers=[lustre]).summary.notes
    assert any("costs at least" in note and "parallel-fs" in note for note in notes)
    assert any("first price" in note for note in notes)
    archive = place(heat([(10**6, 5, 100, 0)]), {"object-archive": None}).summary.notes
    assert any("object-archive bills each object for 90 days at least" in note for note in archive)
    assert any("`current`" in note for note in place(heat([(10**6, 5, 100, 0)]), {"object": None}).summary.notes)


def test_an_unknown_current_tier_is_refused():
    with pytest.raises(UsageError, match="current"):
        place(heat([(10**6, 5, 100, 0)]), {"object": None}, current="tape")


def test_a_tier_that_is_sold_by_size_is_as_fast_as_what_is_bought():
    lustre = CATALOG["parallel-fs"].model_copy(update={"bandwidth_per_tib": 100e6, "total_bandwidth": None})
    found = heat([(10**9, 1000, 10**6, 0)])
    small, large = (
        place(found, {"parallel-fs": size}, tiers=[lustre]).summary.tiers[0].busy for size in (2**40, 2**43)
    )
    assert small == pytest.approx(8 * large)
