"""Codecs of chunks: by name, readable by plain zarr, and harmless when damaged."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings

import google_crc32c
import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.errors import UsageError
from tiering.store.codecs import NAMES as CODECS
from tiering.store.codecs import Codec, parse_codec

BLOSC = [
    f"blosc-{compressor}{shuffle}"
    for compressor in ("lz4", "lz4hc", "zstd", "zlib", "blosclz")
    for shuffle in ("", "-noshuffle", "-shuffle", "-bitshuffle")
]
#: Each kind with its default, and the ends of its levels.
NAMES = [
    "none",
    *("lz4", "lz4:1", "lz4:50", "lz4:65537"),
    *("zstd", "zstd:1", "zstd:22"),
    *("gzip", "gzip:0", "gzip:1", "gzip:9"),
    *(f"{name}{level}" for name in BLOSC for level in ("", ":0", ":1", ":9")),
]

KINDS = ["lz4", "zstd", "gzip", *(name for name in BLOSC if name.endswith(("-noshuffle", "-bitshuffle")))]

names = st.one_of(
    st.sampled_from(NAMES),
    st.integers(1, 22).map("zstd:{}".format),
    st.integers(0, 9).map("gzip:{}".format),
    st.integers(1, 65537).map("lz4:{}".format),
    st.builds("{}:{}".format, st.sampled_from(BLOSC), st.integers(0, 9)),
)
chunks = st.one_of(
    st.binary(max_size=2000),
    st.builds(lambda some, times: some * times, st.binary(max_size=20), st.integers(0, 5000)),
)


@given(names, chunks)
@settings(max_examples=examples(500))
def test_every_codec_gives_back_what_it_was_given(name, chunk):
    codec = parse_codec(name)
    encoded = codec.encode(chunk)
    assert isinstance(encoded, bytes)
    assert bytes(codec.decode(encoded)) == chunk
    assert bytes(codec.decode(memoryview(encoded))) == chunk
    assert codec.encode(memoryview(chunk)) == encoded


@pytest.mark.parametrize("name", KINDS)
@given(chunk=chunks.filter(bool), other=st.integers(-3, 3).filter(bool))
@settings(max_examples=examples(20))
def test_a_chunk_is_decoded_into_memory_that_it_fills_and_into_no_other(name, chunk, other):
    codec = parse_codec(name)
    encoded = codec.encode(chunk)
    out = bytearray(len(chunk))
    codec.decode_into(encoded, memoryview(out))
    assert out == chunk
    wrong = bytearray(max(0, len(chunk) + other))
    with pytest.raises(ValueError, match=f"{len(chunk):,} bytes|cannot decode"):
        codec.decode_into(encoded, memoryview(wrong))


@pytest.mark.parametrize("name", KINDS)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=examples(60))
def test_damage_never_leaves_memory_as_it_was(name, at, bit):
    """Whatever the memory held before, a damaged chunk is refused or fills all of it."""
    codec, plain = parse_codec(name), _pixels(2048)
    damaged = bytearray(codec.encode(plain))
    damaged[int(at * len(damaged))] ^= 1 << bit
    found = []
    for before in (b"\x00", b"\xff"):
        out = bytearray(before * len(plain))
        try:
            codec.decode_into(bytes(damaged), memoryview(out))
            found.append(bytes(out))
        except ValueError:
            found.append(None)
    assert found[0] == found[1]


@given(names)
def test_the_name_of_a_codec_is_a_name_of_it(name):
    codec = parse_codec(name)
    assert parse_codec(codec.name) == codec == pickle.loads(pickle.dumps(codec))


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("zstd:3", "zstd"),
        ("zstd:03", "zstd"),
        ("gzip:5", "gzip"),
        ("lz4:1", "lz4"),
        ("blosc-lz4-bitshuffle:5", "blosc-lz4"),
        ("blosc-zstd-bitshuffle:9", "blosc-zstd:9"),
        ("blosc-zstd-noshuffle:5", "blosc-zstd-noshuffle"),
        ("none", "none"),
    ],
)
def test_two_names_of_one_codec_are_equal(long, short):
    assert parse_codec(long) == parse_codec(short) == Codec(short)
    assert len({parse_codec(long), parse_codec(short)}) == 1


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("zstf", "zstd"),
        ("zlib", "blosc-zlib"),
        ("blosc", "blosc-"),
        ("snappy", "zstd"),
        ("", "none"),
        ("auto", "none"),
        ("ZSTD", "zstd"),
        (" zstd", "zstd"),
        ("zstd\n", "zstd"),
        ("zstd:", "zstd"),
        ("zstd:0", "zstd:1"),
        ("zstd:23", "zstd:22"),
        ("zstd:-1", "zstd"),
        ("zstd:+3", "zstd"),
        ("zstd:3\n", "zstd"),
        ("zstd:\u0663", "zstd"),
        ("zstd:" + "9" * 5000, "zstd"),
        ("zstd:3:4", "zstd"),
        ("gzip:10", "gzip:9"),
        ("lz4:0", "lz4:1"),
        ("lz4:65538", "lz4:65537"),
        ("none:1", "none"),
        ("blosc-lz4:10", "blosc-lz4:9"),
        ("blosc-lz4-byteshuffle", "blosc-lz4-shuffle"),
        ("blosc-snappy", "blosc-"),
    ],
)
def test_another_name_is_a_short_error_that_tells_what_is_near(name, advice):
    with pytest.raises(UsageError) as told:
        parse_codec(name)
    assert told.value.action.startswith("Did you mean ")
    assert advice in told.value.action
    assert len(str(told.value)) < 250


def test_the_error_of_an_unknown_codec_names_the_known_ones_in_short():
    with pytest.raises(UsageError) as told:
        parse_codec("zst")
    known = f"{', '.join(CODECS[:-1])} and {CODECS[-1]}"
    assert str(told.value) == (
        f"codec 'zst': there is no such codec. Did you mean zstd? Codecs are {known}; a level may follow, as in zstd:3."
    )


def _pixels(count: int) -> bytes:
    return np.add.outer(np.arange(count // 64) // 3, np.arange(64) * 2).astype(np.uint8).tobytes()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification")
def test_zarr_reads_what_a_codec_has_written(name, tmp_path):
    codec, plain, other = parse_codec(name), _pixels(8192), bytes(range(256)) * 32
    one = {"shape": (8192,), "chunks": (8192,), "dtype": np.uint8, "filters": None, "fill_value": 0}
    array = zarr.create_array(tmp_path / "one", compressors=codec.compressors(), **one)
    array[:] = np.frombuffer(other, dtype=np.uint8)
    written = (tmp_path / "one" / "c" / "0").read_bytes()
    assert bytes(codec.decode(written)) == other
    (tmp_path / "one" / "c" / "0").write_bytes(codec.encode(plain))
    assert zarr.open_array(tmp_path / "one", mode="r")[:].tobytes() == plain

    many = one | {"shape": (32768,), "shards": (16384,)}
    zarr.create_array(tmp_path / "many", compressors=codec.compressors(), **many)
    stored = [codec.encode(plain), codec.encode(other)]
    table = np.array([(0, len(stored[0])), (len(stored[0]), len(stored[1]))], dtype="<u8").tobytes()
    shard = b"".join(stored) + table + google_crc32c.value(table).to_bytes(4, "little")
    (tmp_path / "many" / "c").mkdir()
    (tmp_path / "many" / "c" / "1").write_bytes(shard)
    read = zarr.open_array(tmp_path / "many", mode="r")
    assert read[16384:].tobytes() == plain + other
    assert not read[:16384].any()


def test_the_metadata_names_the_options(tmp_path):
    def described(name):
        array = zarr.create_array({}, shape=8, dtype="u1", compressors=parse_codec(name).compressors(), filters=None)
        return array.metadata.to_dict()["codecs"][1:]

    assert described("none") == ()
    assert described("zstd:7") == ({"name": "zstd", "configuration": {"level": 7, "checksum": False}},)
    assert described("gzip:2") == ({"name": "gzip", "configuration": {"level": 2}},)
    assert described("lz4:2") == ({"name": "numcodecs.lz4", "configuration": {"acceleration": 2}},)
    blosc = {"typesize": 1, "cname": "lz4hc", "clevel": 4, "shuffle": "bitshuffle", "blocksize": 0}
    assert described("blosc-lz4hc:4") == ({"name": "blosc", "configuration": blosc},)


def test_describing_any_codec_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in NAMES:
            parse_codec(name).compressors()


def test_gzip_stores_the_same_bytes_at_any_time():
    plain = _pixels(8192)
    ours, theirs = parse_codec("gzip").encode(plain), numcodecs.GZip(5).encode(plain)
    assert ours[4:8] == bytes(4)  # where the time would be
    assert ours[10:] == theirs[10:]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("damage", ["nothing", "a byte", "cut short", "too long", "text", "zeros"])
def test_what_is_no_chunk_is_a_value_error(name, damage):
    codec = parse_codec(name)
    good = codec.encode(_pixels(8192))
    bad = {
        "nothing": b"",
        "a byte": good[:1],
        "cut short": good[: len(good) // 2],
        "too long": good + b"more",
        "text": b"<html>404</html>" * 40,
        "zeros": bytes(500),
    }[damage]
    with pytest.raises(ValueError, match="cannot decode"):
        codec.decode(bad)


#: Damages a chunk in many ways and prints how often each outcome was seen; anything but a ValueError ends it.
#: Chunks lie in front of a page that may not be read, as those at the end of a mapped file do.
FUZZ = """
import ctypes, faulthandler, json, mmap, random, resource, struct, sys
import numpy as np
from tiering.store.codecs import parse_codec

faulthandler.enable()
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
pages = mmap.mmap(-1, 65536 + mmap.PAGESIZE)
address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
assert ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(address + 65536), mmap.PAGESIZE, 0) == 0

chance = random.Random(7)
noise = np.random.default_rng(7).normal(0, 2, 20000)
plain = (np.arange(20000) // 50 + noise).astype(np.uint8).tobytes()
seen = {}
for name in json.loads(sys.argv[1]):
    codec = parse_codec(name)
    good = codec.encode(plain)
    counts = dict.fromkeys(["refused", "same", "other", "length"], 0)
    for turn in range(int(sys.argv[2])):
        bad = bytearray(good)
        if turn % 5 == 0:
            at = chance.randrange(min(32, len(bad)))
            bad[at] ^= 1 << chance.randrange(8)
        elif turn % 5 == 1:
            at = chance.randrange(len(bad))
            bad[at] ^= 1 << chance.randrange(8)
        elif turn % 5 == 2:
            for _ in range(chance.randrange(1, 9)):
                bad[chance.randrange(len(bad))] = chance.randrange(256)
        elif turn % 5 == 3:
            at = chance.randrange(6) * 4
            extreme = chance.choice([0, 1, -1, 2**31 - 1, -2**31, 2**30, len(bad), len(bad) + 999, 19999, 20001])
            bad[at:at + 4] = struct.pack("<i", extreme)
        else:
            del bad[chance.randrange(len(bad)):]
        pages[65536 - len(bad):65536] = bad
        try:
            decoded = codec.decode(memoryview(pages)[65536 - len(bad):65536])
        except ValueError:
            counts["refused"] += 1
        else:
            kind = "same" if decoded == plain else "other" if len(decoded) == len(plain) else "length"
            counts[kind] += 1
    seen[name] = counts
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def fuzzed():
    command = [sys.executable, "-c", FUZZ, json.dumps(KINDS), "3000"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_damaged_chunks_end_no_process(fuzzed):
    assert set(fuzzed) == set(KINDS)
    assert all(counts["refused"] > 100 for counts in fuzzed.values())


def test_damaged_chunks_never_decode_into_another_length(fuzzed):
    assert {name: counts["length"] for name, counts in fuzzed.items() if counts["length"]} == {}


def test_only_gzip_finds_every_damage(fuzzed):
    assert [name for name, counts in fuzzed.items() if not counts["other"]] == ["gzip"]
