"""`tiering report`: what the file says, and its errors; test_browser.py opens it."""

from __future__ import annotations

import json
import re

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.conftest import FIXTURES
from tiering.cli.app import app
from tiering.reporting.page import write_report
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.profile import profile_trace
from tiering.trace.readers import read_trace
from tiering.trace.timeline import BINS, FILES, ROWS, TimelineBinner, timeline

TRACE = FIXTURES / "traces" / "train_loop.strace.gz"


def tiering(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def figures(page):
    return json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1])


def events(times, files, sizes, op="read"):
    count = len(times)
    columns = {
        "time": times,
        "op": [op] * count,
        "file": files,
        "size": sizes,
        "path": [f"/d/{file}" for file in files],
    }
    return pl.DataFrame({name: columns.get(name, [None] * count) for name in EVENT_SCHEMA}, schema=EVENT_SCHEMA)


def test_a_profile_with_a_trace_gives_every_section_below_six_megabytes(tmp_path):
    profile, output = tmp_path / "profile.json", tmp_path / "report.html"
    assert tiering("profile", FIXTURES / "images", "-t", TRACE, "-o", profile).exit_code == 0
    done = tiering("report", profile, "-o", output)
    assert done.exit_code == 0, done.stderr
    page = output.read_text()
    assert len(page.encode()) < 6_000_000
    notes = re.findall(r"<li>(.*?)</li>", page.split('<section id="trace-1"')[1].split("</section>")[0])
    assert len(notes) == len(set(notes)) > 0
    for words in ("re-read-heavy", "double the RAM", "the dataset is on nfs", "How it was computed", "Thumbnail of "):
        assert words in page
    shown = figures(page)
    assert len(shown["timeline-1"]["layout"]["shapes"]) == 4
    width = shown["timeline-1"]["data"][0]["x"][1]
    assert sum(shown["timeline-1"]["data"][0]["y"]) * width == pytest.approx(8.88e6, rel=0.01)


def test_from_python_the_default_price_of_waiting_is_shown(tmp_path, photos):
    write_report(photos, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "2.0 USD for an hour of waiting" in page


def test_what_is_gone_is_said(some_photos, tmp_path):
    trace, profile, output = tmp_path / "t.csv", tmp_path / "profile.json", tmp_path / "report.html"
    trace.write_text("time,op,file,offset,size\n1,read,a,0,100\n2,read,a,0,100\n")
    assert tiering("profile", some_photos, "-t", trace, "-o", profile).exit_code == 0
    trace.unlink()
    some_photos.rename(tmp_path / "moved")
    assert tiering("report", profile, "-o", output).exit_code == 0
    assert "No thumbnails" in output.read_text()
    assert "No timeline" in output.read_text()


def test_a_file_that_exists_is_kept_without_force(tmp_path):
    output = tmp_path / "report.html"
    output.write_text("mine")
    assert tiering("report", FIXTURES / "images", "-o", output).exit_code == 2
    assert output.read_text() == "mine"
    assert tiering("report", FIXTURES / "images", "-o", output, "--force").exit_code == 0
    assert "<h1>" in output.read_text()


def test_a_place_that_is_not_there_is_named(tmp_path):
    done = tiering("report", tmp_path / "nowhere", "-o", tmp_path / "report.html")
    assert done.exit_code == 3
    assert "nowhere" in done.stderr


def test_a_trace_is_read_once_for_its_profile_and_its_timeline():
    binner = TimelineBinner()
    profile = profile_trace(TRACE, beside=binner.add)
    assert profile == profile_trace(TRACE)
    alone, together = timeline(read_trace(TRACE).batches), binner.found()
    assert together.rows == alone.rows
    assert together.read.tolist() == alone.read.tolist()
    assert together.heat.tolist() == alone.heat.tolist()


@pytest.mark.parametrize("pieces", [1, 7, 100])
def test_bins_do_not_depend_on_batches_and_lose_no_byte(pieces):
    count = 1000
    whole = events([n**2 / 7 for n in range(count)], [n % 37 for n in range(count)], [n + 1 for n in range(count)])
    step = -(-count // pieces)
    found = timeline(whole.slice(at, step) for at in range(0, count, step))
    assert int(found.read.sum()) == int(found.heat.sum()) == count * (count + 1) // 2
    assert len(found.read) <= BINS
    expected = [0] * len(found.read)
    for time, size in whole.select("time", "size").iter_rows():
        expected[int(time / found.bin_s)] += size
    assert found.read.tolist() == expected


def test_many_files_are_sampled_and_their_rows_are_bounded():
    count = 5 * FILES
    found = timeline([events([float(n) for n in range(count)], list(range(count)), [10] * count)])
    assert found.rate < 1
    assert found.files <= FILES
    assert len(found.rows) == ROWS
    assert int(found.heat.sum()) == 10 * found.files
    assert int(found.read.sum()) == 10 * count
