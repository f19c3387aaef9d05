"""What formats other than strace's tell of the end of a run, and what they do not."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl

from tiering.trace.parquet_writer import WHOLE
from tiering.trace.profile import profile_trace
from tiering.trace.readers import read_trace
from tiering.workload.verdict import classify

TRACES = Path(__file__).parents[3] / "fixtures" / "traces"


def test_darshan_tells_no_exit_status_so_that_its_runs_are_forecast():
    profile = profile_trace(TRACES / "vpic.darshan")
    assert (profile.whole, profile.gaps) == (False, [])
    verdict = classify(profile)
    assert (verdict.workload, verdict.whole) == ("write-heavy", False)
    assert any("Darshan does not log the exit status" in note for note in verdict.notes)


def test_records_that_darshan_had_no_room_for_are_a_gap(tmp_path):
    log = bytearray((TRACES / "vpic.darshan").read_bytes())
    # The header's word of partial flags, a bit a module (darshan-log-format.h): the bit of POSIX.
    log[20] = 0x02
    (tmp_path / "partial.darshan").write_bytes(log)
    (gap,) = profile_trace(tmp_path / "partial.darshan").gaps
    assert gap == "Darshan ran out of memory for the records of POSIX (its partial flag is set)"


def test_a_log_of_dftracer_without_its_end_is_no_whole_run_and_with_it_has_no_status(tmp_path):
    lines = gzip.decompress((TRACES / "cm1-rank.pfw.gz").read_bytes()).splitlines(keepends=True)
    (tmp_path / "cut.pfw").write_bytes(b"".join(lines[: len(lines) // 2]))
    cut, whole = (profile_trace(path) for path in (tmp_path / "cut.pfw", TRACES / "cm1-rank.pfw.gz"))
    assert "the log does not show that it ended" in cut.gaps
    assert not whole.whole
    assert classify(whole).workload == "write-heavy"


def test_an_older_recording_of_our_own_is_a_forecast_for_it_called_every_run_complete(tmp_path):
    events = pl.concat(read_trace(TRACES / "train_loop.strace.gz").batches)
    events.write_parquet(tmp_path / "old.parquet", metadata={"tiering.notes": "", "tiering.complete": "yes"})
    profile = profile_trace(tmp_path / "old.parquet")
    assert not profile.whole
    assert any("Record it again" in note for note in profile.notes)
    events.write_parquet(tmp_path / "new.parquet", metadata={"tiering.notes": "", WHOLE: "yes"})
    assert profile_trace(tmp_path / "new.parquet").whole
