"""Every reader of a foreign format, on one example each: cut anywhere, damaged, followed by garbage, and packed three ways.

The examples are real recordings where fixtures/traces holds one, and else the lines that the format's own
specification gives (those of test_formats, which says what each of them means).
"""

from __future__ import annotations

import gzip
import io
import lzma
import random
import time
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.trace.readers.published import PUBLISHED
from tests.trace.readers.test_formats import DOCUMENTED, TRACES
from tiering.errors import TieringError
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.profile import profile_events
from tiering.trace.readers import READERS, read_trace

RECORDED = {
    "strace": "sqlite_log.strace",
    "darshan": "vpic.darshan",
    "mqsim": "websearch.mqsim",
    "vscsi": "cloudphysics.vscsi",
    "fio": "fio-3.iolog",
}
#: A hang, not a busy machine.
SECONDS = 120.0
#: Copies that are cut or damaged. A Darshan log takes a second or two to open, so the default run tries one of it.
ONE, SOME, MANY = 1, 4, 12
#: What makes parsers of numbers, text and nested documents stumble.
TOKENS = [
    b"99999999999999999999",
    b"18446744073709551615",
    b"9223372036854775807",
    b"-1",
    b"1e999",
    b"nan",
    b"0x",
    b"",
    b"\0",
    b"\r",
    b"\n",
    b'"',
    b'"\\ud800"',
    b"\\ud800",
    b"\xff",
    b"\xed\xa0\x80",
    b",,,,",
    b"%zz",
    b"null",
    b"{}",
    b'{"a":' * 3000,
    b"[" * 100_000,
]
PACKERS = [gzip.compress, lzma.compress, zstandard.ZstdCompressor().compress]
NAMES = [reader.name for reader in READERS]
QUICK = [name for name in NAMES if name != "darshan"]
#: Formats have several shapes; those that the default run leaves out.
VARIANTS = [f"{name}/{place}" for name, samples in PUBLISHED.items() for place in range(1, len(samples))] + [
    "cloudtrail/0"
]
SHAPES = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS)]
COPIES = [
    *((name, SOME) for name in QUICK),
    ("darshan", ONE),
    *(pytest.param(name, MANY, marks=pytest.mark.slow) for name in [*NAMES, *VARIANTS]),
]


def example(name: str) -> bytes:
    if name == "tiering":
        made = io.BytesIO()
        pl.concat(read_trace(TRACES / "sqlite_log.strace").batches).head(500).write_parquet(made)
        return made.getvalue()
    if name in RECORDED:
        data = (TRACES / RECORDED[name]).read_bytes()
        return data if name == "darshan" else data[: data.rfind(b"\n", 0, 20_000) + 1] if name != "vscsi" else data
    kind, _, place = name.partition("/")
    content = PUBLISHED[kind][int(place)].content if place else DOCUMENTED[name][0]
    return content if isinstance(content, bytes) else content.encode()


def _read(path: Path, data: bytes, *, lenient: bool) -> pl.DataFrame | None:
    """Give the events, or None where the trace is refused by name; anything else that is raised fails the test.

    What was read can be profiled, whatever it is.
    """
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
    profile_events(batches)
    return pl.concat(batches) if batches else pl.DataFrame(schema=EVENT_SCHEMA)


@pytest.mark.parametrize(("name", "copies"), COPIES)
def test_cut_anywhere_a_trace_is_read_or_refused(tmp_path, name, copies):
    data = example(name)
    whole = _read(tmp_path / "t", data, lenient=False)
    assert whole is not None
    assert len(whole) > 0
    for cut in range(max(1, len(data) // (2 * copies)), len(data), max(1, len(data) // copies)):
        part = _read(tmp_path / "t", data[:cut], lenient=True)
        assert part is None or len(part) <= len(whole)


@pytest.mark.parametrize(("name", "copies"), COPIES)
def test_flipped_bits_are_read_or_refused(tmp_path, name, copies):
    rng = random.Random(name)
    data = example(name)
    for _ in range(copies):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        for lenient in (False, True):
            _read(tmp_path / "t", bytes(damaged), lenient=lenient)


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=examples(20))
@given(at=st.lists(st.tuples(st.floats(0, 1), st.sampled_from(TOKENS), st.integers(0, 12)), min_size=1, max_size=5))
def test_words_that_make_parsers_stumble_are_read_or_refused(tmp_path_factory, name, at):
    data = example(name)
    for place, token, over in at:
        begin = int(place * len(data))
        data = data[:begin] + token + data[begin + over :]
    path = tmp_path_factory.mktemp("words") / "t"
    for lenient in (False, True):
        _read(path, data, lenient=lenient)


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=examples(5))
@given(garbage=st.binary(max_size=2000))
def test_garbage_after_a_valid_head_is_read_or_refused(tmp_path_factory, name, garbage):
    path = tmp_path_factory.mktemp("garbage") / "t"
    for lenient in (False, True):
        _read(path, example(name) + garbage, lenient=lenient)


@pytest.mark.slow
@settings(max_examples=examples(10))
@given(garbage=st.binary(max_size=2000), keep=st.floats(0.001, 1))
def test_garbage_within_a_darshan_log_is_read_or_refused(tmp_path_factory, garbage, keep):
    data = example("darshan")
    _read(tmp_path_factory.mktemp("garbage") / "t", data[: int(keep * len(data))] + garbage, lenient=False)


#: The default run packs each in one way, and a third of them in each. Parquet has its own compression.
PACKED = [
    pytest.param(name, pack, marks=[] if way == number % len(PACKERS) else pytest.mark.slow)
    for number, name in enumerate(name for name in QUICK if name != "tiering")
    for way, pack in enumerate(PACKERS)
]


@pytest.mark.parametrize(("name", "pack"), [*PACKED, ("darshan", gzip.compress)])
def test_packed_it_gives_the_same_events(tmp_path, name, pack):
    data = example(name)
    plain, packed = (_read(tmp_path / "t", each, lenient=False) for each in (data, pack(data)))
    assert plain is not None
    assert packed is not None
    assert plain.drop("file", "path").equals(packed.drop("file", "path"))


@pytest.mark.parametrize("pack", PACKERS)
def test_packed_in_parts_it_is_read_to_the_end_and_cut_it_is_refused(tmp_path, pack):
    data = example("msr")
    for parts, expected in (
        (pack(data) + pack(data), 4),
        (pack(data) + pack(data)[:-3], None),
        (pack(data)[:-1], None),
    ):
        events = _read(tmp_path / "t", parts, lenient=False)
        assert (None if events is None else len(events)) == expected
