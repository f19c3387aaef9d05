"""The corpus: every family is what it promises, runs are well formed, and a seed fixes everything."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.trace.events import EVENT_SCHEMA
from tiering.workload.label import WORKLOADS
from tiering.workload.training.corpus import FAMILIES, MISLEADING, examples, examples_of_run, rows, whole_run
from tiering.workload.verdict import classify

each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@each_family
@pytest.mark.parametrize("scale", [0.2, 0.5])
def test_a_whole_run_is_what_its_family_promises(family, scale):
    for seed in range(4):
        _, workload = whole_run(family.generate(np.random.default_rng([9, seed]), scale))
        assert workload == family.promises


@each_family
def test_a_run_is_a_well_formed_trace(family):
    events = family.generate(np.random.default_rng(3), 0.3).events
    assert events.schema == EVENT_SCHEMA
    assert events["time"].is_sorted()
    assert events.select(pl.col("offset", "size").min() >= 0).row(0) == (True, True)
    assert events.filter(pl.col("op").is_in(["read", "write"])).height > 0
    assert events["path"].null_count() == 0


@each_family
def test_nothing_that_a_family_moves_is_left_out_as_machinery(family):
    trace, _ = whole_run(family.generate(np.random.default_rng(4), 0.3))
    assert trace.excluded_bytes == 0


def test_every_workload_has_several_families():
    for workload in WORKLOADS:
        assert sum(family.promises == workload for family in FAMILIES) >= 5


def test_the_same_seed_gives_the_same_examples():
    first, again, other = (list(itertools.islice(examples(seed), 6)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_examples_are_whole_runs_and_first_parts_with_the_label_of_the_whole():
    found = list(itertools.islice(examples(5, runs=2, parts=(0.25, 1.0)), 12))
    assert [example.part for example in found] == ["whole", "0.25", "1"] * 4
    assert {example.workload for example in found} == {"re-read-heavy"}
    assert any(example.trace.reread_share < 0.5 for example in found)


def test_a_training_run_cut_in_its_first_epoch_shows_no_repeat():
    run = FAMILIES[0].generate(np.random.default_rng(1), 0.3)
    part = rows.SyntheticRun(run.events.head(100))
    trace, workload = whole_run(part)
    assert trace.bytes_reread == 0
    assert workload != "re-read-heavy"


@given(sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=20), buffer=st.integers(1000, 10**6))
def test_a_visit_reads_every_byte_once_and_closes_what_it_opens(sizes, buffer):
    made = rows.visit(np.arange(len(sizes)), np.array(sizes), buffer, stat=True)
    run = rows.finish(np.random.default_rng(0), made, rows.numbered("/d/{}", len(sizes)))
    reads = run.events.filter(pl.col("op") == "read", pl.col("size") > 0)
    assert reads.group_by("path").agg(pl.col("size").sum()).sort("path")["size"].sum() == sum(sizes)
    follows = (pl.col("offset") + pl.col("size")) == pl.col("offset").shift(-1).over("path")
    assert reads.select(follows.sum()).item() == reads.height - len(sizes)
    for op in ("open", "stat", "close"):
        assert run.events.filter(pl.col("op") == op)["path"].to_list() == rows.numbered("/d/{}", len(sizes))


def test_interleaving_keeps_the_order_of_each_piece():
    rng = np.random.default_rng(0)
    pieces = [rows.touch("read", np.zeros(50, int), np.arange(50), 1, pid=pid) for pid in range(3)]
    merged = rows.interleave(rng, *pieces)
    assert len(merged) == 150
    for pid in range(3):
        assert merged["offset"][merged["pid"] == pid].tolist() == list(range(50))
    assert (np.diff(merged["pid"]) != 0).sum() > 30


def test_no_new_run_that_was_made_to_mislead_gets_a_confident_wrong_verdict():
    """An archiver that imports a framework, an inference server, training without one, a search, a preparation."""
    found = [
        (example, classify(example.trace))
        for number in (number for number, family in enumerate(FAMILIES) if family.name in MISLEADING)
        for index in range(2)
        for example in examples_of_run(31, number, index, (0.1, 0.5), 0.3)
    ]
    assert {example.family for example, _ in found} == MISLEADING
    wrong = [(each.family, each.part, verdict.workload) for each, verdict in found if verdict.workload != each.workload]
    assert [each for each in wrong if each[2] != "inconclusive"] == []


def test_surroundings_mislead_and_are_missing_but_mostly_fit():
    runs = [
        example for number in range(4) for index in range(6) for example in examples_of_run(5, number, index, (), 0.2)
    ]
    kinds = [example.trace.evidence.process_kinds for example in runs]
    hidden, seen = [each for each in kinds if each is None], [each for each in kinds if each is not None]
    assert 0 < len(hidden) < len(runs) / 2
    framework = sum("deep_learning" in each for each in seen)
    assert len(seen) / 2 < framework < len(seen)
