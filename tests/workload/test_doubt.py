"""Verdicts carry no more than their evidence: what ended how, what is missing, what is too little or too near."""

from __future__ import annotations

import pytest

from tests.workload.traces import sure_of, training
from tiering.trace.trace_profile import TraceProfile
from tiering.workload.doubt import DWARFED, FLOOR, NEAR
from tiering.workload.explain import speaks_for
from tiering.workload.label import MAJORITY, SINGLE_PASS, WORKLOADS
from tiering.workload.thresholds import Thresholds
from tiering.workload.verdict import classify

FORECAST_ABOVE, SHOWN_ABOVE = Thresholds().forecast, Thresholds().shown

SHARES = {"reread_share": 0.0, "write_share": 0.0, "bytes_reread": 0, "bytes_written": 0, "writes": 0, "epochs": 1.0}


def single_pass(**changes) -> TraceProfile:
    """One pass over 300 files in a shuffled order: a program that read them once, or the first of its epochs."""
    once = {"bytes_read": 1_800_000, "reads": 600, "opens": 300, "opens_per_file": 1.0, "reopened_share": 0.0}
    return training(**(SHARES | once | {"read_only_files": 1.0, "write_only_files": 0.0} | changes))


def split(reread: float, written: float, **changes) -> TraceProfile:
    """A whole run of 10 MB with these shares of bytes that were read again and written."""
    total = 10_000_000
    read = round(total * (1 - written))
    again = round(total * reread)
    return training(
        whole=True, bytes_read=read, bytes_written=total - read, bytes_reread=again, reread_share=again / total,
        write_share=(total - read) / total, epochs=read / max(1, read - again), **changes,
    )  # fmt: skip


def test_a_run_that_ended_by_itself_is_judged_by_its_bytes():
    verdict = classify(single_pass(whole=True))
    assert (verdict.workload, verdict.probability, verdict.whole) == ("read-once", 1.0, True)
    assert verdict.is_single_pass
    assert any("it may be one epoch of several" in note for note in verdict.notes)
    assert all(fact.weight >= 0 for fact in verdict.facts)


@pytest.mark.parametrize(
    "changes",
    [
        {"gaps": ["it was killed by SIGINT"]},
        {"gaps": ["it ended with exit status 1"]},
        {"gaps": ["the trace ends before it does"]},
        {"gaps": ["strace was detached from it"]},
        {"skipped_lines": 3},
        {"untouched_share": 0.2},
        {"untouched_output_share": 1.0},
        {"failed_share": 0.5},
    ],
)
def test_a_run_that_is_not_whole_is_forecast_and_never_called_a_single_pass(changes):
    verdict = classify(single_pass(whole=True, **changes))
    assert verdict.workload != "read-once"
    assert not verdict.whole
    (note,) = [note for note in verdict.notes if note.startswith("The whole run is not in this trace: ")]
    assert note.endswith("So the verdict is a forecast.")
    for gap in changes.get("gaps", []):
        assert gap in note


def test_a_mixture_that_was_cut_is_undecided_and_what_was_written_so_far_needs_more_certainty():
    """A run may unpack its images before it trains on them: so far it reads as much as it writes, or writes most."""
    cut = {"gaps": ["it was killed by SIGKILL"]}
    mixture = classify(split(0.0, 0.5, **cut), sure_of("mixed", 0.99))
    assert mixture.workload == "inconclusive"
    assert "So far it is a mixture, which the rest of the run may tip to any side." in mixture.notes
    assert classify(split(0.0, 0.9, **cut), sure_of("write-heavy", SHOWN_ABOVE)).workload == "inconclusive"
    assert classify(split(0.0, 0.9, **cut), sure_of("write-heavy", FORECAST_ABOVE)).workload == "write-heavy"


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize(
    "changes",
    [{"untouched_share": 0.5, "reads": 0}, {"untouched_output_share": 1.0, "writes": 0}, {"calls_missing": True}],
)
def test_where_calls_that_move_data_are_missing_nothing_is_concluded(workload, changes):
    verdict = classify(split(0.8, 0.0, **changes), sure_of(workload, 1.0))
    assert verdict.workload == "inconclusive"
    assert "Calls that move data are missing, so that no share of the bytes is known." in verdict.notes


def test_below_the_floor_there_is_no_verdict_even_on_a_whole_run():
    assert classify(split(0.8, 0.0)).workload == "re-read-heavy"
    small = split(0.8, 0.0).model_copy(update={"bytes_read": FLOOR - 1, "bytes_written": 0})
    verdict = classify(small)
    assert (verdict.workload, verdict.probability, verdict.facts) == ("inconclusive", 0.25, [])
    assert "65.5 kB" in verdict.notes[0]


def test_a_little_beside_much_that_was_left_out_is_not_judged():
    excluded = 10_000_000 * DWARFED
    assert classify(split(0.8, 0.0, excluded_bytes=excluded)).workload == "re-read-heavy"
    verdict = classify(split(0.8, 0.0, excluded_bytes=excluded + 1))
    assert verdict.workload == "inconclusive"
    assert "were left out of account" in verdict.notes[0]


@pytest.mark.parametrize(
    ("reread", "written", "workload", "said"),
    [
        (MAJORITY + NEAR / 2, 0.0, "re-read-heavy", "Bytes read again are 62.5 %"),
        (MAJORITY - NEAR / 2, 0.0, "mixed", "Bytes read again are 57.5 %"),
        (0.0, MAJORITY + NEAR / 2, "write-heavy", "Written bytes are 62.5 %"),
        (1 - SINGLE_PASS - NEAR / 2, 0.0, "read-once", "Bytes read for the first time are 77.5 %"),
        (0.9, 0.05, "re-read-heavy", None),
    ],
)
def test_a_share_near_a_threshold_is_told_with_both_of_its_sides(reread, written, workload, said):
    verdict = classify(split(reread, written))
    assert verdict.workload == workload
    near = [note for note in verdict.notes if "near a threshold" in note]
    assert [said in note for note in near] == [True] * (said is not None)
    assert all("above" in note and "below it is mixed" in note for note in near)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_share_never_speaks_for_two_opposite_workloads(workload):
    assert speaks_for("reread_share", 0.8, workload) == {"re-read-heavy": True, "mixed": None}.get(workload, False)
    assert speaks_for("write_share", 0.8, workload) == {"write-heavy": True, "mixed": None}.get(workload, False)
    assert speaks_for("sequentiality", 0.5, workload) is None


def test_few_calls_are_no_ground_for_a_forecast():
    few = {"reads": 0, "opens": 1, "writes": 3, "bytes_read": 0, "bytes_written": 10**7, "bytes_reread": 0}
    shares = {"reread_share": 0.0, "write_share": 1.0, "epochs": 0.0}
    assert classify(training(**few, **shares, whole=True)).workload == "write-heavy"
    assert classify(training(**few, **shares)).workload == "inconclusive"


@pytest.mark.parametrize(
    ("reread", "written", "mapped", "decided"),
    [
        (0.0, 0.5, 0.5, False),  # it writes an Arrow file, maps it, and trains on it
        (0.0, 0.7, 0.7, False),
        (0.0, 0.06, 0.94, False),
        (0.0, 0.0, 0.01, False),
        (0.0, 0.0, 0.0001, True),
        (0.8, 0.0, 0.2, True),
        (0.65, 0.0, 0.5, False),  # a single touch makes it mixed
    ],
)
def test_a_whole_run_is_decided_only_where_no_number_of_touches_of_what_it_maps_would_tip_it(
    reread, written, mapped, decided
):
    verdict = classify(split(reread, written, mapped_bytes=round(mapped * 10_000_000)))
    assert verdict.whole == (verdict.probability == 1) == decided
    assert any("how often they are touched" in note for note in verdict.notes) != decided


@pytest.mark.parametrize("workload", ["read-once", "write-heavy", "mixed"])
def test_where_touches_of_mappings_decide_more_certainty_is_asked(workload):
    written = {"read-once": 0.0, "write-heavy": 0.7, "mixed": 0.5}[workload]
    trace = split(0.0, written, mapped_bytes=5_000_000)
    assert classify(trace, sure_of(workload, SHOWN_ABOVE)).workload == "inconclusive"
    assert classify(trace, sure_of(workload, FORECAST_ABOVE)).workload == workload
