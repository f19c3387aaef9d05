"""Causes: which one is named of which figures, and none without evidence; and jobs that are slow in one known way."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import pytest
from PIL import Image
from typer.testing import CliRunner

import tiering
from benchmarks import causes as benchmark
from tests.once import FIXTURES
from tiering.cli.app import app
from tiering.trace.waiting import AcceleratorWaiting, MemoryWaiting, RoleWaiting, States, Waiting
from tiering.workload.cause import FIXES, CauseName

KINETO = FIXTURES / "traces" / "dataloader.kineto.json.gz"


def role(main: dict[str, float], **figures: Any) -> RoleWaiting:
    given: dict[str, Any] = {
        "processes": 1,
        "at_once": 1.0,
        "samples": 100,
        "seconds": 10.0,
        "threads": States(),
        "processor": 1.0,
        "kernel": 0.1,
        "bytes_read": 1_000_000,
        "bytes_written": 0,
        "reads": 1000,
        "writes": 0,
        "device_read": 1_000_000,
        "device_written": 0,
        "major_faults": 0,
        "minor_faults": 0,
        "opening": 0.0,
    }
    return RoleWaiting(main=States(**main), **given | figures)


STARVED = role({"pipe": 0.9, "running": 0.1})
FED = role({"sleeping": 0.9, "running": 0.1})


def pair(consumer: RoleWaiting, worker: dict[str, float], **figures: Any) -> Waiting:
    workers = role(worker, processes=2, at_once=2.0, samples=200, seconds=20.0, **figures)
    return Waiting(seconds=10.0, looks=20, cores=8, consumer=consumer, workers=workers)


def memory(**figures: Any) -> MemoryWaiting:
    known = {"limit": None, "used": None, "limited": None, "refaulted": None, "stalled": None}
    return MemoryWaiting(**known | figures)


def named(waiting: Waiting | None, **known: Any) -> list[str]:
    return [cause.name for cause in tiering.causes(waiting, **known)]


DISK = {"disk": 0.8, "running": 0.2}
FULL = {"running": 0.9, "pipe": 0.1}
IDLE = {"pipe": 1.0}
MOVED = {"bytes_read": 1_000_000, "bytes_written": 2_000_000_000, "threads": States(pipe=0.6)}


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        (None, []),
        (pair(STARVED, DISK), ["storage"]),
        (pair(STARVED, {"network": 0.8, "running": 0.2}), ["storage"]),
        (pair(STARVED, DISK, opening=0.9), ["opens"]),
        (pair(STARVED, DISK, opening=0.5), ["opens", "storage"]),
        (pair(STARVED, DISK, opening=None), ["storage"]),
        (pair(STARVED, FULL), ["workers"]),
        (pair(STARVED, FULL).model_copy(update={"cores": 2}), ["decoding"]),
        (pair(STARVED, FULL).model_copy(update={"cores": None}), []),
        (pair(STARVED, {"lock": 0.6, "running": 0.4}), ["lock"]),
        (pair(STARVED, {"lock": 0.3, "running": 0.6, "pipe": 0.1}), ["lock", "workers"]),
        (pair(STARVED, IDLE, **MOVED), ["transfer"]),
        (pair(FED, IDLE, **MOVED), ["transfer"]),
        (pair(STARVED, FULL, kernel=14.0, processor=18.0, minor_faults=1_000_000), ["workers", "transfer"]),
        (pair(FED, IDLE), ["training step"]),
        # The thread of each worker that waits for its consumer to send something back is no transfer.
        (pair(STARVED, IDLE, threads=States(pipe=1.0), bytes_read=10, bytes_written=100), []),
        # Healthy: the loader keeps up, and has something to do.
        (pair(FED, {"running": 0.5, "pipe": 0.5}), []),
        (pair(FED, {"disk": 0.5, "pipe": 0.5}), []),
        (pair(role({"pipe": 0.2, "running": 0.8}), DISK), []),
    ],
)
def test_workers_and_their_consumer(waiting, expected):
    assert named(waiting) == expected


def alone(main: dict[str, float], **figures: Any) -> Waiting:
    return Waiting(seconds=10.0, looks=20, cores=8, single=role(main, **figures))


LOADING = States(disk=3.0, running=0.5, lock=9.0)


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        (alone(DISK), ["storage"]),
        (alone(DISK, opening=1.0), ["opens"]),
        (alone({"disk": 0.2, "sleeping": 0.8}), []),
        # Decoding and training in one thread cannot be told apart; a process that sleeps may have nothing to do.
        (alone({"running": 1.0}), []),
        (alone({"sleeping": 1.0}), []),
        (alone({"lock": 0.9, "running": 0.1}, threads=LOADING), ["storage"]),
        (alone({"lock": 0.9, "running": 0.1}, threads=States(running=1.0, lock=9.0)), ["workers"]),
        (alone({"sleeping": 0.9, "lock": 0.1}, threads=LOADING), []),
    ],
)
def test_a_process_that_loads_by_itself_or_with_threads(waiting, expected):
    assert named(waiting) == expected


HELD = memory(limit=1, limited=500, refaulted=900_000)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (HELD, ["memory", "storage"]),
        (memory(stalled=2.0), ["memory", "storage"]),
        (memory(limit=1, limited=500, refaulted=10), ["storage"]),
        (memory(refaulted=900_000), ["cache", "storage"]),
        (memory(refaulted=100_000), ["storage"]),
        (memory(), ["storage"]),
    ],
)
def test_memory_that_is_too_small_stands_before_the_storage_that_it_makes_slow(known, expected):
    assert named(alone(DISK).model_copy(update={"memory": known})) == expected


def test_a_cache_that_thrashes_is_named_where_data_are_read_again_and_written_again():
    filling = alone(DISK, bytes_read=2_000_000, bytes_written=1_000_000)
    assert named(filling) == ["storage"], "nothing shows that data were read before"
    assert named(filling, dataset_bytes=1_000_000) == ["storage"], "a first epoch fills a cache"
    assert named(filling, dataset_bytes=100_000) == ["cache", "storage"]
    again = filling.model_copy(update={"touched": 100_000, "touched_again": 900_000})
    assert named(again) == ["cache", "storage"]
    reads = alone(DISK).model_copy(update={"touched": 100_000, "touched_again": 900_000})
    assert named(reads) == ["storage"], "without writes there is no cache of its own"


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": 0.5},
        {"single": role(DISK, samples=9)},
        {"accelerators": [AcceleratorWaiting(name="H100", busy=0.95, ours=True)]},
        {"single": None},
    ],
)
def test_too_little_evidence_or_a_busy_accelerator_names_nothing(change):
    assert named(alone(DISK).model_copy(update=change)) == []


def test_an_idle_accelerator_of_another_job_says_nothing():
    others = [
        AcceleratorWaiting(name="H100", busy=0.95, ours=False),
        AcceleratorWaiting(name="H100", busy=0.2, ours=True),
    ]
    assert named(alone(DISK).model_copy(update={"accelerators": others})) == ["storage"]


def test_evidence_that_is_missing_is_said():
    (cause,) = tiering.causes(pair(STARVED, DISK, opening=None))
    assert "is not known" in cause.evidence


BOUND = pair(STARVED, FULL).model_copy(update={"cores": 2})


@pytest.mark.parametrize(
    ("size", "said", "flags"),
    [
        ((500, 375), "a shorter side of 375 pixels", "--to lmdb --short-side 256"),
        ((36, 32), "36 x 32 pixels", "--to zarr --resize 32x36 --codec none"),
    ],
)
def test_smaller_images_are_advised_only_in_the_place_of_large_ones(tmp_path, size, said, flags):
    images, store = tmp_path / "images", tmp_path / "store"
    images.mkdir()
    for number in range(4):
        Image.new("RGB", size, (number, 0, 0)).save(images / f"{number}.png")
    (cause,) = tiering.causes(BOUND, dataset=tiering.profile_dataset(images))
    assert said in cause.fix
    assert cause.command == f"tiering convert DATASET STORE {flags}"
    words = cause.command.replace("DATASET", str(images)).replace("STORE", str(store)).split()
    assert CliRunner().invoke(app, words[1:]).exit_code == 0
    assert len(tiering.open_store(store)) == 4


def test_without_the_size_of_the_images_it_is_said_what_the_advice_depends_on():
    (cause,) = tiering.causes(BOUND)
    assert "above 256 pixels" in cause.fix
    assert cause.command == "tiering profile DATASET"


def test_every_cause_has_a_fix_and_a_row_in_the_documentation():
    names = set(get_args(CauseName))
    assert set(FIXES) == names
    rows = re.findall(r"^\| `([a-z ]+)` \|", (FIXTURES.parent / "docs/causes.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(names)


def test_classify_prints_causes_and_gives_no_workload_for_a_profilers_trace():
    done = CliRunner().invoke(app, ["classify", str(KINETO)])
    assert done.exit_code == 0, done.output
    assert "inconclusive" in done.stdout
    assert re.search(r"waits +workers: The training loop spends \d+", done.stdout)
    (verdict,) = json.loads(CliRunner().invoke(app, ["classify", str(KINETO), "--json"]).stdout)["verdicts"]
    assert verdict["workload"] == "inconclusive"
    assert [cause["name"] for cause in verdict["causes"]] == ["workers"]


def test_a_profile_keeps_where_a_job_waits_and_the_report_shows_it(tmp_path):
    profile, page = tmp_path / "profile.json", tmp_path / "report.html"
    tiering.write_profile(tiering.Profile(traces=[tiering.profile_trace(KINETO)]), profile)
    (kept,) = tiering.read_profile(profile).traces
    assert [cause.name for cause in tiering.causes(kept.waiting, kept)] == ["workers"]
    tiering.write_report(profile, page)
    assert re.search(
        r"Where the job waits.*<strong>workers</strong>: The training loop spends", page.read_text(), re.DOTALL
    )


@pytest.mark.parametrize("kind", ["slow opens", "memory"])
def test_the_first_cause_of_a_slow_job_is_the_right_one(kind, tmp_path):
    data = benchmark.make_data(tmp_path, FIXTURES / "images", 1500)
    found, profile = benchmark.watched(kind, data, 3.5)
    assert [cause.name for cause in found][:1] == [benchmark.RIGHT[kind]], profile.waiting


@pytest.mark.slow
def test_all_jobs_that_are_slow_in_one_known_way_and_healthy_ones(tmp_path, capsys):
    data = benchmark.make_data(tmp_path)
    found = {kind: benchmark.watched(kind, data, 10.0)[0] for kind in benchmark.RIGHT}
    firsts = {kind: causes[0].name if causes else None for kind, causes in found.items()}
    with capsys.disabled():
        print("\n" + "\n".join(benchmark.matrix(list(firsts.items()))))
    slow = [kind for kind, right in benchmark.RIGHT.items() if right is not None]
    assert sum(firsts[kind] == benchmark.RIGHT[kind] for kind in slow) >= 0.9 * len(slow), firsts
    assert all(firsts[kind] is None for kind in benchmark.RIGHT if kind not in slow), firsts
