"""How good plans for placing files are, and how long they take.

Usage: python -m benchmarks.placement [--only exact,large] [--instances 50] [--files 1000000]

- exact: random instances of 20 to 200 files on 2 to 5 tiers of the catalog, with capacities and rates that bind,
  against the optimum by scipy.optimize.milp (to 10^-6, up to 20 s): the plan that `place` gives, and what the greedy
  steps alone give without the exact solver.
- large: a million files (--files) on four tiers, in a process of its own: seconds, gap to the bound, peak of memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import polars as pl

from tiering.advice.catalog import Tier, load_catalog
from tiering.placement.bundles import bundle
from tiering.placement.dual_prices import best_dual, relaxed
from tiering.placement.file_costs import Terms
from tiering.placement.heat import HEAT_SCHEMA, Heat
from tiering.placement.linear_program import prices_of, solve
from tiering.placement.plan import place, problem_of
from tiering.placement.problem import Problem, costs_of
from tiering.placement.solver import assign, greedy
from tiering.units import MONTH_SECONDS

DAY = 86400.0
EXACT_SECONDS = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="exact,large")
    parser.add_argument("--instances", type=int, default=50)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        large(asked.files)
        return
    parts = asked.only.split(",")
    if "exact" in parts:
        exact(asked.instances)
    if "large" in parts:
        command = [sys.executable, "-m", "benchmarks.placement", "--inside", "--files", str(asked.files)]
        subprocess.run(command, check=True)


def random_heat(files: int, generator: np.random.Generator) -> Heat:
    """Draw files of a day's trace: sizes over five decades, most files cold, a few very hot, some written."""
    size = np.exp(generator.normal(np.log(2e6), 2.0, files)).astype(np.int64) + 1
    passes = generator.pareto(0.8, files) * generator.choice([0.0, 0.05, 1.0], files, p=[0.3, 0.4, 0.3])
    bytes_read = np.minimum(passes, 1e4) * size
    request = np.minimum(size, 2 ** generator.integers(12, 24, files))
    reads = np.ceil(bytes_read / request).astype(np.int64)
    written = np.where(generator.random(files) < 0.2, generator.exponential(1.0, files) * size, 0).astype(np.int64)
    columns = {
        "path": pl.select(
            path="d" + (pl.int_range(files) // 1000).cast(pl.String) + "/" + pl.int_range(files).cast(pl.String)
        )["path"],
        "size": size,
        "opens": np.minimum(reads, np.ceil(passes).astype(np.int64)),
        "reads": reads,
        "bytes_read": reads * request,
        "writes": -(-written // (1 << 20)),
        "bytes_written": written,
        "first": np.zeros(files),
        "last": np.full(files, DAY),
    }
    return Heat(pl.DataFrame(columns, schema=dict(HEAT_SCHEMA)), DAY)


def random_problem(seed: int) -> Problem:
    """Draw an instance that has a plan, but in which the cheapest choices break some limit."""
    generator = np.random.default_rng(seed)
    while True:
        catalog = [tier for tier in load_catalog() if tier.access != "memory"]
        minimums = {tier.minimum_object for tier in catalog}
        units, _ = bundle(random_heat(int(generator.integers(20, 201)), generator).files, minimum_objects=minimums)
        count = int(generator.integers(2, 6))
        tiers = [catalog[place] for place in sorted(generator.choice(len(catalog), count, replace=False))]
        total = int(units["paged"].sum())
        shares = generator.dirichlet(np.ones(count)) * generator.uniform(1.02, 2.0)
        room = [max(1, int(share * total)) for share in shares]
        terms = Terms(DAY, MONTH_SECONDS / DAY, float(generator.choice([0.0, 0.2, 2.0])), int(generator.choice([1, 8])))
        problem = slowed(problem_of(units, tiers, room, terms), generator)
        prices = prices_of(problem)
        if (
            prices is not None
            and prices.any()
            and solve(problem, relaxed(problem, prices).choice, np.arange(problem.items), 10.0)
        ):
            return problem


def slowed(problem: Problem, generator: np.random.Generator) -> Problem:
    """Let each tier carry only a share of what all files together ask of it, so that rates bind."""
    limits = problem.limits.copy()
    limits[1] = np.maximum(problem.use[1].sum(axis=1) * generator.uniform(0.2, 1.2, problem.tiers), 1e-12)
    return Problem(problem.cost, problem.use, limits, problem.like).possible()


def exact(instances: int) -> None:
    """Print how far plans are from the optimum."""
    gaps: dict[str, list[float]] = {"greedy": [], "plan": [], "bound": []}
    slowest = unproven = 0.0
    for seed in range(instances):
        problem = random_problem(seed)
        optimum = solve(problem, np.zeros(problem.items, np.intp), np.arange(problem.items), EXACT_SECONDS, gap=1e-6)
        assert optimum is not None
        unproven += not optimum.proven
        best = costs_of(problem, optimum.choice)
        prices = prices_of(problem)
        assert prices is not None
        alone = greedy(problem, best_dual(problem))
        began = time.perf_counter()
        found = assign(problem)
        slowest = max(slowest, time.perf_counter() - began)
        assert found is not None
        assert found.bound <= best * (1 + 1e-6), (seed, found.bound, best)
        gaps["greedy"].append(np.inf if alone is None else costs_of(problem, alone) / best - 1)
        gaps["plan"].append(found.cost / best - 1)
        gaps["bound"].append(found.gap)
    print(f"{instances} instances; optimum not proven within {EXACT_SECONDS:.0f} s in {unproven:.0f}\n")
    print("| what | median | 90 % below | worst | within 1 % |\n| --- | --- | --- | --- | --- |")
    titles = {
        "plan": "the plan, above the optimum",
        "greedy": "greedy steps alone, above the optimum",
        "bound": "what the plan says of itself (gap to the bound)",
    }
    for name, title in titles.items():
        values = np.array(gaps[name])
        part = [f"{100 * np.quantile(values, at, method='lower'):.4f} %" for at in (0.5, 0.9, 1.0)]
        print(f"| {title} | {' | '.join(part)} | {(values <= 0.01).sum()} of {instances} |")
    print(f"\nslowest plan: {slowest:.2f} s")


def large(files: int) -> None:
    """Print seconds, gap and memory of one large plan."""
    heat = random_heat(files, np.random.default_rng(0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total = int(heat.files["size"].sum())
    tiers: tuple[Tier, ...] = load_catalog()
    room = {"nvme": total // 20, "sata-ssd": total // 10, "hdd": total // 2, "object": None}
    began = time.perf_counter()
    found = place(heat, room, tiers=tiers)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{files:,} files of {total / 1e12:.3g} TB on {len(room)} tiers: {seconds:.2f} s")
    print(f"gap to the bound: {100 * found.summary.gap:.4f} %")
    print(f"memory at its peak: {peak / 1e6:.2f} GB, of which the heat {before / 1e6:.2f} GB")
    for share in found.summary.tiers:
        held = f"{share.files:9,} files {share.bytes / 1e12:6.3f} TB"
        print(f"  {share.tier:10} {held}  busy {share.busy:.1%}  {share.monthly_usd:,.2f} USD")


if __name__ == "__main__":
    main()
