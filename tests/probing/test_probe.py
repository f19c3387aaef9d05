"""`tiering probe` on a mount: it measures, keeps its bounds, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import warm
from tests.conftest import PROGRAM
from tiering.advice.catalog import find_tier, load_catalog
from tiering.errors import UsageError
from tiering.probing.mount import BLOCKS, DEPTHS, PATTERNS, POINTS
from tiering.probing.probe import LEAST_SIZE, probe

QUICK = ("--seconds", "1.5", "--size", "32MiB")
#: Of the name of a probe's hidden directory.
PREFIX = ".tiering-"


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def on_mount(tmp_path, options, command):
    """Run a command with a file system mounted at ./small, in a mount namespace; `left` gets what is in it afterwards."""
    (tmp_path / "small").mkdir()
    script = f'mount {options} small && "$@"; status=$?; ls -A small >left; exit $status'
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    return subprocess.run(
        [*namespace, "sh", "-c", script, "sh", *map(str, command)],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def fails(done, code, *words):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in last, done.stderr
    assert done.stdout == ""


def test_a_mount_becomes_a_tier_and_stays_as_it_was(program, tmp_path):
    place, entry = tmp_path / "mount", tmp_path / "mine.toml"
    (place / f"{PREFIX}old").mkdir(parents=True)
    (place / f"{PREFIX}old" / "reads").write_bytes(b"someone else's")
    (place / "data").write_bytes(b"precious" * 1000)
    before = contents(place)
    done = program("probe", place, *QUICK, "--name", "mine", "-o", entry, "--like", "sata-ssd")
    assert done.returncode == 0, done.stderr
    assert contents(place) == before
    assert sorted(os.listdir(place)) == [f"{PREFIX}old", "data"]
    assert "at most about 1.5 s; at most 33.6 MB" in done.stderr.splitlines()[0]
    assert str(entry) in done.stderr
    tier = find_tier(load_catalog(entry), "mine")
    assert {(each.pattern, each.block, each.depth) for each in tier.read_points} == {
        (pattern, block, depth) for pattern in PATTERNS for block in BLOCKS for depth in DEPTHS
    }
    assert all(each.p50 <= each.p99 for each in tier.read_points)
    assert tier.read_bandwidth == max(each.bandwidth for each in tier.read_points if each.pattern == "sequential")
    single = next(each for each in tier.read_points if (each.pattern, each.block, each.depth) == ("random", 4096, 1))
    assert (tier.read_latency_p50, tier.read_latency_p99) == (single.p50, single.p99)
    small = [each for each in tier.read_points if (each.pattern, each.block) == ("random", 4096)]
    assert tier.iops == pytest.approx(max(each.bandwidth for each in small) / 4096, rel=1e-3)
    assert tier.queue_depth in DEPTHS
    assert tier.metadata_rate > 0
    assert tier.sync_rate > 0
    assert tier.price == find_tier(load_catalog(), "sata-ssd").price
    assert program("tiers", "check", entry).returncode == 0
    assert "random" in program("tiers", "show", "mine", "--catalog", entry).stdout


def test_json_is_one_document(program, tmp_path):
    done = program("probe", tmp_path, *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert len(document["tier"]["read_points"]) == POINTS
    assert 32 << 20 <= document["written"] < 50 << 20
    assert os.listdir(tmp_path) == []


def test_from_python_bounds_are_told_before_anything_is_written(tmp_path):
    told = []

    def announce(line):
        told.append((line, os.listdir(tmp_path)))

    found = probe(tmp_path, seconds=1.0, size="32MiB", announce=announce)
    ((line, there),) = told
    assert "33.6 MB" in line
    assert there == []
    assert found.tier.name == "measured"
    assert found.seconds < 60


def test_a_local_disk_has_no_totals_of_all_nodes_whatever_it_is_like(tmp_path):
    tier = probe(tmp_path, seconds=1.0, size="32MiB", like="nfs").tier
    assert (tier.total_bandwidth, tier.total_iops) == (None, None)


def test_a_file_system_without_direct_reads_is_measured_past_its_cache(tmp_path):
    done = on_mount(tmp_path, "-t ramfs ramfs", [PROGRAM, "probe", "small", *QUICK, "--json"])
    assert done.returncode == 0, done.stderr
    tier = json.loads(done.stdout)["tier"]
    assert tier["access"] == "memory"
    assert tier["capacity"] is None
    assert len(tier["read_points"]) == POINTS
    assert (tmp_path / "left").read_text() == ""


def test_too_little_room_is_found_out_before_writing(tmp_path):
    done = on_mount(tmp_path, "-t tmpfs -o size=20m tmpfs", [PROGRAM, "probe", "small", *QUICK])
    fails(done, 4, "small", "free", "--size")
    assert (tmp_path / "left").read_text() == ""


def test_a_file_system_that_fills_up_is_named_and_left_clean(tmp_path):
    options = "-t tmpfs -o size=100m,nr_inodes=20 tmpfs"
    done = on_mount(tmp_path, options, [PROGRAM, "probe", "small", *QUICK])
    fails(done, 4, "no space left", PREFIX)
    assert (tmp_path / "left").read_text() == ""


def test_a_read_only_file_system_is_named(tmp_path):
    done = on_mount(tmp_path, "-t tmpfs -o ro tmpfs", [PROGRAM, "probe", "small", *QUICK])
    fails(done, 4, "read-only", "small")


def test_a_directory_that_may_not_be_written_is_named(program, tmp_path, without_privilege):
    (tmp_path / "shut").mkdir(mode=0o500)
    fails(program("probe", tmp_path / "shut", *QUICK, prefix=without_privilege), 4, "permission denied", "shut")


@pytest.mark.parametrize("name", ["none", "file"])
def test_what_is_no_directory_is_bad_input(program, tmp_path, name):
    (tmp_path / "file").write_bytes(b"x")
    fails(program("probe", tmp_path / name, *QUICK), 3, name)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seconds", "0"), "--seconds"),
        (("--seconds", "nan"), "--seconds"),
        (("--size", "1MiB"), "--size"),
        (("--size", "much"), "much"),
        (("--name", "a b"), "--name"),
        (("--like", "tape"), "--like"),
    ],
)
def test_bounds_and_names_that_cannot_be(program, tmp_path, words, said):
    fails(program("probe", tmp_path, *words), 2, said)
    assert os.listdir(tmp_path) == []


def test_an_entry_is_not_written_over(program, tmp_path):
    (tmp_path / "mine.toml").write_text("precious")
    fails(program("probe", tmp_path, "-o", tmp_path / "mine.toml"), 2, "mine.toml")
    assert (tmp_path / "mine.toml").read_text() == "precious"
    fails(program("probe", tmp_path, "-o", tmp_path / "none" / "mine.toml"), 3, "none")


def begun(directory):
    """Start a long probe; return it once it has begun to write."""
    run = warm.start("probe", directory, "--seconds", "100", "--size", "64MiB")
    deadline = time.monotonic() + 60
    while run.poll() is None and time.monotonic() < deadline:
        if list(directory.glob(f"{PREFIX}*/reads")):
            return run
        time.sleep(0.002)
    raise AssertionError(run.communicate())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("pause", [0.0, 1.5])
def test_an_interrupted_probe_leaves_nothing(tmp_path, number, pause):
    run = begun(tmp_path)
    time.sleep(pause)
    run.send_signal(number)
    _, said = run.communicate(timeout=120)
    assert run.returncode == 128 + number, said
    assert "is removed. The same command starts from the beginning." in said
    assert "Traceback" not in said
    assert os.listdir(tmp_path) == []


def test_a_killed_probe_leaves_nothing_large(tmp_path):
    run = begun(tmp_path)
    (own,) = tmp_path.glob(f"{PREFIX}*")
    deadline = time.monotonic() + 60
    while (own / "reads").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    run.kill()
    run.communicate(timeout=120)
    assert sum(path.stat().st_size for path in own.iterdir()) < 5_000_000


def test_least_size_is_what_the_deepest_point_needs(tmp_path):
    with pytest.raises(UsageError, match=r"33\.6 MB"):
        probe(Path(tmp_path), size=LEAST_SIZE - 1)
