"""The choice of a codec: by what a shuffled epoch costs with it, measured on samples."""

from __future__ import annotations

import math
import multiprocessing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from tests.examples import examples
from tiering.store.codec_choice import CANDIDATES, choose_codec


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


def test_whether_a_codec_pays_is_the_same_on_a_busy_machine(drawings, jpegs):
    context = multiprocessing.get_context("forkserver")
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
    assert "none" not in drawn
    assert photographed == {"none"}


def _burn(stop):
    while not stop.is_set():
        sum(range(100_000))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=30).filter(any), st.integers(1, 400))
@settings(max_examples=examples(30))
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
