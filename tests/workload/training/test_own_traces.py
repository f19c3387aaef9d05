"""Users' own labelled traces: how they are found, labelled and cut."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tiering.errors import UsageError
from tiering.workload.training.own_traces import own_examples

TRACES = Path(__file__).parents[3] / "fixtures" / "traces"


@pytest.fixture
def traces(tmp_path):
    for name, where in (("train_loop.strace.gz", "re-read-heavy/photos/monday"), ("sqlite_log.strace", "write-heavy")):
        (tmp_path / where).mkdir(parents=True)
        shutil.copy(TRACES / name, tmp_path / where)
    (tmp_path / "write-heavy" / ".notes").write_text("hidden")
    return tmp_path


def test_a_folder_names_the_workload_and_the_one_below_it_the_program(traces):
    found = list(own_examples(traces))
    assert {(each.family, each.workload) for each in found} == {
        ("own photos", "re-read-heavy"),
        ("own sqlite_log", "write-heavy"),
    }
    assert [each.part for each in found] == ["whole", "0.1", "0.25", "0.5", "1"] * 2


def test_parts_are_of_the_first_epoch(traces):
    training = [each.trace for each in own_examples(traces)][:5]
    read = [each.bytes_read for each in training]
    assert read[1] < read[2] < read[3] < read[4] < read[0] / 3
    assert training[4].reread_share < 0.1 < training[0].reread_share


@pytest.mark.parametrize(
    ("entries", "found"), [(["rereading/a.strace"], "rereading"), ([], "no trace"), (None, "which is none")]
)
def test_another_directory_is_refused(tmp_path, entries, found):
    root = tmp_path / "traces"
    for entry in entries or ():
        (root / entry).parent.mkdir(parents=True)
        (root / entry).write_text("")
    if entries is not None:
        root.mkdir(exist_ok=True)
    with pytest.raises(UsageError, match=found):
        list(own_examples(root))
