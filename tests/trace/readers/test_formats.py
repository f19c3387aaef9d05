"""Every format: real files and documented lines come out as the events that they say; damage is named, or counted."""

from __future__ import annotations

import gzip
import json
import lzma
import random
import struct
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.trace.readers.published import PUBLISHED
from tiering.errors import TieringError, TraceError, UsageError
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.profile import profile_trace
from tiering.trace.readers import READERS, read_trace

TRACES = Path(__file__).parents[3] / "fixtures" / "traces"

BLKPARSE = """\
  8,0    3        1     0.000000000   697  Q   W 223490 + 8 [kjournald]
  8,0    3        2     0.000001829   697  G   W 223490 + 8 [kjournald]
  8,0    3        3     0.000004090   697  D   W 223490 + 8 [kjournald]
  8,0    1        4     0.002000000   700  Q  RA 4096 + 256 [python]
  8,0    1        5     0.003000000   700  Q   D 8192 + 256 [fstrim]
  8,0    1        6     0.004000000   700  C  RA 4096 + 256 [0]
  8,0    1        7     0.005000000     0  UT   N [swapper] 1
CPU0 (8,0):
 Reads Queued:           1,      128KiB\t Writes Queued:           1,        4KiB
 Read depth:            31        \t Write depth:             2

Total (8,0):
 Reads Queued:           1,      128KiB\t Writes Queued:           1,        4KiB

Throughput (R/W): 7,313KiB/s / 24,201KiB/s
Events (8,0): 7 entries
Skips: 0 forward (0 -   0.0%)
"""
S3_LOG = (
    "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be amzn-s3-demo-bucket1 "
    "[06/Feb/2019:00:00:38 +0000] 192.0.2.3 79a59df900b949e5 3E57427F3EXAMPLE REST.GET.OBJECT images/cat%2B1.jpg "
    '"GET /amzn-s3-demo-bucket1/images/cat%2B1.jpg HTTP/1.1" 200 - 113 2048 7 5 "-" "S3Console/0.4" - s9lzHYrFp76= '
    "SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader bucket1.s3.us-west-1.amazonaws.com TLSV1.2 - -\n"
    "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be amzn-s3-demo-bucket1 "
    "[06/Feb/2019:00:01:38 +0000] 192.0.2.3 79a59df900b949e5 DD6CC733AEXAMPLE REST.PUT.OBJECT s3-dg.pdf "
    '"PUT /amzn-s3-demo-bucket1/s3-dg.pdf HTTP/1.1" 200 - - 4406583 41754 28 "-" "S3Console/0.4" - 10S62Zv81kBW7BB6SX4 '
    "SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader bucket1.s3.us-west-1.amazonaws.com TLSV1.2 - -\n"
    "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be amzn-s3-demo-bucket1 "
    "[06/Feb/2019:00:02:38 +0000] 192.0.2.3 - A1206F460EXAMPLE REST.GET.OBJECT gone.pdf "
    '"GET /amzn-s3-demo-bucket1/gone.pdf HTTP/1.1" 404 NoSuchKey 297 - 38 - "-" "S3Console/0.4" - BNaBsXZQQDbssi6xM - '
    "ECDHE-RSA-AES128-GCM-SHA256 - bucket1.s3.us-west-1.amazonaws.com TLSV1.2 - -\n"
)
CLOUDTRAIL = json.dumps(
    {
        "Records": [
            {
                "eventVersion": "1.08",
                "eventTime": "2024-05-01T10:00:00Z",
                "eventSource": "s3.amazonaws.com",
                "eventName": "GetObject",
                "sourceIPAddress": "192.0.2.1",
                "requestParameters": {"bucketName": "photos", "key": "a/b.jpg"},
                "additionalEventData": {"bytesTransferredIn": 0, "bytesTransferredOut": 4096},
            },
            {
                "eventTime": "2024-05-01T10:00:02Z",
                "eventName": "PutObject",
                "sourceIPAddress": "192.0.2.1",
                "requestParameters": {"bucketName": "photos", "key": "model.pt"},
                "additionalEventData": {"bytesTransferredIn": 1000},
            },
            {
                "eventTime": "2024-05-01T10:00:03Z",
                "eventName": "ListObjects",
                "requestParameters": {"bucketName": "photos"},
            },
            {
                "eventTime": "2024-05-01T10:00:04Z",
                "eventName": "GetObject",
                "errorCode": "AccessDenied",
                "requestParameters": {"bucketName": "photos", "key": "no"},
            },
        ]
    }
)
OLD_DFTRACER = (
    '[\n{"id":"0","name":"open","cat":"POSIX","pid":"7","tid":"7","ts":"1000","dur":"5","ph":"X",'
    '"args":{"hostname":"h","fname":"/d/a.npz","ret":"4","flags":"0"}}\n'
    '{"id":"1","name":"read","cat":"POSIX","pid":"7","tid":"7","ts":"1010","dur":"9","ph":"X",'
    '"args":{"hostname":"h","fname":"/d/a.npz","count":"100","ret":"100"}}\n'
    '{"id":"2","name":"lseek64","cat":"POSIX","pid":"7","tid":"7","ts":"1020","dur":"1","ph":"X",'
    '"args":{"fname":"/d/a.npz","ret":"500","whence":"0","offset":"500"}}\n'
    '{"id":"3","name":"read","cat":"POSIX","pid":"7","tid":"7","ts":"1030","dur":"9","ph":"X",'
    '"args":{"fname":"/d/a.npz","count":"100","ret":"60"}}\n'
    '{"id":"4","name":"close","cat":"POSIX","pid":"7","tid":"7","ts":"1040","dur":"1","ph":"X",'
    '"args":{"fname":"/d/a.npz","ret":"0"}}\n'
)
TEXT_HASH = (
    '[\n{"id":1,"name":"FH","cat":"dftracer","pid":7,"tid":7,"ph":"M","args":{"name":"/d/x","value":"9f3a"}}\n'
    '{"id":2,"name":"fopen","cat":"STDIO","pid":7,"tid":7,"ts":10,"dur":1,"ph":"X","args":{"fhash":"9f3a","mode":"w"}}\n'
    '{"id":3,"name":"fwrite","cat":"STDIO","pid":7,"tid":7,"ts":20,"dur":1,"ph":"X",'
    '"args":{"fhash":"9f3a","size":8,"count":4,"ret":4}}\n'
)


def _blktrace() -> bytes:
    """Make records as blktrace_api.h lays them out: a note with its text, then requests as they are queued and done."""

    def record(action, kind, time, sector=0, size=0, pdu=b""):
        number = kind << 16 | action
        head = struct.pack("<IIQQIIIIIHH", 0x65617407, 1, time, sector, size, number, 42, 8 << 20, 0, 0, len(pdu))
        return head + pdu

    read, write, discard, note = 1, 2, 1 << 13, 1 << 10
    return b"".join(
        (
            record(0, note, 0, pdu=b"python\0\0"),
            record(1, read, 1_000_000, 64, 4096),
            record(1, write, 2_000_000, 128, 8192),
            record(8, read, 3_000_000, 64, 4096),
            record(1, discard, 4_000_000, 0, 1 << 20),
            record(8, write, 5_000_000, 128, 8192),
        )
    )


def _oracle() -> bytes:
    rows = [(0, 11, 100, 2), (1, 12, 200, -1), (1, 11, 100, 3), (5, 11, 100, -1)]
    return b"".join(struct.pack("<IQIq", *row) for row in rows)


def _vscsi_2() -> bytes:
    rows = [(0x28, 0x0200, 1, 4096, 1, 8, 1_000_000, 50), (0x8A, 0x0200, 2, 512, 1, 16, 2_000_000, 70)]
    return b"".join(struct.pack("<HHIIIQQQ", *row) for row in rows)


#: format, what a file of it holds, and what its events are: (op, offset, size), with the last time less the first in s.
DOCUMENTED = {
    "msr": (
        "128166372003061629,usr,0,Read,7014609920,24576,41286\n128166372013061629,usr,0,Write,2517696512,4096,2000\n",
        [("read", 7014609920, 24576), ("write", 2517696512, 4096)],
        1.0,
    ),
    "alibaba": (
        "419,W,8792731648,16384,1577808000000046\n725,R,6344704000,4096,1577808000500046\n",
        [("write", 8792731648, 16384), ("read", 6344704000, 4096)],
        0.5,
    ),
    "tencent": (
        "1538323200,12910952,128,0,1063\n1538323202,6338688,8,1,1627\n",
        [("read", 12910952 * 512, 65536), ("write", 6338688 * 512, 4096)],
        2.0,
    ),
    "spc": (
        "0,303567,3584,w,0.000000\n1,55590,3072,w,0.000000\n1,55596,3072,r,0.078643\n",
        [("write", 303567 * 512, 3584), ("write", 55590 * 512, 3072), ("read", 55596 * 512, 3072)],
        0.078643,
    ),
    "disksim": (
        "0.000000 0 1024 8 1\n12.500000 0 2048 16 0\n",
        [("read", 1024 * 512, 4096), ("write", 2048 * 512, 8192)],
        0.0125,
    ),
    "blkparse": (BLKPARSE, [("write", 223490 * 512, 4096), ("read", 4096 * 512, 131072)], 0.002),
    "blktrace": (_blktrace(), [("read", 64 * 512, 4096), ("write", 128 * 512, 8192)], 0.001),
    "oracleGeneral": (_oracle(), [("access", 0, 100), ("access", 0, 200), ("access", 0, 100), ("access", 0, 100)], 5.0),
    "vscsi": (_vscsi_2(), [("read", 4096, 4096), ("write", 8192, 512)], 1.0),
    "s3-log": (S3_LOG, [("read", 0, 113), ("write", 0, 4406583)], 60.0),
    "cloudtrail": (CLOUDTRAIL, [("read", None, 4096), ("write", 0, 1000)], 2.0),
    "csv": (
        "# time, object, size, next_access_vtime\n1,12,4096,3\n2,13,512,-1\n4,12,4096,-1\n",
        [("access", 0, 4096), ("access", 0, 512), ("access", 0, 4096)],
        3.0,
    ),
    "block-csv": (
        "version,time,op,size,lbn\n1,7,2a,512,8\n1,8,28,1024,16\n1,9,8A,512,8\n",
        [("write", 4096, 512), ("read", 8192, 1024), ("write", 4096, 512)],
        2.0,
    ),
    "fio": (
        "fio version 2 iolog\n/d/f add\n/d/f open\n/d/f read 4096 8192\nfile wait 2000000\n/d/f write 0 512\n/d/f close\n",
        [("open", None, 0), ("read", 4096, 8192), ("write", 0, 512), ("close", None, 0)],
        2.0,
    ),
    "dftracer": (
        OLD_DFTRACER,
        [("open", None, 0), ("read", 0, 100), ("read", 500, 60), ("close", None, 0)],
        40e-6,
    ),
} | {
    name: (sample.content, [(row[1], *row[3:5]) for row in sample.rows], sample.rows[-1][0] - sample.rows[0][0])
    for name, (sample, *_) in PUBLISHED.items()
    if name != "cloudtrail"
}


def _write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_lines_mean_what_the_format_says(tmp_path, name):
    content, expected, seconds = DOCUMENTED[name]
    trace = read_trace(_write(tmp_path / "trace", content))
    events = pl.concat(list(trace.batches))
    assert trace.format == name
    assert dict(events.schema) == dict(EVENT_SCHEMA)
    assert list(events.select(pl.col("op").cast(pl.String), "offset", "size").iter_rows()) == expected
    assert events["time"][-1] - events["time"][0] == pytest.approx(seconds, abs=1e-6)


def test_waits_of_fio_add_up_over_blocks_of_text(tmp_path, monkeypatch):
    monkeypatch.setattr("tiering.trace.readers.tables._BLOCK", 4096)
    lines = ["fio version 2 iolog", "/d/f add", "/d/f open"]
    lines += [f"/d/f {what}" for place in range(1000) for what in (f"read {place * 4096} 4096", "wait 1000 0")]
    path = _write(tmp_path / "long.iolog", "\n".join(lines) + "\n")
    events = pl.concat(read_trace(path).batches)
    assert events["time"].is_sorted()
    assert events["time"][-1] == pytest.approx(0.999)
    assert profile_trace(path).duration == pytest.approx(0.999)


HEADERS = {
    "msr": "Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime",
    "alibaba": "device_id,opcode,offset,length,timestamp",
    "tencent": "Timestamp,Offset,Size,IOType,VolumeID",
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_published_tables_may_have_a_header(tmp_path, name, end):
    content, expected, _ = DOCUMENTED[name]
    plain = pl.concat(read_trace(_write(tmp_path / "plain", content)).batches)
    text = end.join([HEADERS[name], *content.splitlines(), HEADERS[name], ""])
    trace = read_trace(_write(tmp_path / "headed", text.encode("utf-8-sig")))
    assert pl.concat(trace.batches).equals(plain)
    assert (trace.format, trace.skipped_lines, len(plain)) == (name, 0, len(expected))


def test_messages_and_remarks_of_blkparse_are_no_events(tmp_path):
    remarks = "Input file sdb.blktrace.0 added\nTrace started at Sat Nov 28 12:00:00 2026\n"
    message = "  8,16   0        0     0.000000000     0  m   N cfq idle timer fired\n"
    content = remarks + message + BLKPARSE.replace("CPU0 (8,0)", f"{message}=== sdb ===\nCPU0 (sdb)")
    trace = read_trace(_write(tmp_path / "t", content))
    events = pl.concat(trace.batches)
    assert (trace.format, trace.skipped_lines) == ("blkparse", 0)
    assert events["size"].to_list() == [size for _, _, size in DOCUMENTED["blkparse"][1]]


def test_a_size_that_no_object_has_is_damage_in_an_access_log(tmp_path):
    path = _write(tmp_path / "log", S3_LOG.replace(" 113 2048 ", f" {10**20} 2048 "))
    with pytest.raises(TraceError, match="line 1"):
        list(read_trace(path).batches)


def test_every_format_has_a_documented_or_a_recorded_example():
    recorded = {"strace", "darshan", "mqsim", "tiering"}
    assert {reader.name for reader in READERS} == set(DOCUMENTED) | recorded


def test_names_by_hash_are_resolved_and_items_become_bytes(tmp_path):
    events = pl.concat(list(read_trace(_write(tmp_path / "a.pfw", TEXT_HASH)).batches))
    assert events["path"].unique().to_list() == ["/d/x"]
    assert events.filter(pl.col("op") == "write")["size"].to_list() == [32]
    assert events.filter(pl.col("op") == "open")["flags"].to_list() == ["w"]


@pytest.mark.parametrize(
    ("name", "format_", "level", "reads", "writes"),
    [
        ("fio-3.iolog", "fio", "file", 0, 40_960),
        ("websearch.mqsim", "mqsim", "block", 5_931_008, 0),
        ("cloudphysics.vscsi", "vscsi", "block", 0, 3_544_576),
        ("cm1-rank.pfw.gz", "dftracer", "file", None, None),
        ("dlio", "dftracer", "file", 29_316_392_200, 11_420),
        ("vpic.darshan", "darshan", "file", 0, 2_199_023_263_277),
    ],
)
def test_real_files_give_their_bytes(name, format_, level, reads, writes):
    trace = read_trace(TRACES / name)
    events = pl.concat(list(trace.batches))
    assert (trace.format, trace.level, trace.skipped_lines) == (format_, level, 0)
    assert events["time"].is_sorted()
    moved = {op: int(events.filter(pl.col("op") == op)["size"].sum()) for op in ("read", "write")}
    if reads is not None:
        assert moved == {"read": reads, "write": writes}
    else:
        assert moved["write"] > moved["read"] > 0


def test_two_ranks_of_a_training_job_show_its_five_epochs():
    profile = profile_trace(TRACES / "dlio")
    assert profile.processes == 2
    assert profile.epochs_found is not None
    assert profile.epochs_found.count == 5
    assert profile.epochs_found.period == pytest.approx(10.07, abs=0.1)
    assert profile.reread_share == pytest.approx(0.8, abs=1e-4)


def test_counters_say_that_they_tell_no_order():
    profile = profile_trace(TRACES / "vpic.darshan")
    assert any("no order" in note for note in profile.notes)
    assert profile.writes == 16_402
    assert profile.opens == 2_049


def test_files_of_the_same_format_in_a_directory_are_merged_by_time(tmp_path):
    _write(tmp_path / "a.csv", "0,1,512,r,1.0\n0,1,512,r,3.0\n")
    _write(tmp_path / "b.csv", "1,1,512,w,2.0\n1,1,512,w,4.0\n")
    _write(tmp_path / "readme.txt", "nothing of the kind\n")
    trace = read_trace(tmp_path)
    events = pl.concat(list(trace.batches))
    assert events["time"].to_list() == [1.0, 2.0, 3.0, 4.0]
    _write(tmp_path / "c.iolog", "fio version 2 iolog\n/d/f add\n")
    with pytest.raises(TraceError, match="several formats"):
        read_trace(tmp_path)


def test_a_table_may_have_scsi_operation_codes(tmp_path):
    path = _write(tmp_path / "t.csv", "version,time,op,size,lbn\n1,7,2a,512,8\n1,8,28,1024,8\n1,9,8A,512,16\n")
    trace = read_trace(path)
    events = pl.concat(list(trace.batches))
    assert trace.level == "block"  # sectors are those of a device
    assert list(events.select("time", pl.col("op").cast(pl.String), "offset", "size").iter_rows()) == [
        (7.0, "write", 4096, 512),
        (8.0, "read", 4096, 1024),
        (9.0, "write", 8192, 512),
    ]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.ZstdCompressor().compress])
def test_compressed_files_are_opened_as_they_are(tmp_path, pack):
    content, expected, _ = DOCUMENTED["msr"]
    trace = read_trace(_write(tmp_path / "trace", pack(content.encode())))
    assert sum(map(len, trace.batches)) == len(expected)
    broken = _write(tmp_path / "broken", pack(content.encode() * 1000)[:-8])
    with pytest.raises(TraceError):
        list(read_trace(broken).batches)


@pytest.mark.parametrize(
    "name", ["msr", "alibaba", "tencent", "spc", "disksim", "blkparse", "s3-log", "fio", "dftracer"]
)
def test_a_damaged_line_is_named_or_counted(tmp_path, name):
    content, expected, _ = DOCUMENTED[name]
    path = _write(tmp_path / "trace", content.encode() * 30 if name not in ("fio", "dftracer") else content)
    whole = sum(map(len, read_trace(path).batches))
    with path.open("ab") as file:
        file.write(b'{"id":9,"na\n' if name == "dftracer" else b"what is \xff this\n")
    lines = path.read_bytes().count(b"\n")
    with pytest.raises(TraceError, match=f"line {lines:,}"):
        list(read_trace(path).batches)
    trace = read_trace(path, lenient=True)
    assert sum(map(len, trace.batches)) == whole >= len(expected)
    assert trace.skipped_lines == 1


@pytest.mark.parametrize("name", ["vscsi", "blktrace", "oracleGeneral"])
def test_a_record_that_breaks_off_is_named(tmp_path, name):
    content, expected, _ = DOCUMENTED[name]
    path = _write(tmp_path / "trace", content + content[:7])
    with pytest.raises(TraceError, match=r"record \d"):
        list(read_trace(path).batches)
    trace = read_trace(path, lenient=True)
    assert sum(map(len, trace.batches)) == len(expected)
    assert trace.skipped_lines == 1


REPEATED = {
    "csv": ("id,ts,{},size,op", "0,1,7,10,R", "id"),
    "gcs": ("time_micros,cs_method,{},sc_bytes,cs_object", "1000000,GET,7,10,o", "sc_bytes"),
    "procmon": (
        "Time of Day,Operation,{},Path,Result,Detail",
        '1:00:00 AM,ReadFile,7,C:\\a,SUCCESS,"Offset: 0, Length: 10"',
        "path",
    ),
}


@pytest.mark.parametrize("kind", REPEATED)
def test_a_column_that_is_there_twice_is_refused_where_it_is_used(tmp_path, kind):
    header, row, name = REPEATED[kind]
    path = tmp_path / "table.csv"
    path.write_text(f"{header.format(name)}\n{row}\n")
    with pytest.raises(TraceError, match=rf"expected one column named {name}, found 2 of them\. .* `columns`"):
        list(read_trace(path).batches)
    for other in ("", "host"):
        path.write_text(f"{other},{header.format(other)}\n9,{row}\n")
        assert pl.concat(read_trace(path).batches)["size"].to_list() == [10]


def test_columns_can_be_given_by_name_or_number(tmp_path):
    path = _write(tmp_path / "t.csv", "when,kind,where,much\n1000,0,8,16\n2000,1,9,16\n")
    by_name = read_trace(path, columns="time=when*1e-3,op=kind:0/1,offset=where*512,size=much")
    events = pl.concat(list(by_name.batches))
    assert list(events.select("time", pl.col("op").cast(pl.String), "offset", "size").iter_rows()) == [
        (1.0, "read", 4096, 16),
        (2.0, "write", 4608, 16),
    ]
    by_number = read_trace(path, columns="time=0*1e-3,op=1:0/1,offset=2*512,size=3")
    assert pl.concat(list(by_number.batches)).equals(events)
    with pytest.raises(UsageError, match="a column of the table"):
        list(read_trace(path, columns="time=when,size=amount").batches)


@pytest.mark.parametrize("text", ["", "time=0", "time=0,size=1,colour=3", "time=0*x,size=1", "size"])
def test_a_mapping_that_makes_no_sense_is_refused(text):
    with pytest.raises(UsageError, match=r"^columns: "):
        read_trace(TRACES / "fio-3.iolog", columns=text)


def _samples() -> list[bytes]:
    recorded = [TRACES / "fio-3.iolog", TRACES / "websearch.mqsim"]
    documented = [content if isinstance(content, bytes) else content.encode() for content, _, _ in DOCUMENTED.values()]
    packed = [gzip.decompress((TRACES / "cm1-rank.pfw.gz").read_bytes())[:20_000]]
    return [*documented, *(path.read_bytes() for path in recorded), *packed, TEXT_HASH.encode()]


@settings(max_examples=examples(200))
@given(which=st.integers(0, 100), cut=st.floats(0, 1), flips=st.integers(0, 8), seed=st.integers(0, 2**32))
def test_damaged_copies_of_every_format_are_read_or_refused(tmp_path_factory, which, cut, flips, seed):
    rng = random.Random(seed)
    data = bytearray(_samples()[which % len(_samples())])
    del data[max(1, int(len(data) * cut)) :]
    for _ in range(flips):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path = _write(tmp_path_factory.mktemp("damaged") / "trace", bytes(data))
    for lenient in (False, True):
        try:
            for batch in read_trace(path, lenient=lenient).batches:
                assert dict(batch.schema) == dict(EVENT_SCHEMA)
                assert batch["size"].null_count() == 0
                assert (batch["size"] >= 0).all()
        except TieringError:
            pass
