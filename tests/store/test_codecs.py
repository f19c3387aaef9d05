"""Codecs of chunks: by name, readable by plain zarr, harmless when damaged, and chosen by what they cost."""

from __future__ import annotations

import json
import math
import multiprocessing
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
from PIL import Image, ImageDraw

from tiering.errors import UsageError
from tiering.store.codec_choice import CANDIDATES, choose_codec
from tiering.store.codecs import GRAMMAR, Codec, parse_codec

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
@settings(deadline=None, max_examples=500)
def test_every_codec_gives_back_what_it_was_given(name, chunk):
    codec = parse_codec(name)
    encoded = codec.encode(chunk)
    assert isinstance(encoded, bytes)
    assert bytes(codec.decode(encoded)) == chunk
    assert bytes(codec.decode(memoryview(encoded))) == chunk
    assert codec.encode(memoryview(chunk)) == encoded


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
def test_another_name_is_an_error_that_tells_the_grammar_and_what_is_near(name, advice):
    with pytest.raises(UsageError) as told:
        parse_codec(name)
    assert told.value.expected == GRAMMAR
    assert told.value.action.startswith("Did you mean ")
    assert advice in told.value.action


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


def _drawings(count: int, side: int = 96) -> list[bytes]:
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(count):
        image = Image.new("RGB", (side, side), "white")
        draw = ImageDraw.Draw(image)
        for _ in range(4):
            left, top = random.integers(0, side // 2, 2).tolist()
            draw.rectangle((left, top, left + 40, top + 30), fill=tuple(random.integers(0, 256, 3).tolist()))
        drawn.append(image.tobytes())
    return drawn


@pytest.fixture(scope="module")
def drawings():
    return _drawings(64)


@pytest.fixture(scope="module")
def jpegs(photos):
    return [path.read_bytes() for path in sorted(photos.rglob("*.jpg"))[:64]]


@pytest.mark.parametrize("chunk_bytes", [1 << 9, 1 << 12, 1 << 18, 1 << 24])
@pytest.mark.parametrize("bandwidth", [1e3, 1e9, 1e14])
@pytest.mark.parametrize("cores", [1, 1000])
def test_jpegs_are_never_encoded_again(jpegs, chunk_bytes, bandwidth, cores):
    assert choose_codec(jpegs, chunk_bytes, bandwidth=bandwidth, cores=cores).name == "none"


def test_noise_is_never_encoded():
    noise = [np.random.default_rng(seed).bytes(20000) for seed in range(20)]
    assert choose_codec(noise, 20000, bandwidth=1.0, cores=1000).name == "none"


def test_drawings_in_chunks_of_their_own_are_encoded_where_storage_is_slow(drawings):
    choice = choose_codec(drawings, len(drawings[0]), bandwidth=5e7)
    assert choice.name != "none"
    assert choice.read_amplification == 1
    by_name = {estimate.codec: estimate for estimate in choice.estimates}
    assert by_name[choice.name].ratio < 0.2
    assert by_name[choice.name].seconds < by_name["none"].seconds * 0.9


def test_drawings_are_not_encoded_where_storage_outruns_decoding(drawings):
    assert choose_codec(drawings, len(drawings[0]), bandwidth=1e12, cores=1).name == "none"


def test_drawings_are_not_encoded_where_a_chunk_holds_too_many(drawings):
    choice = choose_codec(drawings, 1 << 22, bandwidth=5e7, cores=1)
    assert choice.read_amplification > 100
    assert choice.name == "none"


def test_a_gain_within_ten_percent_is_left(drawings):
    """Of bytes that shrink by 8 %, for storage so slow that only bytes count; and of bytes that shrink by 15 %."""
    noise = np.random.default_rng(3)
    mixed = {
        share: [noise.bytes(int(2e4 * (1 - share))) + bytes(int(2e4 * share)) for _ in range(20)]
        for share in (0.08, 0.15)
    }
    assert choose_codec(mixed[0.08], 20000, bandwidth=1.0).name == "none"
    assert choose_codec(mixed[0.15], 20000, bandwidth=1.0).name == "zstd"


def test_a_choice_holds_while_the_machine_is_busy(drawings, jpegs):
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    busy = [context.Process(target=_burn, args=(stop,)) for _ in range(4)]
    for process in busy:
        process.start()
    try:
        drawn = {choose_codec(drawings, len(drawings[0]), bandwidth=5e7, cores=2).name for _ in range(5)}
        photographed = {choose_codec(jpegs, 1 << 14, bandwidth=5e7, cores=2).name for _ in range(5)}
    finally:
        stop.set()
        for process in busy:
            process.join()
    assert len(drawn) == 1
    assert drawn != {"none"}
    assert photographed == {"none"}


def _burn(stop):
    while not stop.is_set():
        sum(range(100_000))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=30).filter(any), st.integers(1, 400))
@settings(deadline=None, max_examples=30)
def test_the_estimates_follow_from_what_was_measured(sizes, chunk_bytes):
    choice = choose_codec([bytes(size) for size in sizes], chunk_bytes, bandwidth=2e8, cores=3)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    touched = len(set(zip((np.arange(sum(sizes)) // chunk_bytes).tolist(), owners.tolist(), strict=True)))
    assert choice.read_amplification == pytest.approx(touched * chunk_bytes / sum(sizes))
    assert tuple(estimate.codec for estimate in choice.estimates) == CANDIDATES
    none, *others = choice.estimates
    assert (none.ratio, none.decode_speed, none.seconds) == (1, math.inf, 1 / 2e8)
    for estimate in others:
        slower = max(estimate.ratio / 2e8, 1 / (estimate.decode_speed * 3))
        assert estimate.seconds == pytest.approx(choice.read_amplification * slower)


def test_nothing_to_measure_is_not_encoded():
    assert choose_codec([], 100).name == choose_codec([b"", b""], 100).name == "none"


@pytest.mark.parametrize("given", [{"chunk_bytes": 0}, {"bandwidth": 0.0}, {"bandwidth": -1.0}, {"cores": 0}])
def test_numbers_that_cannot_be_are_refused(given):
    with pytest.raises(ValueError, match="must be positive"):
        choose_codec([b"some"], **{"chunk_bytes": 4} | given)
