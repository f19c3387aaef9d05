"""Errors read as sentences: what is wrong, where, and what to do."""

from __future__ import annotations

import pytest

from tiering.errors import MachineError, StoreError, UsageError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UsageError("--epochs", expected="at least 1", found="0"), "--epochs: must be at least 1, not 0."),
        (UsageError("--tier", expected="one of nvme, hdd", found="'x'"), "--tier: must be one of nvme, hdd, not 'x'."),
        (UsageError("--quality", expected="1 to 100", found="101"), "--quality: must be 1 to 100, not 101."),
        (UsageError("'12x'", expected="a size such as 784", found="'12x'"), "'12x' is not a size such as 784."),
        (UsageError("--to", expected="lmdb or zarr", found="nothing"), "--to: needs lmdb or zarr."),
        (UsageError("--quick", expected="it or --decode", found="both"), "--quick: takes it or --decode, not both."),
        (
            UsageError("--capacity nvme", expected="TIER=SIZE", found="'nvme'"),
            "--capacity nvme: must be TIER=SIZE.",
        ),
        (
            MachineError("report", expected="plotly", found="No module named 'plotly'"),
            "report: needs plotly, which is not installed.",
        ),
        (
            StoreError("cats.lmdb", expected="4,096 samples", found="3,981", action="Copy it again."),
            "cats.lmdb: expected 4,096 samples, found 3,981. Copy it again.",
        ),
        (StoreError("x.lmdb", expected="a store", found="no such directory"), "x.lmdb: no such directory."),
        (UsageError("x.lmdb", found="already exists"), "x.lmdb: already exists."),
    ],
)
def test_an_error_says_what_one_would_say(error, said):
    assert str(error) == said


def test_what_is_wrong_stays_in_parts():
    error = UsageError("--epochs", expected="at least 1", found="0", action="Give more.")
    assert (error.where, error.expected, error.found, error.action) == ("--epochs", "at least 1", "0", "Give more.")
