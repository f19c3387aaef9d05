"""`tiering classify`: recorded traces, profiles, readable answers, JSON, and one line for an error."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from tests import warm
from tests.cli.failures import error_line
from tests.workload.traces import nothing, training
from tiering.workload.profile import Profile, write_profile

TRACES = Path(__file__).parents[2] / "fixtures" / "traces"


tiering = warm.run


def answer(*words):
    """Run, expect success, and return the JSON document."""
    done = tiering("classify", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def fails(code, kind, *words):
    """Run, expect this exit code and one line of error, and return the line."""
    line = error_line(tiering("classify", *words), code)
    assert line.startswith(f"{kind}: ")
    return line


def recorded(name):
    """Return the path of a recorded trace, packed or not."""
    return next(TRACES.glob(f"{name}.strace*"))


@pytest.mark.parametrize(("name", "workload"), [("train_loop", "re-read-heavy"), ("sqlite_log", "write-heavy")])
def test_recorded_runs_are_told_apart(name, workload):
    done = tiering("classify", recorded(name))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == f"Trace {recorded(name)}"
    assert lines[1] == f"  verdict  {workload} (probability 1.00)"
    assert sum(line.split()[0] in {"because", "despite"} for line in lines[2:]) == 3
    assert "The whole run is in this trace" in done.stdout


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("train_loop", 0.2),
        *(pytest.param(*each, 0.5, marks=pytest.mark.slow) for each in [("train_loop",), ("sqlite_log",)]),
    ],
)
def test_the_first_part_of_a_recorded_run_is_never_taken_for_another_kind(name, share, tmp_path):
    """A fifth of the training run ends in its first epoch of five: no byte is read twice there.

    The corpus was tuned with this part in view: the case guards against a relapse, it is no independent evidence.
    """
    whole = recorded(name)
    content = whole.read_bytes()
    lines = (gzip.decompress(content) if whole.suffix == ".gz" else content).splitlines(keepends=True)
    part = tmp_path / "part.strace"
    part.write_bytes(b"".join(lines[: int(len(lines) * share)]))
    (verdict,) = answer(part)["verdicts"]
    workload = answer(whole)["verdicts"][0]["workload"]
    assert verdict["workload"] in {workload, "inconclusive"}
    assert max(verdict["probabilities"], key=verdict["probabilities"].get) == workload


def test_json_holds_the_source_the_probabilities_and_three_facts_heaviest_first():
    (verdict,) = answer(recorded("train_loop"))["verdicts"]
    assert verdict["source"] == str(recorded("train_loop"))
    assert verdict["workload"] == "re-read-heavy"
    assert sum(verdict["probabilities"].values()) == pytest.approx(1)
    weights = [abs(fact["weight"]) for fact in verdict["facts"]]
    assert len(weights) == 3
    assert weights == sorted(weights, reverse=True)


def test_a_profile_with_several_traces_gets_a_verdict_on_each(tmp_path):
    path = tmp_path / "profile.json"
    write_profile(Profile(traces=[training(source="a"), nothing(source="b")]), path)
    verdicts = answer(path)["verdicts"]
    assert [(each["source"], each["workload"]) for each in verdicts] == [("a", "re-read-heavy"), ("b", "inconclusive")]


def test_a_profile_without_traces_says_how_to_make_one(tmp_path):
    path = tmp_path / "profile.json"
    write_profile(Profile(), path)
    assert "--trace" in fails(3, "ProfileError", path)


def test_a_broken_profile_is_one_line(tmp_path):
    path = tmp_path / "profile.json"
    path.write_text('{"format": "tiering-profile", "format_version": 1, "traces": [{}]}')
    fails(3, "ProfileError", path)


def test_bad_input_is_one_line(tmp_path):
    fails(3, "InputError", tmp_path / "none.strace")
    fails(3, "TraceError", tmp_path)
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    fails(3, "TraceError", empty)
    model = tmp_path / "model.skops"
    model.write_bytes(b"garbage")
    fails(3, "ModelError", recorded("sqlite_log"), "--model", model)


def test_lenient_notes_what_it_left_out(tmp_path):
    damaged = tmp_path / "damaged.strace"
    with gzip.open(recorded("train_loop"), "rb") as file, damaged.open("wb") as target:
        lines = file.read().splitlines(keepends=True)
        target.writelines([*lines[:3000], b"@@@ damaged @@@\n", *lines[3000:]])
    fails(3, "TraceError", damaged)
    done = tiering("classify", damaged, "--lenient")
    assert done.returncode == 0, done.stderr
    assert "1 line of the trace could not be read and was left out." in done.stdout


def test_the_dataset_gives_coverage(tmp_path):
    images = Path(__file__).parents[2] / "fixtures" / "images"
    elsewhere = tmp_path / "images"
    shutil.copytree(images, elsewhere)
    (verdict,) = answer(recorded("train_loop"), "--dataset", elsewhere)["verdicts"]
    assert verdict["workload"] == "re-read-heavy"
    assert any("no byte of the named dataset" in note for note in verdict["notes"])


def test_help_begins_with_the_purpose_and_shows_an_example():
    done = tiering("classify", "--help")
    assert done.returncode == 0
    assert "Name the kind of workload that a trace shows" in done.stdout
    assert "tiering classify train.strace" in done.stdout


def test_a_fact_against_the_verdict_is_called_one_wherever_it_is_told(tmp_path):
    part = tmp_path / "part.strace"
    part.write_bytes(b"".join(gzip.decompress(recorded("train_loop").read_bytes()).splitlines(keepends=True)[:2000]))
    (verdict,) = answer(part)["verdicts"]
    against = {fact["text"] for fact in verdict["facts"] if fact["weight"] < 0}
    told = tiering("classify", part).stdout
    profiled = tiering("profile", "--trace", part).stdout
    for fact in verdict["facts"]:
        assert (f"despite  {fact['text']}" in told) == (fact["text"] in against)
        assert (f"- against it: {fact['text']}" in profiled) == (fact["text"] in against)
