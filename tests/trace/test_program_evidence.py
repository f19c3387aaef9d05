"""Evidence of who reads: kinds of programs and files, and habits, from made-up and recorded traces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.trace.readers.published import MINIO_AUDIT
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.profile import profile_events, profile_trace
from tiering.trace.program_evidence import ProgramEvidence

TRACES = Path(__file__).parents[2] / "fixtures" / "traces"
TORCH = "/usr/lib/python3/dist-packages/torch/__init__.py"


def evidence(*rows: dict, batches: int = 1) -> ProgramEvidence:
    """Evidence of rows of what matters: op, path and maybe pid, size, time, flags."""
    common = {"offset": None, "size": 0, "pid": 1, "group": 1, "duration": None, "flags": None}
    full = [common | {"time": float(at), "file": hash(row["path"]) % 2**60} | row for at, row in enumerate(rows)]
    parts = np.array_split(np.arange(len(full)), batches)
    frames = [pl.DataFrame([full[at] for at in part], schema=EVENT_SCHEMA) for part in parts if len(part)]
    found = profile_events(frames).evidence
    assert found is not None
    return found


def executed(path: str, pid: int = 1) -> dict:
    return {"op": "exec", "path": path, "pid": pid}


def forked(child: int, pid: int = 1) -> dict:
    return {"op": "fork", "path": f"<process {child}>", "pid": pid}


def opened(path: str, pid: int = 1) -> dict:
    return {"op": "open", "path": path, "pid": pid, "flags": "r"}


def read(path: str, size: int = 1000, pid: int = 1, **other) -> dict:
    return {"op": "read", "path": path, "offset": 0, "size": size, "pid": pid} | other


def written(path: str, size: int = 1000) -> dict:
    return {"op": "write", "path": path, "offset": 0, "size": size}


def test_who_reads_is_judged_and_not_who_starts_it():
    found = evidence(
        executed("/usr/bin/python3"),
        opened(TORCH),
        forked(2),
        executed("/usr/bin/tar", pid=2),
        read("/data/a.jpg", 3000, pid=2),
        read("/data/list", 1000),
    )
    shares = {"archive": 0.75, "interpreter": 0.25, "deep_learning": 0.25}
    assert found.process_kinds == pytest.approx(shares)
    assert found.unnamed == 0


@pytest.mark.parametrize("batches", [1, 4])
def test_a_child_begins_with_the_libraries_of_its_parent(batches):
    children = [read("/data/a", pid=2), read("/data/b", pid=3)]
    found = evidence(
        executed("/usr/bin/python3"), opened(TORCH), forked(2), forked(3, pid=2), *children, batches=batches
    )
    assert found.process_kinds == {"deep_learning": 1.0, "interpreter": 1.0}


def test_a_program_of_no_known_kind_is_known_to_be_none():
    found = evidence(executed("/opt/own/bin/thing"), read("/data/a"))
    assert (found.process_kinds, found.unnamed) == ({}, 1.0)


def test_a_process_that_ran_before_the_tracer_came_is_unknown():
    found = evidence(read("/data/a", 900), executed("/usr/bin/tar", pid=2), read("/data/b", 100, pid=2))
    assert (found.process_kinds, found.unnamed) == (None, None)
    assert found.file_kinds is not None


def test_kinds_of_files_count_by_bytes_and_folders_of_classes_by_files():
    images = [read(f"/data/class{number % 2}/{number}.jpg", 100) for number in range(8)]
    found = evidence(*images, read("/data/labels.csv", 200))
    assert found.file_kinds == pytest.approx({"image": 0.8, "table": 0.2})
    assert found.class_folders == pytest.approx(8 / 9)
    assert found.alike_names == pytest.approx(8 / 9)
    assert found.largest_file == pytest.approx(0.2)


def test_processes_that_read_at_the_same_time_are_alike_and_those_in_turn_are_not():
    at_once = [read(f"/data/{number}", pid=2 + number % 3) for number in range(9)]
    in_turn = [read(f"/data/{number}", pid=2 + number // 3) for number in range(9)]
    forks = [forked(pid) for pid in (2, 3, 4)]
    start = executed("/usr/bin/python3")
    assert evidence(start, *forks, *at_once).alike == 3
    assert evidence(start, *forks, *in_turn).alike == 1
    uneven = [read("/data/large", 100_000, pid=2), read("/data/small", 10, pid=3), read("/data/large", 10, pid=2)]
    assert evidence(start, *forks, *uneven).alike == 1


def test_checkpoints_are_known_by_their_names_even_under_a_temporary_one():
    placed = {"op": "rename", "path": "/runs/last.ckpt", "flags": "w"}
    found = evidence(written("/runs/last.ckpt.tmp", 900), placed, written("/runs/train.log", 100))
    assert (found.checkpoints, found.checkpoint_share, found.renamed_share) == (1, pytest.approx(0.9), 0.5)


def test_a_validation_split_in_between_is_told_from_one_at_the_end():
    train, check = read("/data/train/a.jpg", 300), read("/data/val/b.jpg", 100)
    between = evidence(train, check, train, batches=3)
    assert between.splits == pytest.approx({"training": 6 / 7, "validation": 1 / 7})
    assert between.validation_between
    assert evidence(train, check).validation_between is False


def test_batches_are_even_and_random_arrivals_are_not():
    rng = np.random.default_rng(0)
    even = [batch + within / 1000 for batch in range(20) for within in range(8)]
    found = evidence(*(read("/data/a", time=time) for time in even))
    assert found.burst_spread == pytest.approx(0, abs=0.01)
    assert found.interval_spread == pytest.approx(0, abs=0.01)
    assert found.idle_share > 0.9
    arrivals = np.cumsum(rng.exponential(1.0, 400))
    assert evidence(*(read("/data/a", time=float(time)) for time in arrivals)).interval_spread > 0.5


def test_a_recorded_training_loop_is_a_program_in_python_that_reads_images_and_saves_checkpoints():
    found = profile_trace(TRACES / "train_loop.strace.gz").evidence
    assert found.process_kinds == {"image_decoder": 1.0, "interpreter": 1.0}
    assert found.file_kinds == {"image": 1.0}
    assert found.checkpoints == 2
    assert found.burst_spread is None  # this trace has no times


def test_a_trace_without_names_says_nothing_of_programs():
    assert profile_trace(TRACES / "websearch.mqsim").evidence.process_kinds is None


def test_the_clients_of_a_bucket_are_known_by_their_user_agents(tmp_path):
    (tmp_path / "audit.log").write_text(
        MINIO_AUDIT.content.replace("MinIO (linux; amd64) minio-go/v7.0.67", "restic/0.16")
    )
    found = profile_trace(tmp_path / "audit.log").evidence
    assert (found.process_kinds, found.unnamed) == ({"backup": 1.0}, 0.0)
