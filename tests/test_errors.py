"""Errors read as sentences: what is wrong, where, and what to do."""

from __future__ import annotations

import pickle

import pytest

from tiering.errors import MachineError, StoreError, UsageError, needs_package


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UsageError("--epochs", rule="must be at least 1", found="0"), "--epochs: must be at least 1, not 0."),
        (UsageError("--capacity nvme", rule="must be TIER=SIZE"), "--capacity nvme: must be TIER=SIZE."),
        (UsageError("--to", rule="needs lmdb or zarr"), "--to: needs lmdb or zarr."),
        (UsageError("'12x'", expected="a size such as 784"), "'12x' is not a size such as 784."),
        (
            MachineError("report", rule=needs_package("plotly", ModuleNotFoundError("No module named 'plotly'"))),
            "report: needs plotly, which is not installed.",
        ),
        (
            MachineError("report", rule=needs_package("plotly", ImportError("libz.so: wrong ELF class"))),
            "report: needs plotly, which cannot be imported (libz.so: wrong ELF class).",
        ),
        (
            StoreError("cats.lmdb", expected="4,096 samples", found="3,981", action="Copy it again."),
            "cats.lmdb: expected 4,096 samples, found 3,981. Copy it again.",
        ),
        (UsageError("x.lmdb", found="already exists"), "x.lmdb: already exists."),
    ],
)
def test_an_error_says_what_one_would_say(error, said):
    assert str(error) == said


def test_what_is_wrong_stays_in_parts():
    error = UsageError("--epochs", rule="must be at least 1", found="0", action="Give more.")
    sent = pickle.loads(pickle.dumps(error))
    for each in (error, sent):
        assert (each.where, each.rule, each.found, each.action) == ("--epochs", "must be at least 1", "0", "Give more.")
    elsewhere = error.with_parts(where="--nodes")
    assert str(elsewhere) == "--nodes: must be at least 1, not 0. Give more."
    assert type(elsewhere) is UsageError
