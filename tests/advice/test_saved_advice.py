"""Saved advice: the file holds all that a report shows of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tiering
from tests.conftest import FIXTURES
from tiering.advice.job import Job
from tiering.advice.saved_advice import Assumptions, advise, is_advice, read_advice, write_advice
from tiering.errors import ProfileError, UsageError
from tiering.workload.profile import Profile, read_profile

PROFILE = Path(FIXTURES, "images")
TRACE = FIXTURES / "traces" / "train_loop.strace.gz"


@pytest.fixture(scope="module")
def profile() -> Profile:
    return Profile(dataset=tiering.profile_dataset(PROFILE), traces=[tiering.profile_trace(TRACE)])


def test_what_is_read_is_what_was_written(profile, tmp_path):
    saved = advise(
        profile, Assumptions(job=Job(epochs=7, hour_usd=3.5, ram=10**9)), command="tiering recommend --ram 1GB"
    )
    write_advice(saved, tmp_path / "advice.json")
    assert is_advice(tmp_path / "advice.json")
    assert read_advice(tmp_path / "advice.json") == saved
    assert saved.led_by == str(TRACE)
    assert saved.job.epochs == saved.recommendation.epochs == 7
    assert saved.origin.command == "tiering recommend --ram 1GB"
    assert [case.assumption for case in saved.what_if][:2] == ["as given", "double the RAM: 2 GB"]
    assert saved.what_if[0].choice == saved.recommendation.choice


def test_the_first_trace_says_how_much_is_written_a_day(profile):
    trace = profile.traces[0]
    assert advise(profile).job.written_per_day == pytest.approx(trace.bytes_written / trace.duration * 86400)
    assert advise(profile, Assumptions(job=Job(written_per_day=5.0))).job.written_per_day == 5


def test_secrets_of_a_command_are_not_saved(profile):
    saved = advise(profile, command="tiering recommend https://me:secret@example.org/photos")
    assert "secret" not in saved.model_dump_json()


def test_a_file_that_is_something_else_is_named(profile, tmp_path):
    path = tmp_path / "advice.json"
    path.write_text(json.dumps({"format": "tiering-advice", "format_version": 2}))
    with pytest.raises(ProfileError, match="not advice that tiering recommend -o saved"):
        read_advice(path)
    tiering.write_profile(profile, tmp_path / "profile.json")
    assert not is_advice(tmp_path / "profile.json")
    assert read_profile(tmp_path / "profile.json") == profile


def test_traces_alone_give_no_advice(profile):
    with pytest.raises(UsageError, match="traces alone"):
        advise(Profile(traces=profile.traces))
