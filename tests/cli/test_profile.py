"""`tiering profile`: one readable answer, one line for an error, and the promised exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from tests import warm
from tests.cli.failures import error_line
from tests.trees import FIXTURES, picture, put
from tiering.workload.profile import Profile, read_profile

tiering = warm.run


def bound(*words):
    """Run the program as a user whom permissions bind, also where the tests run as root."""
    command = [sys.executable, "-m", "tiering.cli.app", *map(os.fsencode, words)]
    if os.getuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def fails(code, kind, *words, run=tiering):
    """Run, expect this exit code and one line of error, and return the line."""
    line = error_line(run(*words), code)
    assert line.startswith(f"{kind}: ")
    return line


def test_the_summary_of_the_fixture_images():
    done = tiering("profile", FIXTURES)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "300, 1.78 MB in all" in done.stdout
    assert "10, 30 images each" in done.stdout
    assert "JPEG 90 %, PNG 10 % (of 300 headers read)" in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 200


def test_json_is_one_profile_document():
    done = tiering("profile", FIXTURES, "--json", "--probes", "10")
    profile = Profile.model_validate(json.loads(done.stdout))
    assert profile.dataset is not None
    assert (profile.dataset.files, profile.dataset.probed) == (300, 10)


def test_the_output_file_reads_back_and_nothing_else_is_left(tmp_path):
    done = tiering("profile", FIXTURES, "-o", "profile.json", cwd=tmp_path)
    assert "Wrote profile.json." in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["profile.json"]
    profile = read_profile(tmp_path / "profile.json")
    assert profile.dataset is not None
    assert profile.dataset.files == 300


def test_an_output_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()
    fails(3, "InputError", "profile", FIXTURES, "-o", tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    tmp_path.chmod(0o555)
    fails(4, "MachineError", "profile", FIXTURES, "-o", tmp_path / "profile.json", run=bound)
    tmp_path.chmod(0o755)


def test_bad_directories_are_bad_input(tmp_path):
    assert "nothing at that path" in fails(3, "DatasetError", "profile", tmp_path / "nowhere")
    assert "empty directory" in fails(3, "DatasetError", "profile", tmp_path)
    text = put(tmp_path, "notes.txt", b"words")
    assert "found none, but not an image: 1 (notes.txt)" in fails(3, "DatasetError", "profile", tmp_path)
    assert "found a file" in fails(3, "DatasetError", "profile", text)
    assert "nothing at that path" in fails(3, "DatasetError", "profile", "memory://bucket/photos")


def test_nothing_to_profile_is_a_usage_error():
    assert "tiering profile photos/" in fails(2, "UsageError", "profile")
    assert tiering("profile", FIXTURES, "--probes", "0").returncode == 2


def test_a_trace_in_the_place_of_a_dataset_is_named_with_the_command_that_takes_it(tmp_path):
    # As a loader records it, a trace is a directory.
    recording = tmp_path / "run.parquet"
    put(recording, "4711-5f0c3a9e12ab-00000.parquet", b"PAR1")
    line = fails(2, "UsageError", "profile", recording)
    assert line.endswith(f"found a trace. Type: tiering profile --trace {recording}")
    trace = tmp_path / "copy.parquet"
    assert tiering("trace", "-o", trace, "--", "cat", __file__).returncode == 0
    refused = tiering("profile", trace)
    assert refused.returncode == 2
    assert f"found a trace. Type: tiering profile --trace {trace}" in refused.stderr


def test_damage_is_told_on_stderr_and_counted(tmp_path):
    put(tmp_path, "cat/good.jpg")
    put(tmp_path, "cat/zero.jpg", b"")
    put(tmp_path, "cat/cut.jpg", picture(64, 64)[:-40])
    put(tmp_path, "cat/[red]garbage[/].jpg", b"garbage")
    put(tmp_path, "cat/locked.jpg").chmod(0)
    os.mkfifo(tmp_path / "cat" / "pipe.jpg")
    (tmp_path / "cat" / "loop").symlink_to("..")
    put(tmp_path, b"cat/\xff.jpg")
    done = bound("profile", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cat/zero.jpg: zero bytes" in done.stderr
    assert "cat/cut.jpg: a truncated JPEG" in done.stderr
    assert "cat/[red]garbage[/].jpg: no known image format" in done.stderr
    assert "cat/locked.jpg: cannot be read: permission denied" in done.stderr
    assert "1 of the image files have a name that is not UTF-8" in done.stderr
    assert "4 of 6 looked at" in done.stdout
    assert "special file: 1 (cat/pipe.jpg (FIFO))" in done.stdout
    assert "link in a circle: 1 (cat/loop/)" in done.stdout
    assert "8 files met: 2 to pack, 6 left out" in done.stdout


def test_directories_that_may_not_be_read(tmp_path):
    put(tmp_path, "photos/cat/1.jpg")
    put(tmp_path, "photos/dog/1.jpg").parent.chmod(0)
    done = bound("profile", tmp_path / "photos", "--json")
    assert json.loads(done.stdout)["dataset"]["skipped"] == {"unreadable directory": 1}
    sampled = bound("profile", tmp_path / "photos", "--json", "--sample", "50")
    assert json.loads(sampled.stdout)["dataset"]["skipped"] == {"unreadable directory": 1}
    assert "Left out: dog/ (permission denied): unreadable directory" in sampled.stderr
    (tmp_path / "photos").chmod(0)
    assert "permission denied" in fails(4, "MachineError", "profile", tmp_path / "photos", run=bound)
    (tmp_path / "photos").chmod(0o755)
    (tmp_path / "photos" / "dog").chmod(0o755)


def test_a_trace_is_profiled_against_the_dataset():
    trace = FIXTURES.parent / "traces" / "train_loop.strace.gz"
    done = tiering("profile", FIXTURES, "--trace", trace, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert len(document["traces"]) == 1
    assert document["traces"][0]["bytes_read"] > 0
    assert document["traces"][0]["coverage"] == 0
    assert "recorded under another path" in done.stderr


def test_a_damaged_trace_is_bad_input(tmp_path):
    fails(3, "TraceError", "profile", FIXTURES, "--trace", put(tmp_path, "empty.strace", b""))


def test_help_says_what_the_verb_is_for_and_shows_an_example():
    done = tiering("profile", "--help")
    assert "Describe an image dataset" in done.stdout
    assert "tiering profile photos/ --trace" in done.stdout


@pytest.mark.parametrize("heavy", ["polars", "sklearn", "zarr", "PIL"])
def test_help_does_not_wait_for_heavy_libraries(heavy):
    code = f"import sys, tiering.cli.profile; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_sampled_profile_shows_its_intervals(tmp_path):
    for label in range(60):
        for number in range(20 + label):
            put(tmp_path, f"photos/c{label:02d}/{number}.jpg", picture(16 + label, 12))
    done = tiering("profile", tmp_path / "photos", "--sample", "200", "-o", tmp_path / "profile.json")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert re.fullmatch(r"  images       [\d,]+ \([\d,]+ to [\d,]+\), .+ \(.+ to .+\) in all", lines["images"])
    assert "files in" in lines["sample"]
    assert "95 % intervals" in lines["sample"]
    assert "Class folders: one for each of 60 labels." in lines["layout"]
    assert "JPEG 100 % (" in lines["formats"]
    assert "RGB 100 %" in lines["colours"]
    assert "at most" in lines["damaged"]
    assert "of all)" in lines["duplicates"]
    assert "Note: Estimated from" in done.stderr
    profile = read_profile(tmp_path / "profile.json").dataset
    assert profile is not None
    assert profile.sampled
    estimate = profile.estimates["files"]
    assert estimate.low <= sum(20 + label for label in range(60)) <= estimate.high
    whole = tiering("profile", tmp_path / "photos", "--sample", "all")
    assert "images       2,970, " in whole.stdout
    assert whole.stderr == ""


def test_a_sample_that_is_none_is_a_usage_error():
    for word in ("some", "1", "-3", "0.5"):
        assert "auto, all, or a number" in fails(2, "UsageError", "profile", FIXTURES, f"--sample={word}")


def test_a_packed_store_is_profiled_and_samples_can_be_selected(packed):
    done = tiering("profile", packed)
    assert done.returncode == 0, done.stderr
    kind = "An LMDB" if "lmdb" in str(packed) else "A Zarr"
    assert f"layout       {kind} store of " in done.stdout
    few = json.loads(tiering("profile", packed, "--where", "label is not null and size > 2000", "--json").stdout)[
        "dataset"
    ]
    assert 0 < few["files"] < json.loads(tiering("profile", packed, "--json").stdout)["dataset"]["files"]
    assert few["size_quantiles"]["0"] > 2000
    looked = json.loads(tiering("profile", packed, "--sample", "9", "--probes", "5", "--json").stdout)["dataset"]
    assert looked["probed"] == 5
    assert "has its fields already" in fails(2, "UsageError", "profile", packed, "--field", "mask=masks/{stem}.png")
    assert "--columns" in fails(2, "UsageError", "profile", packed, "--columns", "image=x", "--where", "size > 1")


def test_a_table_is_profiled(tmp_path):
    put(tmp_path, "1.jpg")
    put(tmp_path, "photos.csv", b"path,label\n1.jpg,cat\n")
    done = tiering("profile", tmp_path / "photos.csv")
    assert "A manifest: photos.csv lists the files, with 1 label." in done.stdout


def test_an_inconclusive_verdict_is_not_called_sure(tmp_path):
    trace = tmp_path / "short.csv"
    rows = [f"{number / 100},read,data/{number}.jpg,0,1000000" for number in range(30)]
    trace.write_text("\n".join(["time,op,file,offset,size", *rows]) + "\n")
    said = tiering("profile", "--trace", trace).stdout
    assert re.search(r"verdict +inconclusive \(the likeliest is [a-z-]+, at \d+ %\)", said), said
