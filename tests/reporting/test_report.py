"""`tiering report`: what the file says, and its errors; test_browser.py opens it."""

from __future__ import annotations

import html
import json
import re

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.conftest import FIXTURES
from tiering.cli.app import app
from tiering.reporting.page import write_report
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.timeline import BINS, FILES, ROWS, TimelineBinner

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
    assert "2.00 USD for an hour of waiting" in page


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


def test_a_trace_in_the_place_of_the_profile_is_answered_with_the_command_that_takes_it(tmp_path):
    done = tiering("report", TRACE, "-o", tmp_path / "report.html")
    assert done.exit_code == 3
    assert f"tiering profile --trace {TRACE} -o profile.json" in done.stderr


def timeline(batches):
    binner = TimelineBinner()
    for batch in batches:
        binner.add(batch, begin=batch["time"][0])
    return binner.found()


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


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "profile.json"
    assert tiering("profile", FIXTURES / "images", "-t", TRACE, "-o", path).exit_code == 0
    return path


JOB = ("--tier", "nfs", "--ram", "1GiB", "--epochs", "90", "--nodes", "2", "--cpus", "8", "--budget", "500")


def opening(page):
    """The part of a page above its sections, as text."""
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page.split("<header>")[1].split("</header>")[0]).split()))


def test_a_report_says_what_recommend_says_by_the_same_options_or_the_saved_advice(profile, tmp_path):
    advice, direct, saved = tmp_path / "advice.json", tmp_path / "direct.html", tmp_path / "saved.html"
    asked = tiering("recommend", profile, *JOB, "-o", advice, "--json")
    assert asked.exit_code == 0, asked.stderr
    answer = json.loads(asked.stdout)["answer"]
    assert tiering("report", profile, *JOB, "-o", direct).exit_code == 0
    done = tiering("report", advice, "-o", saved)
    assert done.exit_code == 0, done.stderr
    pages = direct.read_text(), saved.read_text()
    for page in pages:
        assert answer in opening(page)
        assert "90 epochs a run" in page
    assert figures(pages[0]) == figures(pages[1])
    beside = tmp_path / "beside.html"
    assert tiering("report", profile, "--advice", advice, "-o", beside).exit_code == 0
    assert answer in opening(beside.read_text())


def test_options_of_the_job_beside_saved_advice_are_refused(profile, tmp_path):
    advice = tmp_path / "advice.json"
    assert tiering("recommend", profile, "-o", advice).exit_code == 0
    done = tiering("report", advice, "--epochs", "5", "--ram", "1GB", "-o", tmp_path / "report.html")
    assert done.exit_code == 2
    assert "--epochs, --ram" in done.stderr
    assert not (tmp_path / "report.html").exists()


def test_advice_on_another_dataset_is_refused(profile, some_photos, tmp_path):
    advice = tmp_path / "advice.json"
    assert tiering("recommend", profile, "-o", advice).exit_code == 0
    done = tiering("report", some_photos, "--advice", advice, "-o", tmp_path / "report.html")
    assert done.exit_code == 2
    assert "--advice: expected advice on" in done.stderr


def test_the_opening_has_the_subject_the_verdict_and_findings_with_costs_and_fixes(profile, tmp_path):
    output = tmp_path / "report.html"
    assert tiering("report", profile, *JOB, "-o", output).exit_code == 0
    text = opening(output.read_text())
    for words in (
        "300 images",
        "7,065 events",
        "by tiering",
        "Command",
        "USD a month",
        "The workload is re-read-heavy , 100 % sure",
        "What costs most",
        "of each run",
        "tiering convert",
        "do not add them up",
        "reads no byte of this dataset",
    ):
        assert words in text, words
    costs = [
        float(each.replace(",", "")) for each in re.findall(r"([\d.,]+) USD a month \.", text.replace("<0.001", "0"))
    ]
    assert costs == sorted(costs, reverse=True)


def test_of_several_traces_the_one_that_leads_is_named(profile, tmp_path):
    output = tmp_path / "report.html"
    other = FIXTURES / "traces" / "sqlite_log.strace"
    assert tiering("report", profile, other, "-o", output).exit_code == 0
    assert f"The advice is for the workload of {TRACE}, the first trace." in opening(output.read_text())


def test_alerts_name_their_thresholds(profile, tmp_path):
    output = tmp_path / "report.html"
    assert tiering("report", profile, "-o", output).exit_code == 0
    row = re.search(r"<tr[^>]*><th scope=\"row\">reads of less than 4 KiB</th>(.*?)</tr>", output.read_text())[1]
    assert re.findall(r"<td>(.*?)</td>", row)[:3] == ["59 %", "above 10 %", "alert"]


def reported(place, dataset, rows, columns="time,op,file,offset,size,duration,pid"):
    """The page of a dataset and a trace of these rows."""
    place.mkdir(exist_ok=True)
    trace, output = place / "trace.csv", place / "trace.html"
    trace.write_text("\n".join([columns, *(",".join(map(str, row)) for row in rows)]) + "\n")
    done = tiering("report", dataset, trace, "-o", output)
    assert done.exit_code == 0, done.stderr
    return html.unescape(output.read_text())


def alert(page, figure):
    row = re.search(rf'<tr[^>]*><th scope="row">{figure}</th>(.*?)</tr>', page)[1]
    return re.findall(r"<td>(.*?)</td>", row)


def test_reads_that_are_slow_because_they_are_large_raise_no_alarm(few_photos, tmp_path):
    def rows(large):
        for n in range(400):
            slow = n % 10 == 0
            yield n / 10, "read", f"f{n % 7}", 0, large if slow else 512, 0.05 if slow else 3e-6, 1

    figure, finding = "time of reads in calls ten times slower than the median", "take more than ten times the median"
    even = reported(tmp_path / "even", few_photos, rows(600))
    assert alert(even, figure)[2] == "alert"
    assert finding in even
    uneven = reported(tmp_path / "uneven", few_photos, rows(10**8))
    assert alert(uneven, figure)[1:3] == ["above 20 %, sizes alike", "fine"]
    assert "10 % of the reads move far more than the median" in uneven
    assert finding not in uneven


def test_the_busiest_process_is_compared_with_all_others(few_photos, tmp_path):
    rows = [(n, "read", "f", 0, 4096, 0.9 if n == 0 else 0.5 if n < 20 else 0.001, n + 1) for n in range(100)]
    page = reported(tmp_path, few_photos, rows)
    mean = (0.9 + 19 * 0.5 + 80 * 0.001) / 100
    value, _, state, _ = alert(page, "time in calls by which the busiest process is above the mean")
    assert value == f"{100 * (1 - mean / 0.9):.0f} %"
    assert state == "alert"
    assert "The busiest of 100 processes, process 1, takes 900 ms in calls, 9 % of all" in page


def test_accesses_that_are_neither_reads_nor_writes_have_their_bytes(few_photos, tmp_path):
    rows = [(n, n % 5, 4096 * (1 + n % 5)) for n in range(200)]
    page = reported(tmp_path, few_photos, rows, "time,obj_id,obj_size")
    assert "The busiest of 5 files, 4, moves 819 kB, 33 % of all" in page
    assert "2.46 MB in 200 accesses" in page
    assert "inconclusive</strong>: the trace does not distinguish reads from writes" in page
    assert not {"verdict-1", "shares-1"} & set(figures(page))


def test_what_takes_time_is_not_denied_without_durations(tmp_path, few_photos):
    store, output = tmp_path / "photos.lmdb", tmp_path / "report.html"
    assert tiering("convert", few_photos, store, "--to", "lmdb").exit_code == 0
    assert tiering("report", store, FIXTURES / "traces" / "websearch.mqsim", "-o", output).exit_code == 0
    assert "What takes time cannot be said" in opening(output.read_text())
    assert "Nothing in the trace" not in opening(output.read_text())


def test_two_profiles_or_a_store_are_compared(profile, few_photos, tmp_path):
    output, store = tmp_path / "report.html", tmp_path / "photos.lmdb"
    assert tiering("convert", few_photos, store, "--to", "lmdb").exit_code == 0
    done = tiering("report", profile, store.as_uri(), "-o", output)
    assert done.exit_code == 0, done.stderr
    page = output.read_text()
    assert "<h1>Comparison:" in page
    assert [*figures(page)] == ["image-sizes-of-both"]
    both = tmp_path / "both.html"
    assert tiering("report", profile, profile, "-o", both).exit_code == 0
    assert "No figure of both differs" in opening(both.read_text())
    assert len(figures(both.read_text())) == 6
    refused = tiering("report", profile, profile, TRACE, "-o", tmp_path / "no.html")
    assert refused.exit_code == 2


def test_figures_for_print_have_their_data(profile, tmp_path):
    place = tmp_path / "figures"
    done = tiering("report", profile, "--figures", place)
    assert done.exit_code == 0, done.stderr
    names = {path.stem for path in place.glob("*.csv")}
    assert {"timeline-1", "heat-1", "pareto", "sizes", "doing-1"} <= names
    for name in names:
        assert (place / f"{name}.svg").read_bytes().startswith(b"<?xml")
        assert (place / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    heat = pl.read_csv(place / "heat-1.csv")
    assert heat.height == 160
    assert heat.select(pl.sum_horizontal(pl.exclude(heat.columns[0])).sum()).item() == 8_888_766
    assert "79.9 % of all bytes moved were read again" in (place / "captions.txt").read_text()
    assert not (tmp_path / "report.html").exists()
    assert tiering("report", profile, "--figures", place).exit_code == 2


def test_an_inconclusive_verdict_is_not_called_sure(profile, tmp_path):
    trace, output = tmp_path / "short.csv", tmp_path / "report.html"
    rows = [f"{number / 100},read,data/{number}.jpg,0,1000000" for number in range(30)]
    trace.write_text("\n".join(["time,op,file,offset,size", *rows]) + "\n")
    assert tiering("report", profile, trace, "-o", output).exit_code == 0
    text = opening(output.read_text())
    assert "inconclusive ; the likeliest is" in text, text
    assert not re.search(r"inconclusive\s*, \d+ % sure", text)
    other = tmp_path / "other.html"
    assert tiering("report", FIXTURES / "images", trace, "-o", other).exit_code == 0
    assert "The advice is for training, and holds only if the data is read again." in opening(other.read_text())
