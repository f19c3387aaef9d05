"""`tiering watch` through the command line, on small jobs that really run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from urllib.request import urlopen

import jsonschema
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from docs.json_reference import DOCUMENTS, schema_of
from tests import warm
from tests.conftest import PROGRAM
from tests.terminal import InTerminal
from tiering.trace.profile import profile_trace

#: Reads all files of a directory, again and again, for some seconds; the first line tells that it has begun.
LOOP = """
import pathlib, sys, time
end = time.monotonic() + float(sys.argv[2])
print("begun", flush=True)
while time.monotonic() < end:
    for path in pathlib.Path(sys.argv[1]).iterdir():
        path.read_bytes()
        time.sleep(0.001)
"""
MAPPED = """
import numpy, sys, time
end = time.monotonic() + float(sys.argv[2])
data = numpy.memmap(sys.argv[1], mode="r")
print("begun", flush=True)
while time.monotonic() < end:
    data[:: 4096].sum()
    time.sleep(0.01)
"""
SCHEMAS = {document.name: schema_of(document) for document in DOCUMENTS if document.commands.startswith("watch")}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data") / "files"
    directory.mkdir()
    for number in range(100):
        (directory / f"{number:03}").write_bytes(os.urandom(10_000))
    np.save(directory.parent / "array.npy", np.arange(1 << 20, dtype=np.uint8))
    return directory


@contextmanager
def running(code: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE, text=True) as job:
        try:
            assert job.stdout.readline() == "begun\n"
            yield job
        finally:
            job.kill()


def documents(text: str) -> list[dict[str, object]]:
    found = [json.loads(line) for line in text.splitlines()]
    for each in found:
        jsonschema.validate(each, SCHEMAS[each["format"]])
    return found


def test_a_command_is_watched_to_its_end_and_exits_with_its_status(data, tmp_path):
    code = f"{LOOP}\nprint('ended')\nsys.exit(7)"
    trace = tmp_path / "trace.parquet"
    done = warm.run("watch", "-o", trace, "--dataset", data, "--json", "--", sys.executable, "-c", code, data, 2)
    assert done.returncode == 7
    *looks, result = documents(done.stdout)
    assert {each["format"] for each in looks} == {"tiering-look"}
    assert (result["format"], result["status"], result["interrupted"]) == ("tiering-watch", 7, False)
    # What the command prints goes to stderr, so that stdout has documents alone.
    assert "begun\nended\n" in done.stderr
    assert f"Wrote {trace}: " in done.stderr
    assert f"tiering classify {trace}\n" in done.stderr
    assert result["bytes_read"] >= profile_trace(trace).bytes_read > 1_000_000
    last = looks[-1]
    assert last["epoch"]["anchored"]
    assert last["epoch"]["bytes"] == 1_000_000
    assert last["read"]["bytes"] > 1_000_000
    assert all(before["seconds"] < after["seconds"] for before, after in pairwise(looks))


def test_a_running_job_is_watched_for_some_time_and_goes_on(data, tmp_path):
    with running(MAPPED, data.parent / "array.npy", 60) as job:
        done = warm.run("watch", job.pid, "--for", "1s", "-o", tmp_path / "trace.parquet")
        assert job.poll() is None
    assert (done.returncode, done.stdout) == (0, "")
    assert "What was seen:" in done.stderr
    assert len(re.findall(r"^  \S.*(Not seen: |not used, )", done.stderr, re.MULTILINE)) >= 1
    assert profile_trace(tmp_path / "trace.parquet").whole is False


def test_the_end_of_the_job_ends_the_watch(data, tmp_path):
    with (
        running(LOOP, data, 60) as job,
        warm.start("watch", job.pid, "-o", tmp_path / "trace.parquet", "--metrics-port", 0) as watching,
    ):
        assert metrics(watching, lambda found: found.get("tiering_watch_read_bytes_total", 0) > 10_000)
        job.kill()
        assert watching.wait(60) == 0
    assert (tmp_path / "trace.parquet").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_watch_with_a_whole_trace_and_the_job_goes_on(data, tmp_path, number, status):
    trace = tmp_path / "trace.parquet"
    with running(LOOP, data, 60) as job:
        with warm.start("watch", job.pid, "-o", trace, "--metrics-port", 0) as watching:
            # It has begun once there are metrics.
            assert metrics(watching, lambda found: found.get("tiering_watch_read_bytes_total", 0) > 10_000)
            watching.send_signal(number)
            assert watching.wait(60) == status
            said = watching.said()
        assert job.poll() is None
    assert f"Interrupted. Wrote {trace}: " in said
    assert profile_trace(trace).bytes_read > 10_000
    assert os.listdir(tmp_path) == ["trace.parquet"]


def test_a_reader_of_the_documents_that_goes_away_ends_the_watch_with_a_whole_trace(data, tmp_path):
    trace = tmp_path / "trace.parquet"
    with running(LOOP, data, 60) as job:
        words = [PROGRAM, "watch", job.pid, "-o", trace, "--json"]
        with subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
            documents(watching.stdout.readline().decode())
            threads = [each.read_text() for each in Path(f"/proc/{watching.pid}/task").glob("*/comm")]
            assert sum(bool(re.match(r"polars-\d", each)) for each in threads) == 1
            watching.stdout.close()
            assert watching.wait(60) == 141
            assert watching.stderr.read() == b""
        assert job.poll() is None
    assert profile_trace(trace).bytes_read > 10_000


def metrics(watching, wanted) -> dict[str, float]:
    """Scrape the metrics of a program until they are as wanted."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if port := re.search(r"http://127.0.0.1:(\d+)/metrics", watching.said()):
            with urlopen(f"http://127.0.0.1:{port[1]}/metrics", timeout=60) as answer:
                families = text_string_to_metric_families(answer.read().decode())
            found = {sample.name: sample.value for family in families for sample in family.samples}
            if wanted(found):
                return found
        time.sleep(0.1)
    raise AssertionError(watching.said())


def test_metrics_have_units_and_leave_out_what_is_not_seen(data, tmp_path):
    with running(LOOP, data, 60) as job:
        words = ("watch", job.pid, "-o", tmp_path / "trace.parquet", "--metrics-port", 0, "--for", "60s")
        with warm.start(*words) as watching:
            found = metrics(watching, lambda found: found.get("tiering_watch_reads_total", 0) > 0)
            watching.send_signal(signal.SIGINT)
    assert found["tiering_watch_read_bytes_total"] >= 10_000
    assert found["tiering_watch_processes"] == 1
    assert 0 < found["tiering_watch_own_processors"] < 1
    assert "tiering_watch_touched_ratio" not in found  # nobody said what the dataset is


def test_a_name_must_match_one_job(data, tmp_path):
    mark = f"mark-{os.getpid()}"
    done = warm.run("watch", "--name", mark, "-o", tmp_path / "trace.parquet")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--name: no process is like '{mark}'" in done.stderr
    with running(LOOP, data, 60, f"{mark}-a\x1b[2J") as first:
        done = warm.run("watch", "--name", mark, "--for", "0.6s", "-o", tmp_path / "trace.parquet")
        assert done.returncode == 0, done.stderr
        with running(LOOP, data, 60, f"{mark}-b") as second:
            done = warm.run("watch", "--name", mark, "-o", tmp_path / "trace.parquet")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "found 2: " in line
    for job in (first, second):
        assert f"{job.pid} " in line
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ((), 2, "needs one of PID, --name PATTERN and -- COMMAND"),
        ((1, "--name", "x"), 2, "takes one of PID, --name PATTERN and -- COMMAND, not two"),
        ((1 << 22,), 2, f"process {1 << 22}: there is no such process"),
        ((os.getpid(), "--for", "0"), 2, "--for: must be a time above 0"),
        ((os.getpid(), "--for", "soon"), 2, "is not a duration such as 90s"),
        ((os.getpid(), "-o", "{tmp}/none/trace.parquet"), 2, "needs a directory to write to"),
        ((os.getpid(), "--dataset", "{tmp}/none"), 3, "{tmp}/none"),
        (("--", "no-such-program"), 2, "there is no command 'no-such-program'"),
    ],
)
def test_what_cannot_be_watched_is_one_clear_line(tmp_path, words, status, message):
    place = [str(word).format(tmp=tmp_path) for word in words]
    done = warm.run("watch", *place, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    (line,) = done.stderr.splitlines()
    assert message.format(tmp=tmp_path) in line
    assert os.listdir(tmp_path) == []


def test_a_terminal_shows_the_job_live_and_ctrl_c_leaves_the_summary_alone(data, tmp_path):
    trace = tmp_path / "trace.parquet"
    with (
        running(LOOP, data, 100) as job,
        InTerminal([PROGRAM, "watch", job.pid, "-o", trace, "--dataset", data], 80, 24) as seen,
    ):
        first = seen.until(lambda text: "left of" in text)
        assert f"({job.pid}): 1 process, 1 thread" in first
        seen.until(lambda text: text != first and "left of" in text)
        # Each picture replaces the one before it.
        screen = seen.screen.text()
        assert screen.count("requests/s") == screen.count("lock/pipe") == 1
        assert max(map(len, screen.splitlines())) <= 80
        seen.type("\x03")
        assert seen.wait() == 130
        assert job.poll() is None
        said = seen.screen.text()
    assert "requests/s" not in said
    assert "Interrupted. Wrote" in said
    assert "tiering recommend profile.json" in said
    assert trace.exists()


def test_a_command_keeps_the_terminal_to_itself(data, tmp_path):
    words = [PROGRAM, "watch", "-o", tmp_path / "trace.parquet", "--", sys.executable, "-c", LOOP, data, 1]
    with InTerminal(words, 100, 30) as seen:
        assert seen.wait() == 0
        said = seen.screen.text()
    assert re.search(r"in another one: tiering watch \d+", said)
    assert "begun" in said
    assert "requests/s" not in said
