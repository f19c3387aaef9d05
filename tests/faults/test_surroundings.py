"""Where no home is, none can be written, the temporary directory is full, or a team shares a directory."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import tiering
from tests.cache.test_files import as_user
from tests.conftest import PROGRAM
from tiering.errors import command


@pytest.fixture
def open_way(tmp_path):
    """The test's directory, which every user may enter."""
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    return tmp_path


@pytest.fixture(scope="module")
def store(photos, tmp_path_factory):
    place = tmp_path_factory.mktemp("store") / "photos.lmdb"
    tiering.convert(photos, place, "lmdb", workers=1)
    return place


def test_a_user_without_home_and_name_converts_and_is_told_of_cache_dir(photos, open_way, store):
    mine = open_way / "mine"
    mine.mkdir()
    os.chown(mine, 54321, 54321)
    run = ["sh", "-c", f'cd {mine}; exec "$@"', "sh", sys.executable, "-m", "tiering.cli.app"]
    done = as_user(54321, 54321, *run, "convert", photos, mine / "store", "--to", "lmdb")
    assert done.returncode == 0, done.stderr
    refused = as_user(54321, 54321, *run, "cache", "warm", store, "--cache-size", "8MB")
    assert refused.returncode == 2, refused.stderr
    last = refused.stderr.strip().splitlines()[-1]
    assert "this user has no home directory (HOME). Name a directory: --cache-dir" in last
    assert sorted(os.listdir(mine)) == ["store"], "a directory called ~ was made"
    done = as_user(54321, 54321, *run, "cache", "warm", store, "--cache-size", "8MB", "--cache-dir", mine / "cache")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", [["cache", "info"], ["bench", "STORE", "--cache-size", "8MB", "--epochs", "2"]])
def test_every_verb_with_a_cache_names_the_option(program, store, verb, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/proc/none")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    done = program(*[store if word == "STORE" else word for word in verb], cwd=tmp_path)
    assert done.returncode in (2, 4), done.stderr
    assert "--cache-dir" in done.stderr.strip().splitlines()[-1]


def test_a_home_that_is_read_only_names_the_option(store, tmp_path):
    (tmp_path / "home").mkdir()
    script = 'mount -t tmpfs -o size=1m,ro tmpfs home && HOME=$PWD/home exec "$@"'
    words = [PROGRAM, "cache", "warm", store, "--cache-size", "8MB"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"},
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "home/.cache" in done.stderr
    assert "read-only file system" in done.stderr
    assert "Or choose another --cache-dir." in done.stderr


def test_a_full_tmpdir_is_named_and_leaves_nothing(photos, tmp_path, s3, in_small_tmpfs):
    tiering.convert(photos, f"{s3}/store", "zarr", shards=tiering.Shards(1 << 20), workers=1)
    place = tmp_path / "small"
    words = ["env", f"TMPDIR={place}", PROGRAM, "verify", f"{s3}/store", "--source", photos]
    done = in_small_tmpfs(16, words)
    assert done.returncode == 4, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"MachineError: {place}: expected room for temporary files, found no space left on device")
    assert "TMPDIR=/path/to/it" in last
    assert (tmp_path / "left").read_text() == ""


def test_a_directory_of_a_team_stays_one(photos, open_way):
    team = open_way / "team"
    team.mkdir()
    os.chown(team, 54321, 54444)
    team.chmod(0o2775)
    run = ["sh", "-c", 'umask 002; exec "$@"', "sh", sys.executable, "-m", "tiering.cli.app"]
    words = ["convert", photos, team / "store", "--to", "zarr", "--shard-size", "200kB", "--workers", "2"]
    done = as_user(54321, 54321, *run, *words)
    assert done.returncode == 0, done.stderr
    wrong = []
    for path in [team / "store", *(team / "store").rglob("*")]:
        about = path.stat()
        mode = stat.S_IMODE(about.st_mode)
        if about.st_gid != 54444 or mode != (0o2775 if path.is_dir() else 0o664):
            wrong.append((path.name, oct(mode), about.st_gid))
    assert wrong == []
    assert as_user(54999, 54444, *run, "append", "--help").returncode == 0


ODD = """it's a $(touch hacked); `id` "q" * -n"""


def test_the_next_command_can_be_pasted(program, photos, tmp_path):
    source = tmp_path / f"photos {ODD}"
    shutil.copytree(next(each for each in photos.iterdir() if each.is_dir()), source / "class")
    words = ["convert", f"./photos {ODD}", f"./{ODD}.lmdb", "--to", "lmdb", "--workers", "1"]
    done = program(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Next: ")]
    said = line.removeprefix("Next: ")
    assert shlex.split(said) == ["tiering", "verify", f"./{ODD}.lmdb", "--source", f"./photos {ODD}"]


def test_a_pasted_command_runs(tmp_path):
    odd = tmp_path / "it's $(touch hacked) here"
    odd.mkdir()
    ran = subprocess.run(command("ls", "-d", odd), shell=True, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(odd)


def test_every_message_with_a_path_in_a_command_quotes_it():
    """In the source: no f-string puts a value behind `tiering VERB` by itself."""
    loose = re.compile(
        r"f[\"'][^\"']*\btiering (?:convert|verify|append|info|export|cache|bench|profile|classify) [^\"']*\{(?!command)"
    )
    found = []
    for path in Path(tiering.__file__).parent.rglob("*.py"):
        found += [f"{path}:{line}" for line in path.read_text().splitlines() if loose.search(line)]
    assert found == []


def test_bench_says_the_address_that_it_listens_on(program, store, tmp_path):
    words = [
        "bench",
        store,
        "--epochs",
        2,
        "--cache-size",
        "8MB",
        "--cache-dir",
        tmp_path / "cache",
        "--metrics-port",
        0,
    ]
    assert "Metrics: http://127.0.0.1:" in program(*words).stderr
