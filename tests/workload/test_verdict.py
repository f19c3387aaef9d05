"""Verdicts: what is judged, what is abstained from, what is held back, and the reasons given."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.workload.traces import fixed, nothing, sure_of, training
from tiering.trace.program_evidence import ProgramEvidence
from tiering.workload.classifier import Model, shipped
from tiering.workload.explain import speaks_for
from tiering.workload.features import FEATURE_NAMES
from tiering.workload.label import WORKLOADS
from tiering.workload.thresholds import Thresholds
from tiering.workload.verdict import BLOCK_ABOVE, classify

FORECAST_ABOVE, SHOWN_ABOVE = Thresholds().forecast, Thresholds().shown


def test_five_shuffled_epochs_are_re_read_heavy_for_a_reason():
    verdict = classify(training())
    assert verdict.workload == "re-read-heavy"
    assert verdict.probability > 0.9
    assert "79.9 % of all bytes moved were read again" in [fact.text for fact in verdict.facts]
    assert verdict.notes == []


def first_half_epoch():
    counts = {"reads": 300, "writes": 0, "opens": 150, "files": 150, "bytes_read": 900_000, "bytes_written": 0}
    seen = {"bytes_reread": 0, "reread_share": 0.0, "write_share": 0.0, "epochs": 1.0, "opens_per_file": 1.0}
    return training(**counts, **seen, reopened_share=0.0, read_only_files=1.0, write_only_files=0.0, coverage=0.5)


def test_the_first_half_epoch_of_a_training_run_is_known_for_what_it_may_be():
    kinds = dict.fromkeys(("deep_learning", "accelerator", "sample_loader", "interpreter"), 1.0)
    seen = ProgramEvidence(process_kinds=kinds, unnamed=0.0, alike=4, file_kinds={"image": 1.0}, class_folders=1.0)
    unnamed, verdict = (classify(first_half_epoch().model_copy(update={"evidence": each})) for each in (None, seen))
    for each in (unnamed, verdict):
        assert max(each.probabilities, key=each.probabilities.get) == "re-read-heavy"
    assert unnamed.probability > 0.8
    assert verdict.probability > max(0.85, unnamed.probability)
    assert any("shuffled" in fact.text for fact in verdict.facts)


def test_a_forecast_says_that_it_is_one():
    (note,) = classify(first_half_epoch(), fixed(0.97, 0.01, 0.01, 0.01)).notes
    assert note.startswith("A forecast: re-reads are 0 % of the bytes in this trace")
    assert note.endswith("So far 50 % of the dataset was read.")


def test_a_single_sorted_pass_is_read_once():
    scan = training(
        bytes_reread=0,
        reread_share=0.0,
        epochs=1.0,
        opens_per_file=1.0,
        reopened_share=0.0,
        order_randomness=0.0,
        writes=0,
        bytes_written=0,
        write_share=0.0,
        coverage=1.0,
        read_only_files=1.0,
        write_only_files=0.0,
    )
    assert classify(scan).workload == "read-once"


def test_many_small_writes_do_not_make_a_write_heavy_run():
    verdict = classify(training(writes=33_000))  # a progress bar: 91.7 % of the calls, 0.1 % of the bytes
    assert verdict.workload == "re-read-heavy"


def test_no_data_is_inconclusive_and_says_why():
    verdict = classify(nothing())
    assert (verdict.workload, verdict.probability, verdict.facts) == ("inconclusive", 0.25, [])
    assert "nothing to judge by" in verdict.notes[0]


def test_below_the_threshold_there_is_no_verdict_but_the_two_likeliest():
    verdict = classify(training(), fixed(0.55, 0.05, 0.3, 0.1))
    assert verdict.workload == "inconclusive"
    assert verdict.probability == pytest.approx(0.55)
    assert "re-read-heavy (55 %) and read-once (30 %)" in verdict.notes[-2]


def test_a_note_says_what_would_decide():
    unsure = fixed(0.55, 0.0, 0.4, 0.05)
    assert classify(once(), unsure).notes[-1] == (
        "What would decide: record past the first epoch: from the second on, bytes are read again; or name the dataset "
        "with --dataset, which shows how much of it is read; or record the program from its start (tiering trace), "
        "which shows the libraries that it loads."
    )
    seen = once(coverage=0.4, evidence=ProgramEvidence(process_kinds={}, unnamed=1.0))
    assert classify(seen, unsure).notes[-1] == (
        "What would decide: record past the first epoch: from the second on, bytes are read again (so far it shows 40 % "
        "of the dataset)."
    )
    writes = fixed(0.0, 0.5, 0.05, 0.45)
    assert classify(once(evidence=seen.evidence), writes).notes[-1] == (
        "What would decide: record until the run has written its results."
    )


def test_a_temperature_below_one_sharpens_and_keeps_the_order():
    plain = fixed(0.55, 0.05, 0.3, 0.1)
    sharp = Model(plain.estimator, plain.medians, temperature=0.5)
    vector = np.zeros((1, len(FEATURE_NAMES)))
    expected = np.array([0.55, 0.05, 0.3, 0.1]) ** 2
    np.testing.assert_allclose(sharp.probabilities(vector)[0], expected / expected.sum())
    np.testing.assert_allclose(plain.probabilities(vector)[0], [0.55, 0.05, 0.3, 0.1])


def once(**changes):
    """A pass over everything: so far, nothing was read again."""
    return training(bytes_reread=0, reread_share=0.0, epochs=1.0, writes=0, bytes_written=0, write_share=0.0, **changes)


@pytest.mark.parametrize(
    ("trace", "best", "bound"),
    [
        (training(), "re-read-heavy", SHOWN_ABOVE),
        (once(), "re-read-heavy", FORECAST_ABOVE),
        (once(), "read-once", FORECAST_ABOVE),
    ],
)
def test_more_is_asked_of_what_the_trace_does_not_show_yet(trace, best, bound):
    assert classify(trace, sure_of(best, bound - 0.01)).workload == "inconclusive"
    assert classify(trace, sure_of(best, bound)).workload == best


def test_of_a_block_trace_the_definition_counts_half():
    trace = once(level="block")
    agreed = classify(trace, sure_of("read-once", 2 * BLOCK_ABOVE - 1))
    assert agreed.workload == "read-once"
    assert agreed.probability == pytest.approx(BLOCK_ABOVE)
    assert classify(trace, sure_of("read-once", 2 * BLOCK_ABOVE - 1.02)).workload == "inconclusive"
    assert classify(trace, sure_of("re-read-heavy", 1.0)).workload == "inconclusive"


@pytest.mark.parametrize(
    ("changes", "cap", "word"),
    [({"mapped_bytes": 10**9}, 0.75, "mapped"), ({"level": "block"}, 0.85, "page cache")],
)
def test_what_no_tracer_sees_holds_the_probability_down(changes, cap, word):
    verdict = classify(training(**changes), fixed(0.98, 0.01, 0.01, 0.0))
    assert verdict.probability == pytest.approx(cap)
    assert sum(verdict.probabilities.values()) == pytest.approx(1)
    assert word in verdict.notes[0]
    certain = classify(training(**changes), fixed(1.0, 0.0, 0.0, 0.0))
    assert certain.probability == pytest.approx(cap)
    assert sum(certain.probabilities.values()) == pytest.approx(1)


def test_a_few_mapped_bytes_hold_nothing_down():
    assert classify(training(mapped_bytes=1000), fixed(0.98, 0.01, 0.01, 0.0)).notes == []


def test_little_evidence_skipped_lines_and_a_dataset_that_is_not_in_the_trace_are_noted():
    verdict = classify(training(reads=3, writes=1, skipped_lines=7, coverage=0.0), fixed(0.98, 0.01, 0.01, 0.0))
    beginnings = [" ".join(note.split()[:6]) for note in verdict.notes[:4]]
    assert beginnings == [
        "The whole run is not in",
        "Only 4 reads and writes were",
        "This trace reads no byte of",
        "7 lines of the trace could",
    ]
    assert verdict.workload == "inconclusive"


shares = st.floats(0, 1)


@settings(max_examples=examples(40))
@given(reread=shares, write=shares, order=shares, files=shares, coverage=st.none() | shares, opens=st.integers(0, 10))
def test_any_trace_gets_a_verdict_that_adds_up(reread, write, order, files, coverage, opens):
    verdict = classify(
        training(
            reread_share=reread * (1 - write),
            write_share=write,
            order_randomness=order,
            read_only_files=files,
            coverage=coverage,
            opens=opens,
        )
    )
    assert set(verdict.probabilities) == set(WORKLOADS)
    assert sum(verdict.probabilities.values()) == pytest.approx(1)
    assert verdict.probability == max(verdict.probabilities.values())
    bounds = dataclasses.astuple(shipped().thresholds)
    assert verdict.workload == "inconclusive" or verdict.probability >= min(bounds)
    assert verdict.workload != "inconclusive" or verdict.probability < max(bounds)
    weights = [abs(fact.weight) for fact in verdict.facts]
    assert len(weights) <= 3
    assert weights == sorted(weights, reverse=True)
    assert len({fact.feature for fact in verdict.facts}) == len(weights)
    likeliest = max(verdict.probabilities, key=verdict.probabilities.get)
    for fact in verdict.facts:
        assert speaks_for(fact.feature, fact.value, likeliest) in {None, not fact.against}
        assert fact.against or fact.weight >= 0
    assert all(fact.text and math.isfinite(fact.value) for fact in verdict.facts)
    assert type(verdict).model_validate_json(verdict.model_dump_json()) == verdict


class FromRereads:
    """An estimator that takes re-reading for a reason to call a run read-once."""

    def predict_proba(self, vectors):
        high = np.clip(vectors[:, :1], 0.01, 0.9)
        rest = (1 - high) / 3
        return np.hstack([high if name == "read-once" else rest for name in WORKLOADS])


def test_a_fact_whose_words_speak_against_the_verdict_is_shown_and_called_one():
    model = Model(FromRereads(), np.zeros(len(FEATURE_NAMES)))
    verdict = classify(training(), model)
    (fact,) = [fact for fact in verdict.facts if fact.feature == "reread_share"]
    assert max(verdict.probabilities, key=verdict.probabilities.get) == "read-once"
    assert (fact.against, fact.weight > 0) == (True, True)


@pytest.mark.parametrize("changes", [{}, {"bytes_read": 100, "bytes_written": 0, "mapped_bytes": 0}])
def test_what_was_left_out_in_reading_is_said_with_a_verdict_and_without(changes):
    verdict = classify(training(skipped_lines=1, notes=["3 of 9 files hold no trace."], **changes))
    assert verdict.notes.count("3 of 9 files hold no trace.") == 1
    assert "1 line of the trace could not be read and was left out." in verdict.notes
