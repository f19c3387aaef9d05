"""Every reader of a foreign format, on one example each: cut anywhere, damaged, followed by garbage, and packed three ways.

The examples are real recordings where fixtures/traces holds one, and else the lines that the format's own
specification gives (those of test_formats, which says what each of them means).
"""

from __future__ import annotations

import gzip
import lzma
import random
import time
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trace.readers.test_formats import DOCUMENTED, TRACES
from tiering.errors import TieringError
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.readers import READERS, read_trace

RECORDED = {
    "strace": "sqlite_log.strace",
    "darshan": "vpic.darshan",
    "mqsim": "websearch.mqsim",
    "vscsi": "cloudphysics.vscsi",
    "fio": "fio-3.iolog",
}
#: All but the Parquet of `tiering trace`, which is not covered here.
TEXTS = [reader.name for reader in READERS if reader.name != "tiering"]
SECONDS = 20.0
#: A Darshan log is slow to open, so fewer copies of it are tried.
FEW, MANY = 2, 12


def _example(name: str) -> bytes:
    if name in RECORDED:
        data = (TRACES / RECORDED[name]).read_bytes()
        return data if name == "darshan" else data[: data.rfind(b"\n", 0, 20_000) + 1] if name != "vscsi" else data
    content = DOCUMENTED[name][0]
    return content if isinstance(content, bytes) else content.encode()


def _read(path: Path, data: bytes, *, lenient: bool) -> pl.DataFrame | None:
    """Give the events, or None where the trace is refused by name; anything else that is raised fails the test."""
    path.write_bytes(data)
    began = time.perf_counter()
    try:
        batches = list(read_trace(path, lenient=lenient).batches)
    except TieringError:
        return None
    finally:
        assert time.perf_counter() - began < SECONDS
    for batch in batches:
        assert dict(batch.schema) == dict(EVENT_SCHEMA)
        assert (batch["size"] >= 0).all()
    return pl.concat(batches) if batches else pl.DataFrame(schema=EVENT_SCHEMA)


@pytest.mark.parametrize("name", TEXTS)
def test_cut_anywhere_a_trace_is_read_or_refused(tmp_path, name):
    data = _example(name)
    whole = _read(tmp_path / "t", data, lenient=False)
    assert whole is not None
    assert len(whole) > 0
    for cut in range(1, len(data), max(1, len(data) // (FEW if name == "darshan" else MANY))):
        part = _read(tmp_path / "t", data[:cut], lenient=True)
        assert part is None or len(part) <= len(whole)


@pytest.mark.parametrize("name", TEXTS)
def test_flipped_bytes_are_read_or_refused(tmp_path, name):
    rng = random.Random(name)
    data = _example(name)
    for _ in range(FEW if name == "darshan" else MANY):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        for lenient in (False, True):
            _read(tmp_path / "t", bytes(damaged), lenient=lenient)


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=5, deadline=None)
@given(garbage=st.binary(max_size=2000))
def test_garbage_after_a_valid_head_is_read_or_refused(tmp_path_factory, name, garbage):
    path = tmp_path_factory.mktemp("garbage") / "t"
    for lenient in (False, True):
        _read(path, _example(name) + garbage, lenient=lenient)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.ZstdCompressor().compress])
@pytest.mark.parametrize("name", TEXTS)
def test_packed_it_gives_the_same_events(tmp_path, name, pack):
    data = _example(name)
    plain, packed = (_read(tmp_path / "t", each, lenient=False) for each in (data, pack(data)))
    assert plain is not None
    assert packed is not None
    assert plain.drop("file", "path").equals(packed.drop("file", "path"))
