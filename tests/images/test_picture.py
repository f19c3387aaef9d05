"""Pictures drawn into arrays: only the part that is needed, by the C extension and without it."""

from __future__ import annotations

import ctypes
import io
import mmap
import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image

from tests.examples import examples
from tests.trees import picture
from tiering.errors import DatasetError
from tiering.images.geometry import Geometry
from tiering.images.image import decode
from tiering.images.look import Look
from tiering.images.picture import NATIVE, open_picture, picture_of
from tiering.images.pixel_batch import draw_batch

PHOTO = load_sample_image("china.jpg")  # 427 x 640
WAYS = [pytest.param(True, id="native"), pytest.param(False, id="fallback")]
PLAIN = Look()
LOOKS = [PLAIN, Look(antialias=False), Look("nearest"), Look("bicubic"), Look("bicubic", antialias=False)]
#: Pillow's names of subsamplings, and the one that it writes only by its factors.
SAMPLINGS = ["4:4:4", "4:2:2", "4:2:0", "4:1:1"]


def jpeg(pixels: np.ndarray = PHOTO, orientation: int = 1, **options) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(file, "JPEG", exif=exif, **{"quality": 90, **options})
    return file.getvalue()


def drawn(data: bytes | np.ndarray, geometry: Geometry, shape: tuple[int, int], look: Look = PLAIN, *,
          native: bool = NATIVE, dtype: str = "uint8", channels: int = 3) -> np.ndarray:  # fmt: skip
    opened = picture_of(data, native=native) if isinstance(data, np.ndarray) else open_picture(data, native=native)
    out = np.full((*shape, channels), 77, dtype)
    opened.draw([(geometry, out)], look)
    return out


def by_pillow(pixels: np.ndarray, geometry: Geometry, shape: tuple[int, int]) -> np.ndarray:
    """Crop, resize and take the window, step by step as torchvision does."""
    left, top, width, height = geometry.region
    image = Image.fromarray(pixels).crop((left, top, left + width, top + height))
    resized = image.resize(geometry.size, Image.Resampling.BILINEAR)
    x, y = geometry.corner
    return np.asarray(resized.crop((x, y, x + shape[1], y + shape[0])))


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one.astype(float) - other.astype(float))


def assert_alike(found: np.ndarray, wanted: np.ndarray) -> None:
    """The bar: 0.5 levels on average, and 99.9 % of the values within 3."""
    away = difference(found, wanted)
    assert away.mean() < 0.5
    assert (away > 3).mean() <= 0.001


@st.composite
def geometries(draw, width: int, height: int, longest: int = 90) -> tuple[Geometry, tuple[int, int]]:
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    region = left, top, draw(st.integers(1, width - left)), draw(st.integers(1, height - top))
    size = region[2:] if draw(st.booleans()) else draw(st.tuples(*[st.integers(1, longest)] * 2))
    corner = draw(st.tuples(*[st.integers(-20, longest)] * 2))
    shape = draw(st.tuples(*[st.integers(1, longest)] * 2))
    return Geometry(region, size, corner), shape


@settings(max_examples=examples(150))
@given(
    data=st.data(),
    sampling=st.sampled_from(SAMPLINGS),
    progressive=st.booleans(),
    restart=st.sampled_from([0, 3]),
    orientation=st.integers(1, 8),
    look=st.sampled_from(LOOKS),
    sides=st.tuples(st.integers(1, 100), st.integers(1, 100)),
)
def test_native_and_fallback_draw_the_same(data, sampling, progressive, restart, orientation, look, sides):
    photo = PHOTO[100 : 100 + sides[0], 200 : 200 + sides[1]]
    options = {"subsampling": sampling, "progressive": progressive, "restart_marker_blocks": restart}
    encoded = jpeg(photo, orientation, **options)
    seen = open_picture(encoded)
    assert (seen.height, seen.width) == decode(encoded).shape[:2]
    geometry, shape = data.draw(geometries(seen.width, seen.height))
    one, other = (drawn(encoded, geometry, shape, look, native=native) for native in (NATIVE, False))
    if geometry.region[2:] == geometry.size:
        assert np.array_equal(one, other)
    else:
        # Pillow rounds and clips between its two passes, which shows where bicubic weights overshoot.
        assert difference(one, other).max() <= (24 if look.interpolation == "bicubic" else 2)


@pytest.mark.parametrize("native", WAYS)
@settings(max_examples=examples(100))
@given(data=st.data(), sampling=st.sampled_from(SAMPLINGS))
def test_a_part_of_a_jpeg_is_what_pillow_crops_and_resizes(native, data, sampling):
    encoded = jpeg(subsampling=sampling)
    left, top = data.draw(st.integers(0, 600)), data.draw(st.integers(0, 400))
    region = left, top, data.draw(st.integers(16, max(16, 640 - left))), data.draw(st.integers(16, 400))
    region = (left, top, min(region[2], 640 - left), min(region[3], 427 - top))
    geometry = Geometry(region, data.draw(st.tuples(*[st.integers(64, 256)] * 2)))
    assert_alike(drawn(encoded, geometry, (64, 64), native=native), by_pillow(decode(encoded), geometry, (64, 64)))


@pytest.mark.parametrize("native", WAYS)
@settings(max_examples=examples(100))
@given(data=st.data(), sampling=st.sampled_from(SAMPLINGS), progressive=st.booleans())
@example(data=None, sampling="4:2:0", progressive=False)
def test_an_unscaled_part_equals_the_decoded_pixels(native, data, sampling, progressive):
    encoded = jpeg(subsampling=sampling, progressive=progressive)
    left, top = (17, 33) if data is None else (data.draw(st.integers(0, 630)), data.draw(st.integers(0, 420)))
    width, height = (5, 3) if data is None else (
        data.draw(st.integers(1, 640 - left)), data.draw(st.integers(1, 427 - top))
    )  # fmt: skip
    found = drawn(encoded, Geometry((left, top, width, height), (width, height)), (height, width), native=native)
    assert np.array_equal(found, decode(encoded)[top : top + height, left : left + width])


@pytest.mark.parametrize("native", WAYS)
@settings(max_examples=examples(60))
@given(data=st.data(), orientation=st.integers(1, 8))
def test_a_part_is_chosen_in_the_upright_picture(native, data, orientation):
    encoded = jpeg(PHOTO[:120, :200], orientation)
    upright = decode(encoded)
    geometry, shape = data.draw(geometries(upright.shape[1], upright.shape[0]))
    found = drawn(encoded, geometry, shape, native=native)
    assert difference(found, drawn(upright, geometry, shape, native=native)).max() <= 1


@pytest.mark.parametrize("native", WAYS)
@settings(max_examples=examples(100))
@given(data=st.data(), look=st.sampled_from(LOOKS), channels=st.sampled_from([1, 2, 3, 4, 5]))
def test_strides_only_place_the_pixels(native, data, look, channels):
    pixels = np.random.default_rng(channels).integers(0, 256, (40, 60, channels), np.uint8)
    geometry, (height, width) = data.draw(geometries(60, 40, 30))
    wanted = drawn(pixels, geometry, (height, width), look, native=native, channels=channels)
    planes = np.zeros((channels, height, width), np.uint8)
    mirrored, turned = np.zeros_like(wanted), np.zeros((width, height, channels), np.uint8)
    apart = np.full((2 * height, 3 * width, channels + 1), 7, np.uint8)
    parts = [
        (geometry, planes.transpose(1, 2, 0)),
        (geometry, mirrored[::-1, ::-1]),
        (geometry, turned.swapaxes(0, 1)),
        (geometry, apart[::2, 1::3, :channels]),
    ]
    picture_of(pixels, native=native).draw(parts, look)
    assert np.array_equal(planes.transpose(1, 2, 0), wanted)
    assert np.array_equal(turned.swapaxes(0, 1), wanted)
    assert np.array_equal(apart[::2, 1::3, :channels], wanted)
    assert (apart[1::2] == 7).all()
    assert (apart[:, :, channels] == 7).all()
    assert np.array_equal(mirrored[::-1, ::-1], wanted)


@pytest.mark.parametrize("native", WAYS)
def test_a_window_beyond_the_region_is_black_there(native):
    geometry = Geometry((10, 10, 20, 20), (20, 20), (-4, -6))
    found = drawn(PHOTO, geometry, (32, 32), native=native)
    padded = np.zeros((32, 32, 3), np.uint8)
    padded[6:26, 4:24] = PHOTO[10:30, 10:30]
    assert np.array_equal(found, padded)
    for corner in ((40, 0), (0, 40), (-50, 0), (0, -50), (20, 20)):
        assert not drawn(jpeg(), Geometry((0, 0, 20, 20), (20, 20), corner), (16, 16), native=native).any()


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_float_outputs_hold_the_normalised_levels(native, dtype):
    look = Look(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    geometry = Geometry((100, 50, 300, 200), (64, 64), (-3, 0))
    levels = drawn(jpeg(), geometry, (64, 64), native=native)
    # As torchvision does it, in the same precision.
    wanted = levels.astype(np.float32) * np.float32(1 / 255)
    wanted = (wanted - np.float32(look.mean)) / np.float32(look.std)
    found = drawn(jpeg(), geometry, (64, 64), look, native=native, dtype=dtype)
    assert found.dtype == dtype
    assert np.array_equal(found, wanted.astype(dtype))
    scaled = drawn(jpeg(), geometry, (64, 64), native=native, dtype="float32")
    assert np.array_equal(scaled, levels * np.float32(1 / 255))


@pytest.mark.parametrize("native", WAYS)
def test_pixels_of_sixteen_bits_and_floats_keep_their_precision(native):
    deep = np.random.default_rng(0).integers(0, 1 << 16, (50, 60, 2), np.uint16)
    geometry = Geometry((5, 5, 40, 40), (40, 40), (-1, 0))
    wanted = np.zeros((40, 40, 2), np.uint16)
    wanted[:, 1:] = deep[5:45, 5:44]
    found = drawn(deep, geometry, (40, 40), native=native, dtype="float32", channels=2)
    assert np.array_equal(found, wanted.astype(np.float32) * np.float32(1 / 65_535))
    assert np.array_equal(drawn(deep, geometry, (40, 40), native=native, channels=2), wanted >> 8)
    numbers = (deep - 30_000.0).astype(np.float32)
    wanted = np.zeros((40, 40, 2), np.float32)
    wanted[:, 1:] = numbers[5:45, 5:44]
    found = drawn(
        numbers, geometry, (40, 40), Look(mean=(1.0,), std=(2.0,)), native=native, dtype="float32", channels=2
    )
    assert np.array_equal(found, (wanted - np.float32(1)) / np.float32(2))
    shrunk = drawn(numbers, Geometry((0, 0, 60, 50), (6, 5)), (5, 6), native=native, dtype="float32", channels=2)
    assert abs(shrunk.mean() - numbers.mean()) < 700
    with pytest.raises(ValueError, match="float output"):
        drawn(numbers, geometry, (40, 40), native=native, channels=2)


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("PNG", "1"), ("PNG", "L"), ("PNG", "LA"), ("PNG", "I;16"), ("PNG", "P"), ("PNG", "RGB"), ("PNG", "RGBA"),
        ("JPEG", "L"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("TIFF", "CMYK"), ("WEBP", "RGB"),
    ],
)  # fmt: skip
def test_all_formats_give_the_colours_of_decode(native, kind, mode):
    encoded = picture(40, 30, kind, mode)
    found = drawn(encoded, Geometry((3, 5, 30, 20), (30, 20)), (20, 30), native=native)
    assert np.array_equal(found, decode(encoded)[5:25, 3:33])
    opened = open_picture(encoded, native=native)
    grey = mode in ("1", "L", "LA", "I;16")
    assert opened.channels == (1 if grey else 3)
    if grey:
        one = drawn(encoded, Geometry((3, 5, 30, 20), (30, 20)), (20, 30), native=native, channels=1)
        assert np.array_equal(one, found[:, :, :1])


@pytest.mark.parametrize("native", WAYS)
def test_many_parts_of_one_picture_are_drawn_in_one_call(native):
    shapes, rng = [(96, 96), (224, 224), (64, 32), (8, 8)], np.random.default_rng(1)
    parts = []
    for shape in shapes:
        left, top = int(rng.integers(0, 300)), int(rng.integers(0, 200))
        parts.append((Geometry((left, top, 200, 180), (shape[1], shape[0])), np.zeros((*shape, 3), np.uint8)))
    open_picture(jpeg(), native=native).draw(parts, Look())
    for geometry, out in parts:
        assert_alike(out, by_pillow(decode(jpeg()), geometry, out.shape[:2]))


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_large_photograph_is_decoded_at_a_fraction_of_its_size(native, sampling):
    large = np.asarray(Image.fromarray(PHOTO).resize((2560, 1708), Image.Resampling.BICUBIC))
    encoded = jpeg(large, subsampling=sampling)
    decoded = decode(encoded)
    for geometry in (
        Geometry((0, 0, 2560, 1708), (336, 224), (56, 0)),
        Geometry((401, 203, 1231, 999), (224, 224)),
        Geometry((0, 0, 2560, 1708), (64, 64)),
    ):
        assert_alike(drawn(encoded, geometry, (64, 64), native=native), by_pillow(decoded, geometry, (64, 64)))
    # Without antialias each output is made of its nearest pixels, so nothing may be decoded smaller.
    geometry = Geometry((0, 0, 2560, 1708), (64, 64))
    exact = drawn(decoded, geometry, (64, 64), Look(antialias=False), native=False)
    assert difference(drawn(encoded, geometry, (64, 64), Look(antialias=False), native=native), exact).max() <= 1


@pytest.mark.parametrize("native", WAYS)
def test_a_damaged_jpeg_is_an_error_and_no_grey_picture(native):
    encoded = jpeg()
    geometry = Geometry((0, 0, 640, 427), (64, 64))
    for data in (encoded[:-2000], encoded[: len(encoded) // 2], encoded[:700]):
        with pytest.raises(DatasetError, match=r"photo\.jpg: .*truncated"):
            open_picture(data, "photo.jpg", native=native).draw([(geometry, np.zeros((64, 64, 3), np.uint8))], Look())


def outcome(data: bytes, geometry: Geometry, *, native: bool) -> np.ndarray | None:
    out = np.zeros((32, 32, 3), np.uint8)
    try:
        opened = open_picture(data, native=native)
        if (opened.width, opened.height) != (96, 80):
            return None
        opened.draw([(geometry, out)], Look())
    except DatasetError:
        return None
    return out


@settings(max_examples=examples(400))
@given(
    data=st.data(), sampling=st.sampled_from(SAMPLINGS), progressive=st.booleans(), flips=st.integers(1, 12),
    cut=st.integers(0, 400),
)  # fmt: skip
def test_hostile_bytes_are_an_error_or_what_pillow_makes_of_them(data, sampling, progressive, flips, cut):
    encoded = bytearray(jpeg(PHOTO[:80, :96], subsampling=sampling, progressive=progressive))
    for _ in range(flips):
        encoded[data.draw(st.integers(2, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    if cut:
        del encoded[-cut:]
    whole = Geometry((0, 0, 96, 80), (32, 32))
    one, other = (outcome(bytes(encoded), whole, native=native) for native in (NATIVE, False))
    assert (one is None) == (other is None)
    if one is not None:
        # Damage makes neighbours black and white, where weights of 256ths and two roundings show.
        assert difference(one, other).max() <= 2
    outcome(bytes(encoded), Geometry((30, 20, 33, 31), (32, 32)), native=NATIVE)


@pytest.mark.parametrize("native", WAYS)
def test_threads_share_pictures_and_batches(native):
    encoded, batch = jpeg(), np.zeros((16, 3, 64, 64), np.uint8)
    geometries = [Geometry((10 * n, 5 * n, 200, 200), (64, 64)) for n in range(16)]
    opened = open_picture(encoded, native=native)

    def run(part: range) -> None:
        for n in part:
            opened.draw([(geometries[n], batch[n].transpose(1, 2, 0))], Look())

    threads = [threading.Thread(target=run, args=(range(*each),)) for each in pairwise(range(0, 17, 4))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, geometry in enumerate(geometries):
        assert np.array_equal(batch[n].transpose(1, 2, 0), drawn(encoded, geometry, (64, 64), native=native))


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize(
    "view",
    [
        lambda pixels: pixels[:, ::-1], lambda pixels: pixels[::-2], lambda pixels: pixels.swapaxes(0, 1),
        lambda pixels: pixels[:, :1, 1:2], lambda pixels: pixels[:1, :1], lambda pixels: pixels[:, :, ::-1],
        lambda pixels: np.broadcast_to(pixels[0], pixels.shape),
    ],
)  # fmt: skip
def test_pixels_may_be_any_view(native, view):
    pixels = view(PHOTO)
    height, width = min(30, pixels.shape[0]), min(30, pixels.shape[1])
    found = drawn(pixels, Geometry((0, 0, width, height), (width, height)), (height, width), native=native)
    assert np.array_equal(found, np.broadcast_to(pixels[:height, :width], (height, width, 3)))


@pytest.mark.parametrize("native", WAYS)
@settings(max_examples=examples(60))
@given(data=st.data(), level=st.integers(0, 255), channels=st.sampled_from([1, 2, 3, 4, 5]), antialias=st.booleans())
def test_a_picture_of_one_level_keeps_it_at_every_size(native, data, level, channels, antialias):
    pixels = np.full((40, 60, channels), level, np.uint8)
    region, size = data.draw(geometries(60, 40, 130))[0].region, data.draw(st.tuples(*[st.integers(1, 130)] * 2))
    look = Look(antialias=antialias)
    found = drawn(pixels, Geometry(region, size), size[::-1], look, native=native, channels=channels)
    assert (found == level).all()


def test_nothing_behind_the_last_pixel_is_read():
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    start = np.frombuffer(memory, np.uint8).ctypes.data
    # A read of the second page ends the process from here on.
    assert ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 0) == 0
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width, channels = rng.integers(1, 20), rng.integers(1, 50), rng.integers(1, 5)
        count = height * width * channels
        pixels = np.frombuffer(memory, np.uint8, count, page - count).reshape(height, width, channels)
        left, top = rng.integers(0, width), rng.integers(0, height)
        region = int(left), int(top), int(rng.integers(1, width - left + 1)), int(rng.integers(1, height - top + 1))
        size = tuple(rng.integers(1, 60, 2).tolist())
        assert not drawn(pixels, Geometry(region, size), size[::-1], channels=int(channels)).any()


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_encoded_bytes_may_be_a_view(native, kind):
    geometry = Geometry((30, 20, 100, 90), (50, 40))
    wanted = drawn(jpeg(), geometry, (40, 50), native=native)
    assert np.array_equal(drawn(kind(jpeg()), geometry, (40, 50), native=native), wanted)


@pytest.mark.parametrize("native", WAYS)
def test_what_does_not_fit_is_refused(native):
    opened, out = open_picture(jpeg(), native=native), np.zeros((8, 8, 3), np.uint8)

    def refused(match: str, region=(0, 0, 8, 8), size=(8, 8), to=out, look=PLAIN) -> None:
        with pytest.raises(ValueError, match=match):
            opened.draw([(Geometry(region, size), to)], look)

    refused("region: expected one inside 640 x 427", region=(633, 0, 8, 8))
    refused("region:", region=(-1, 0, 8, 8))
    refused("region:", region=(0, 0, 0, 8))
    refused("size:", size=(0, 8))
    refused("out: expected 3 channels, found 1", to=out[:, :, :1])
    refused("dtype: expected one of uint8", to=out.astype(np.int32))
    refused("mean and std: expected a float output", look=Look(mean=(0.5,)))
    refused("std: expected 3 numbers", to=out.astype(np.float32), look=Look(std=(0.5, 0.5)))
    assert not out.any()


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@settings(max_examples=examples(40))
@given(
    data=st.data(), look=st.sampled_from(LOOKS), planes=st.booleans(), listed=st.booleans(), n=st.integers(0, 4)
)  # fmt: skip
def test_a_batch_is_drawn_like_its_pictures(native, dtype, data, look, planes, listed, n):
    pixels = np.random.default_rng(n).integers(0, 256, (n, 20, 30, 3)).astype(dtype)
    mirrored = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    shape = data.draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    chosen = [data.draw(geometries(30, 20, 30))[0] for _ in range(n)]
    rows = np.array([(*one.region, *one.size, *one.corner) for one in chosen], np.int32).reshape(n, 8)
    out = (
        np.full((n, 3, *shape), 7, "float32").transpose(0, 2, 3, 1)
        if planes
        else np.full((n, *shape, 3), 7.0, "float32")
    )
    draw_batch(list(pixels) if listed else pixels, rows, mirrored, out, look, native=native)
    for picture_, geometry, mirror, found in zip(pixels, chosen, mirrored, out, strict=True):
        wanted = np.zeros((*shape, 3), "float32")
        picture_of(picture_, native=native).draw([(geometry, wanted[:, ::-1] if mirror else wanted)], look)
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("native", WAYS)
def test_pad_and_crop_as_for_cifar(native):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), np.uint8)
    corners = np.random.default_rng(1).integers(-4, 5, (50, 2))
    rows = np.concatenate([np.tile([0, 0, 32, 32, 32, 32], (50, 1)), corners], axis=1).astype(np.int32)
    mirrored = np.arange(50) % 2 == 0
    out = np.full((50, 3, 32, 32), 7, np.uint8)
    draw_batch(pixels, rows, mirrored, out.transpose(0, 2, 3, 1), PLAIN, native=native)
    padded = np.pad(pixels, ((0, 0), (4, 4), (4, 4), (0, 0)))
    for n, (x, y) in enumerate(corners):
        wanted = padded[n, 4 + y : 36 + y, 4 + x : 36 + x]
        assert np.array_equal(out[n].transpose(1, 2, 0), wanted[:, ::-1] if mirrored[n] else wanted)
    for wrong in (rows[:49], rows - 1, rows * 0):
        with pytest.raises(ValueError, match="geometries: expected"):
            draw_batch(pixels, wrong, mirrored, out.transpose(0, 2, 3, 1), PLAIN, native=native)
    others = [*pixels[1:], pixels[0, :30]]
    with pytest.raises(ValueError, match="pixels: expected pictures of one shape"):
        draw_batch(others, rows, mirrored, out.transpose(0, 2, 3, 1), PLAIN, native=native)


def test_a_header_that_claims_too_many_pixels_is_refused():
    encoded = bytearray(jpeg())
    at = encoded.index(b"\xff\xc0")
    encoded[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(DatasetError, match="too many pixels"):
        open_picture(bytes(encoded))
