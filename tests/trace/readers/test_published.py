"""Formats as they were published, or as exports have them: each line comes out as the event that it means."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

import polars as pl
import pytest

from tests.trace.readers.published import (
    AZURE,
    CLOUDTRAIL_LINES,
    EXT4SLOWER,
    GCS,
    MINIO_AUDIT,
    MINIO_JSON,
    MINIO_TEXT,
    MINIO_VERBOSE,
    NFSSLOWER,
    PERF,
    PROCMON,
    PUBLISHED,
)
from tiering.errors import TraceError
from tiering.trace.events import UNPLACED
from tiering.trace.profile import profile_trace
from tiering.trace.readers import Trace, read_trace
from tiering.workload.verdict import classify

TRACES = Path(__file__).parents[3] / "fixtures" / "traces"
SAMPLES = [(name, sample) for name, samples in PUBLISHED.items() for sample in samples]


def _written(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


def _read(path: Path, *, lenient: bool = False) -> tuple[Trace, pl.DataFrame]:
    trace = read_trace(path, lenient=lenient)
    return trace, pl.concat(trace.batches)


@pytest.mark.parametrize(("name", "sample"), SAMPLES, ids=[sample.source[:40] for _, sample in SAMPLES])
def test_a_published_sample_gives_the_events_that_its_lines_mean(tmp_path, name, sample):
    trace, events = _read(_written(tmp_path / "t", sample.content))
    assert trace.format == name
    assert trace.skipped_lines == 0
    kinds = events["op"].cast(pl.String)
    assert list(zip(kinds, events["path"], events["offset"], events["size"], strict=True)) == [
        row[1:5] for row in sample.rows
    ]
    assert events["time"].to_list() == pytest.approx([row[0] for row in sample.rows], abs=2e-6)
    assert [took is None for took in events["duration"]] == [row[5] is None for row in sample.rows]
    assert events["duration"].fill_null(0).to_list() == pytest.approx([row[5] or 0 for row in sample.rows], abs=2e-6)


@pytest.mark.parametrize("sample", [AZURE, CLOUDTRAIL_LINES, MINIO_TEXT])
def test_a_part_of_an_object_has_no_place_where_no_range_was_logged(tmp_path, sample):
    trace, events = _read(_written(tmp_path / "t", sample.content))
    parts = events.filter(pl.col("op") == "read", pl.col("offset").is_null())
    assert parts["flags"].to_list() == [UNPLACED]
    assert any("does not say which" in note for note in trace.notes)


def test_the_text_of_mc_says_that_its_sizes_are_rounded(tmp_path):
    trace, _ = _read(_written(tmp_path / "t", MINIO_TEXT.content))
    assert any("rounds sizes" in note for note in trace.notes)
    exact, _ = _read(_written(tmp_path / "t.json", MINIO_JSON.content))
    assert not any("rounds" in note for note in exact.notes)


def test_times_of_day_of_mc_pass_midnight(tmp_path):
    line = "{} [200 OK] s3.GetObject h:9000/b/k 192.0.2.1    9.789ms      ↑ 90 B ↓ 8.5 KiB\n"
    _, events = _read(_written(tmp_path / "t", line.format("23:59:59.000") + line.format("00:00:01.000")))
    assert events["time"].to_list() == [86399.0, 86401.0]


def test_operations_below_a_threshold_are_said_to_be_missing(tmp_path):
    slow, _ = _read(_written(tmp_path / "slow", NFSSLOWER.content))
    assert slow.gaps == ["operations quicker than the tool's threshold (10 ms) are missing; 0 records all of them"]
    every, _ = _read(_written(tmp_path / "all", EXT4SLOWER.content))
    assert every.gaps == []
    assert (slow.missing, every.missing) == (True, False)


def test_writes_above_a_threshold_are_no_ground_for_a_verdict(tmp_path):
    """The slow part of a run that reads from memory and writes to a disk is its writing."""
    lines = "".join(f"06:49:{at // 10:02} python  37  W 1048576 {at * 1024} 15.20 ckpt.pt\n" for at in range(300))
    for least, workload in (("", "write-heavy"), (" slower than 10 ms", "inconclusive")):
        path = _written(tmp_path / "t", f"Tracing ext4 operations{least}\n{lines}")
        assert classify(profile_trace(path)).workload == workload


def test_lost_events_of_perf_are_counted(tmp_path):
    trace, _ = _read(_written(tmp_path / "t", PERF.content))
    assert "perf lost 23 events" in trace.gaps
    assert trace.missing
    whole, _ = _read(_written(tmp_path / "whole", PERF.content.replace("LOST 23 events!\n", "")))
    assert not whole.missing


def test_files_that_perf_could_not_name_leave_open_what_was_read_again():
    trace, events = _read(TRACES / "cksum.perf.gz")
    reads = events.filter(pl.col("op") == "read", pl.col("size") > 0)
    assert reads["size"].is_in([3277, 2364, 2460]).sum() == 9  # three files, each read three times
    assert set(reads["flags"]) == {UNPLACED}
    assert any("looked them up later" in note for note in trace.notes)
    profile = profile_trace(TRACES / "cksum.perf.gz")
    assert profile.bytes_reread == 0
    assert profile.bytes_unplaced == profile.bytes_read


@pytest.mark.parametrize(
    "call",
    [
        "io_uring_enter(fd: 5, to_submit: 1, min_complete: 1, flags: GETEVENTS)",
        "io_uring_setup(entries: 8, params: 0x7ffd)",
        "io_submit(ctx_id: 0x7f, nr: 1, iocbpp: 0x7ffe)",
    ],
)
def test_transfers_that_perf_cannot_show_are_a_gap(tmp_path, call):
    lines = PERF.content.replace("LOST 23 events!\n", f"     0.410 ( 0.009 ms): cat/9079 {call}   = 1\n")
    trace, _ = _read(_written(tmp_path / "t", lines))
    assert trace.missing
    assert f"{call.partition('(')[0]} moves data that the trace does not show" in trace.gaps


def _s3(
    second: int, operation: str, key: str = "a.bin", status: int = 200, sent: object = "-", size: object = "-"
) -> str:
    return (
        f"owner photos [06/Feb/2019:00:00:{second:02} +0000] 192.0.2.3 arn ID {operation} {key} "
        f'"GET /photos/{key} HTTP/1.1" {status} - {sent} {size} 10 5 "-" "S3Console/0.4" -\n'
    )


@pytest.mark.parametrize("change", ["REST.POST.UPLOAD", "REST.COPY.OBJECT", "REST.DELETE.OBJECT", "S3.EXPIRE.OBJECT"])
def test_what_was_uploaded_in_parts_or_after_a_removal_is_not_read_again(tmp_path, change):
    lines = [_s3(1, "REST.GET.OBJECT", sent=1000, size=1000), _s3(2, "REST.PUT.PART", size=1000), _s3(3, change)]
    lines.append(_s3(4, "REST.GET.OBJECT", sent=1000, size=1000))
    assert profile_trace(_written(tmp_path / "t", "".join(lines))).bytes_reread == 0
    again = [*lines, _s3(5, "REST.GET.OBJECT", sent=1000, size=1000)]
    found = profile_trace(_written(tmp_path / "t", "".join(again)))
    assert (found.bytes_reread, found.bytes_written) == (1000, 1000)


def test_a_verbose_trace_of_mc_that_breaks_off_says_so_and_one_request_that_does_is_damage(tmp_path):
    content = MINIO_VERBOSE.content
    cut = content[: content.rindex("127.0.0.1:9001 404")]
    trace, events = _read(_written(tmp_path / "t", cut))
    assert (len(events), trace.gaps) == (2, ["its last request is cut short"])
    first = content.index("127.0.0.1:9001 [RESPONSE]")
    path = _written(tmp_path / "u", content[:first] + content[content.index("127.0.0.1:9001 [REQUEST s3.Put") :])
    with pytest.raises(TraceError, match=r"line 1: .*a request without an answer"):
        list(read_trace(path).batches)
    assert len(_read(path, lenient=True)[1]) == 1


@pytest.mark.parametrize("sample", [GCS, PROCMON])
@pytest.mark.parametrize("separator", [";", "\t"])
def test_csv_of_tools_is_read_with_the_separators_of_other_countries(tmp_path, sample, separator):
    _, plain = _read(_written(tmp_path / "plain", sample.content))
    rows = csv.reader(io.StringIO(sample.content.removeprefix("\ufeff"), newline=""))
    made = io.StringIO(newline="")
    csv.writer(made, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    assert _read(_written(tmp_path / "t", made.getvalue()))[1].equals(plain)


def test_paging_of_windows_is_left_out_and_said(tmp_path):
    trace, _ = _read(_written(tmp_path / "t", PROCMON.content))
    assert trace.notes == ["Paging I/O was left out (65.5 kB): it serves calls that are counted, or mappings of files."]


@pytest.mark.parametrize(
    "title",
    ["TIME(ms)     COMM             PID    LAT(ms)", "TIME(ms)     DISK ID        COMM             PID    LAT(ms)"],
)
def test_biosnoop_of_bpftrace_is_refused_by_name(tmp_path, title):
    path = _written(tmp_path / "t", f"Attaching 4 probes...\n{title}\n611          bash             4179        10\n")
    with pytest.raises(TraceError, match=r"bpftrace's biosnoop\.bt") as caught:
        list(read_trace(path).batches)
    assert "bcc's biosnoop" in caught.value.action


def test_documents_of_a_trail_may_stand_one_after_the_other(tmp_path):
    records = CLOUDTRAIL_LINES.content.splitlines()
    whole = "".join(f'{{"Records": [{record}]}}' for record in records)
    _, events = _read(_written(tmp_path / "joined", whole))
    assert len(events) == len(CLOUDTRAIL_LINES.rows)
    _, spread = _read(_written(tmp_path / "lines", "\n".join(f'{{"Records": [{record}]}}' for record in records)))
    assert spread.equals(events)


def test_many_documents_of_a_trail_joined_in_one_file_cost_no_more_each(tmp_path):
    """zcat *.json.gz of a day: where each document copied the rest of the text, this took minutes."""
    record, count = CLOUDTRAIL_LINES.content.splitlines()[0], 20_000
    path = _written(tmp_path / "joined", f'{{"Records": [{record}]}}\n' * count)
    began = time.process_time()
    assert len(_read(path)[1]) == count
    assert time.process_time() - began < 10


def test_documents_may_stand_side_by_side_in_an_array(tmp_path):
    _, events = _read(_written(tmp_path / "lines", MINIO_AUDIT.content))
    records = MINIO_AUDIT.content.splitlines()
    for name, text in (("array", f"[{', '.join(records)}]\n"), ("spread", "[\n  " + ",\n  ".join(records) + "\n]\n")):
        assert _read(_written(tmp_path / name, text))[1].equals(events)


def test_a_document_that_breaks_off_is_named_and_the_others_are_kept(tmp_path):
    content = MINIO_JSON.content
    cut = content[: content.index(' "api": "internal')] + content[content.index('{\n "type"') :]
    path = _written(tmp_path / "t", cut)
    with pytest.raises(TraceError, match=r"line 17: .* does not end"):
        list(read_trace(path).batches)
    trace, events = _read(path, lenient=True)
    assert (len(events), trace.skipped_lines) == (2, 1)


EXPORTED = {
    "bigquery": (
        """"timestamp","op","file","size"
"2025-06-15 00:00:00.500000 UTC","read","photos/a, b.jpg","100"
"2025-06-15 00:00:01 UTC","write","photos/c ""d"".jpg","200"
""",
        [(1749945600.5, "read", "photos/a, b.jpg", 100), (1749945601.0, "write", 'photos/c "d".jpg', 200)],
    ),
    "semicolons": ("time;op;file;size\r\n1;r;a;10\r\n2;w;b;20\r\n", [(1.0, "read", "a", 10), (2.0, "write", "b", 20)]),
    "tabs and a mark": ("\ufefftime\top\tfile\tsize\n1\tr\ta\t10\n", [(1.0, "read", "a", 10)]),
    "iso times": ("time,op,file,size\n2024-05-01T10:00:00Z,GET,a,10\n", [(1714557600.0, "read", "a", 10)]),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_tables_are_read_as_tools_export_them(tmp_path, name):
    content, expected = EXPORTED[name]
    trace, events = _read(_written(tmp_path / "t.csv", content))
    assert trace.format == "csv"
    assert list(events.select("time", pl.col("op").cast(pl.String), "path", "size").iter_rows()) == expected


def test_a_quote_that_does_not_end_costs_its_line_and_no_other(tmp_path):
    path = _written(tmp_path / "t.csv", 'time,op,file,size\n"1","r","a","10"\n"2","r","b,"20"\n"3","r","c","30"\n')
    with pytest.raises(TraceError, match="line 3"):
        list(read_trace(path).batches)
    trace, events = _read(path, lenient=True)
    assert events["path"].to_list() == ["a", "c"]
    assert trace.skipped_lines == 1


def test_lines_of_operations_that_move_no_data_are_counted_in_a_note(tmp_path):
    trace, events = _read(_written(tmp_path / "t.csv", "time,op,file,size\n1,r,a,10\n2,HEAD,a,0\n3,delete,a,0\n"))
    assert len(events) == 1
    assert any(note.startswith("2 lines") for note in trace.notes)
