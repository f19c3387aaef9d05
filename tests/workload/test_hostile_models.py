"""Models from elsewhere: whatever a file says, it is refused by name or gives sound answers, in bounds."""

from __future__ import annotations

import os

import pytest

from tests.conftest import FIXTURES
from tests.workload.hostile_models import MOST_RSS, SECONDS, at_random, attempted, by_field, by_hand, members_of
from tiering.errors import ModelError
from tiering.workload.classifier import load_model

MODEL = FIXTURES / "v0.1.0" / "model.skops"
SOUND = {"refused", "right"}


def _outcomes(directory, files) -> dict[str, str]:
    """Try all files; return what became of each by its name, once time and memory were in bounds."""
    names = {}
    for number, (name, data) in enumerate(files):
        names[f"{number:05d}"] = name
        (directory / f"{number:05d}").write_bytes(data)
    found = attempted(directory)
    assert {names[each]: seconds for each, (_, seconds, _) in found.items() if seconds >= SECONDS} == {}
    assert max(peak for _, _, peak in found.values()) < MOST_RSS
    return {names[each]: outcome for each, (outcome, _, _) in found.items()}


def test_an_attack_is_refused(tmp_path):
    found = _outcomes(tmp_path, by_hand(members_of(MODEL)))
    assert len(found) > 120
    # What a model has beside what is read of it harms nobody.
    beside = {"a thousand threads", "a billion classes", "a list in itself", "lists within lists by reference"}
    beside |= {"another protocol", "values in Fortran order", "a table twice", "NoSuchNode builtins.str"}
    assert {name: outcome for name, outcome in found.items() if outcome != "refused" and name not in beside} == {}
    assert set(found.values()) <= SOUND


def test_damage_is_refused_or_gives_sound_answers(tmp_path):
    found = _outcomes(tmp_path, at_random(members_of(MODEL), MODEL.read_bytes(), 15))
    assert len(found) == 45
    assert {name: outcome for name, outcome in found.items() if outcome not in SOUND} == {}
    assert {outcome for name, outcome in found.items() if name.startswith("cut")} == {"refused"}


@pytest.mark.parametrize("count", [40, pytest.param(1500, marks=pytest.mark.slow)])
def test_any_field_by_any_nonsense_is_refused_or_gives_sound_answers(tmp_path, count):
    found = _outcomes(tmp_path, by_field(members_of(MODEL), count))
    assert len(found) > 0.9 * count
    assert {name: outcome for name, outcome in found.items() if outcome not in SOUND} == {}


@pytest.mark.slow
def test_a_thousand_damages_are_refused_or_give_sound_answers(tmp_path):
    found = _outcomes(tmp_path, at_random(members_of(MODEL), MODEL.read_bytes(), 1000))
    assert {name: outcome for name, outcome in found.items() if outcome not in SOUND} == {}


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/full", "/"])
def test_what_is_no_regular_file_is_refused(place):
    with pytest.raises(ModelError, match="no regular file"):
        load_model(place)


def test_a_pipe_is_refused_without_waiting_for_its_other_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="no regular file"):
        load_model(tmp_path / "pipe")
