"""Recorded files of every format that fixtures/traces holds, down to their first and last event."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tiering.trace.parquet_writer import TraceWriter
from tiering.trace.readers import read_trace

TRACES = Path(__file__).parents[3] / "fixtures" / "traces"

#: Events, bytes read, bytes written, distinct paths; and the first and the last event as (time, op, path, offset, size,
#: pid).
GOLDEN = {
    "train_loop.strace.gz": (
        7065,
        14024574,
        10756,
        554,
        (1795445320.271899, "exec", "/usr/bin/python3.11", None, 0, 4896),
        (1795445324.334243, "write", "/dev/null", 80, 20, 4896),
    ),
    "sqlite_log.strace": (
        5176,
        1144225,
        6836916,
        75,
        (1795445324.379386, "exec", "/usr/bin/python3.11", None, 0, 4902),
        (1795445326.174891, "write", "/dev/null", 0, 10, 4902),
    ),
    "cksum.perf.gz": (
        304,
        48287,
        8269,
        32,
        (0.00233, "open", "/usr/lib/locale/C.utf8/LC_TIME", None, 0, 9865),
        (0.182373, "close", "<stderr>", None, 0, 9871),
    ),
    "fio-3.iolog": (
        12,
        0,
        40960,
        1,
        (0.010731, "open", "/dev/null", None, 0, 0),
        (0.010892, "close", "/dev/null", None, 0, 0),
    ),
    "websearch.mqsim": (
        400,
        5931008,
        0,
        4,
        (0.011413, "read", "volume 0", 336756736, 8192, 0),
        (1.07255, "read", "volume 0", 11404656640, 16384, 0),
    ),
    "cloudphysics.vscsi": (
        600,
        0,
        3544576,
        1,
        (5633898.368802, "write", None, 21981565440, 512, 0),
        (5634084.967722, "write", None, 18792435200, 1536, 0),
    ),
    "cm1-rank.pfw.gz": (
        5654,
        59244,
        15004943,
        636,
        (
            1727387307.989587,
            "open",
            "/usr/tce/backend/installations/linux-rhel8-x86_64/gcc-10.3.1/openmpi-4.1.2-66kpmbgreoruj2exhnizo3iwcd2boybx/etc/openmpi-mca-params.conf",
            None,
            0,
            3537781,
        ),
        (1727387453.278602, "stat", "/var/tmp/haridev/ompi.corona173.35619/jf.0", None, 0, 3537781),
    ),
    "dlio": (
        2616,
        29316392200,
        11420,
        45,
        (
            1744611914.282431,
            "stat",
            "/p/lustre3/izzet/dlio-benchmark-test/unet3d_v100_hdf5_168/data/train/img_056_of_168.hdf5",
            None,
            0,
            1028567,
        ),
        (
            1744611969.644336,
            "close",
            "/p/lustre3/izzet/dlio-benchmark-test/unet3d_v100_hdf5_168/checkpoint/global_epoch5_step6/model_states-0.pt",
            None,
            0,
            1028567,
        ),
    ),
    "vpic.darshan": (
        18654,
        0,
        2199023263277,
        3,
        (0.0, "open", "<STDOUT>", None, 0, 0),
        (116.283583, "write", "<STDOUT>", 233, 47, 0),
    ),
}


def _noted(events: pl.DataFrame, at: int) -> tuple:
    row = events.row(at, named=True)
    return (round(row["time"], 6), row["op"], row["path"], row["offset"], row["size"], row["pid"])


@pytest.mark.parametrize("name", GOLDEN)
def test_a_recorded_file_gives_the_events_that_it_gave(name):
    events = pl.concat(read_trace(TRACES / name).batches)
    read, written = (int(events.filter(pl.col("op") == op)["size"].sum()) for op in ("read", "write"))
    found = (len(events), read, written, events["path"].n_unique(), _noted(events, 0), _noted(events, -1))
    assert found == GOLDEN[name]


def test_a_trace_of_our_own_gives_back_what_was_written_into_it(tmp_path):
    events = pl.concat(read_trace(TRACES / "train_loop.strace.gz").batches)
    writer = TraceWriter(tmp_path)
    for batch in events.iter_slices(1000):
        writer.add(batch)
    writer.finish(tmp_path / "trace", ["a note"], gaps=[])
    trace = read_trace(tmp_path / "trace")
    assert pl.concat(trace.batches).equals(events)
    assert (trace.format, trace.notes, trace.complete) == ("tiering", ["a note"], True)
    assert (writer.bytes_read, writer.bytes_written) == GOLDEN["train_loop.strace.gz"][1:3]
