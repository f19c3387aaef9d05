"""A recorded training run that did not come to its end is never judged with confidence and wrong."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from tiering.trace.profile import profile_trace
from tiering.workload.verdict import classify

TRACES = Path(__file__).parents[2] / "fixtures" / "traces"
LINES = gzip.decompress((TRACES / "train_loop.strace.gz").read_bytes()).splitlines(keepends=True)
#: Lines on which the images are read, after the interpreter has loaded its libraries.
DATA = [at for at, line in enumerate(LINES) if b" read(" in line and b"/images/" in line]
ENDS = ["killed by SIGKILL", "killed by SIGINT", "exited with 1", "exited with 130", None]


def judged(tmp_path, content):
    path = tmp_path / "run.strace"
    path.write_bytes(content)
    return classify(profile_trace(path))


@pytest.mark.parametrize("end", ENDS)
def test_a_training_run_that_was_cut_anywhere_is_re_read_heavy_or_undecided(tmp_path, end):
    chance = random.Random(str(end))
    root, _ = LINES[0].split(maxsplit=1)
    for at in chance.sample(DATA, 3):
        torn = LINES[at][: chance.randrange(len(LINES[at]))] if end is None else b""
        last = b"" if end is None else b"%s %s +++ %s +++\n" % (root, LINES[at].split()[1], end.encode())
        verdict = judged(tmp_path, b"".join(LINES[:at]) + torn + last)
        assert verdict.workload in {"re-read-heavy", "inconclusive"}
        assert not verdict.whole
        assert any("The whole run is not in this trace" in note for note in verdict.notes)


@pytest.mark.parametrize("call", ["read", "openat", "close", "execve"])
def test_a_training_run_of_which_a_call_was_not_traced_is_re_read_heavy_or_undecided(tmp_path, call):
    """Without `close` nothing about the data is missing; of the others something is."""
    dropped = f" {call}(".encode(), f"<... {call} ".encode()
    verdict = judged(tmp_path, b"".join(line for line in LINES if not any(each in line for each in dropped)))
    assert verdict.workload in {"re-read-heavy", "inconclusive"}
    assert verdict.whole == (call == "close")
