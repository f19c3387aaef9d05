"""Profiles of recorded and of made-up traces."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.profile import profile_events, profile_trace
from tiering.trace.readers import read_trace

TRACES = Path(__file__).parents[2] / "fixtures" / "traces"
NAMES = ("train_loop.strace.gz", "sqlite_log.strace")
IMAGES = Path("/tmp/photos/images")


def frame(*rows: dict) -> pl.DataFrame:
    """Events from rows of what matters; the path names the file."""
    common = {"time": 0.0, "offset": None, "size": 0, "pid": 1, "group": 1, "duration": None, "flags": None}
    full = [common | {"file": sum(map(ord, row["path"]))} | row for row in rows]
    return pl.DataFrame(full, schema=EVENT_SCHEMA)


def read(path: str, offset: int | None, size: int, **other) -> dict:
    return {"op": "read", "path": path, "offset": offset, "size": size} | other


def test_a_recorded_training_loop_shows_its_five_shuffled_epochs():
    profile = profile_trace(TRACES / "train_loop.strace.gz", dataset_root=IMAGES, dataset_bytes=10**6)
    assert profile.format == "strace"
    assert profile.skipped_lines == 0
    assert profile.epochs == pytest.approx(5, abs=0.01)
    assert profile.reread_share == pytest.approx(1 - 1 / 5, abs=0.01)
    assert profile.reads_again == pytest.approx(profile.reads * (1 - 1 / 5), rel=0.01)
    assert profile.write_share < 0.01
    assert profile.opens_per_file == pytest.approx(5, abs=0.1)
    assert profile.order_randomness > 0.85
    assert profile.whole_file_share > 0.99
    assert profile.processes == 1
    assert profile.bytes_shared == 0
    assert profile.excluded_bytes > 0
    assert profile.coverage == 1.0


@pytest.mark.parametrize(("size", "step"), [(5_000, 0), (3_000_000, 0), (4_096, 1 << 20)])
def test_a_cache_need_not_be_larger_than_what_is_read(size, step):
    """Small files, large ones, and small parts of a large one."""
    rows = [
        read(str(number if not step else 0), number * step, size, time=float(epoch * 300 + number))
        for epoch in range(2)
        for number in range(300)
    ]
    events = frame(*rows).with_columns(pl.col("path").cast(pl.UInt64).alias("file"))
    profile = profile_events(iter([events]))
    curve = profile.miss_ratio_curve
    assert curve[-1].cache_bytes == pytest.approx(300 * size, rel=0.01)
    assert curve[-1].lru == pytest.approx(0.5, abs=0.01)
    half = min(curve, key=lambda point: abs(point.cache_bytes - 150 * size))
    assert half.static == pytest.approx(1 - 0.5 * half.cache_bytes / (300 * size), abs=0.02)
    assert sum(profile.working_set) == pytest.approx(2 * 300 * size, rel=0.05)


def test_a_recorded_database_shows_that_it_writes():
    profile = profile_trace(TRACES / "sqlite_log.strace")
    assert profile.write_share > 0.5
    assert profile.reread_share < 0.1
    assert profile.order_randomness == 0
    assert profile.coverage is None


def test_reads_that_begin_where_the_same_job_began_one_are_counted():
    profile = profile_events(
        iter(
            [
                frame(read("/d/a", 0, 10), read("/d/a", 10, 10), read("/d/b", 0, 10)),
                frame(read("/d/a", 0, 5), read("/d/a", 5, 5), read("/d/a", 0, 10, group=2, pid=2)),
            ]
        )
    )
    assert (profile.reads, profile.reads_again) == (6, 1)


@pytest.mark.parametrize("name", NAMES)
def test_recorded_traces_show_no_private_path(name):
    tops = pl.concat(read_trace(TRACES / name).batches)["path"].str.extract(r"^/(\w+)").drop_nulls()
    assert set(tops) <= {"tmp", "usr", "etc", "proc", "sys", "dev", "lib", "lib64"}


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_the_profile_does_not_depend_on_how_events_are_batched(rows):
    loop, database = (pl.concat(read_trace(TRACES / name).batches) for name in NAMES)
    events = pl.concat([loop[1000 : 1000 + 40 * rows], database[500 : 500 + 20 * rows]])
    assert profile_events(events.iter_slices(rows)) == profile_events([events])


def test_nothing_read_is_all_zeros():
    profile = profile_events([])
    assert (profile.epochs, profile.reread_share, profile.write_share, profile.events) == (0, 0, 0, 0)
    assert profile_events([frame({"op": "stat", "path": "/d/a"})]).files == 0


def test_rereading_by_a_group_is_told_from_sharing_between_groups():
    profile = profile_events(
        [
            frame(
                read("/d/a", 0, 100),
                read("/d/a", 50, 100, pid=2),
                read("/d/a", 0, 100, pid=3, group=3),
            )
        ]
    )
    assert profile.bytes_reread == 50
    assert profile.bytes_shared == 100
    assert profile.unique_bytes_read == 150
    assert profile.processes == 3


def test_opens_have_a_mean_and_a_spread():
    opened = [{"op": "open", "path": path} for path in ("/d/a", "/d/a", "/d/a", "/d/b")]
    profile = profile_events([frame(*opened)])
    assert (profile.opens_per_file, profile.opens_deviation, profile.reopened_share) == (2, 1, 0.5)


def test_reads_without_offsets_follow_each_other_from_each_open():
    opened = {"op": "open", "path": "/d/a"}
    profile = profile_events([frame(opened, read("/d/a", None, 60), read("/d/a", None, 40)) for _ in range(3)])
    assert profile.epochs == 3
    assert profile.sequentiality == 1
    assert profile.whole_file_share == 1
    assert profile.file_size_mean == 100


def test_a_file_read_in_part_or_with_gaps_is_not_read_whole():
    opened, closed = {"op": "open", "path": "/d/a"}, {"op": "close", "path": "/d/a"}
    whole = [opened, read("/d/a", 0, 60), read("/d/a", 0, 100), closed]
    part = [opened, read("/d/a", 0, 60), closed]
    gaps = [opened, read("/d/a", 0, 10), read("/d/a", 90, 10), closed]
    assert profile_events([frame(*whole, *part, *gaps, *whole)]).whole_file_share == 0.5


def test_files_are_sorted_by_what_is_done_to_them():
    profile = profile_events(
        [
            frame(
                read("/d/r", 0, 10),
                read("/d/rw", 0, 10),
                {"op": "write", "path": "/d/rw", "offset": 0, "size": 10},
                {"op": "write", "path": "/d/w", "offset": 0, "size": 30},
                {"op": "mmap", "path": "/d/m", "offset": 0, "size": 70, "flags": "r"},
                {"op": "write", "path": "/dev/pts/0", "size": 1000},
            )
        ]
    )
    assert profile.files == 4
    assert (profile.read_only_files, profile.write_only_files, profile.read_write_files) == (0.5, 0.25, 0.25)
    assert profile.mapped_bytes == 70
    assert profile.excluded_bytes == 1000
    assert profile.write_share == pytest.approx(40 / 60)


def test_coverage_counts_the_dataset_alone():
    rows = frame(read("/d/photos/a", 0, 40), read("/d/photos/a", 0, 40), read("/d/else", 0, 1000))
    assert profile_events([rows], dataset_root=Path("/d/photos"), dataset_bytes=100).coverage == pytest.approx(0.4)
    assert profile_events([rows], dataset_bytes=10_000).coverage == pytest.approx(0.104)
    assert profile_events([rows]).coverage is None


def test_a_lenient_profile_says_what_was_skipped(tmp_path):
    trace = tmp_path / "job.strace"
    trace.write_text('7 1.1 read(3</d/a>, "", 10) = 10\nwhat?\n7 1.2 read(3</d/a>, "", 10) = 10\n')
    assert profile_trace(trace, lenient=True).skipped_lines == 1


moves = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 2), st.integers(0, 40), st.integers(0, 20)), max_size=40
)


@settings(max_examples=examples(50))
@given(moves, st.integers(1, 9))
def test_bytes_add_up_as_a_model_of_single_bytes_does(moves, batch):
    seen: dict[int, set] = {1: set(), 2: set()}
    reread = total = 0
    for name, group, offset, size in moves:
        touched = {(name, byte) for byte in range(offset, offset + size)}
        reread += len(touched & seen[group])
        seen[group] |= touched
        total += size
    rows = frame(*(read(f"/d/{name}", offset, size, group=group, pid=group) for name, group, offset, size in moves))
    profile = profile_events(rows.iter_slices(batch))
    assert profile.bytes_read == total
    assert profile.bytes_reread == reread
    assert profile.unique_bytes_read == len(seen[1] | seen[2])
    assert profile.bytes_shared == len(seen[1] & seen[2])
