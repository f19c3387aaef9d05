"""Decoded samples of one shape."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageOps
from sklearn.datasets import load_sample_image

from tests.examples import examples
from tests.trees import FIXTURES, picture
from tiering.errors import DatasetError, UsageError
from tiering.images.encoding import encode_png
from tiering.images.image import ImageHeader, decode
from tiering.images.pixels import to_pixels
from tiering.images.shape import PixelShape, agree_on_channels, agree_on_size, parse_size

RESIZES = ("crop", "pad", "stretch")
SIDES = st.integers(1, 48)
PHOTO = load_sample_image("china.jpg")  # 427 x 640


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, channels), np.uint8)


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one.astype(int) - other.astype(int))


def resize_and_center_crop(image: Image.Image, height: int, width: int) -> np.ndarray:
    """What torchvision does, step by step."""
    if width * image.height >= height * image.width:
        size = width, image.height * width // image.width
    else:
        size = image.width * height // image.height, height
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + width, top + height)))


@settings(max_examples=examples(300))
@given(
    stored=st.tuples(SIDES, SIDES),
    target=st.tuples(SIDES, SIDES),
    mode=st.sampled_from(["1", "L", "LA", "I;16", "P", "RGB", "RGBA", "CMYK"]),
    jpeg=st.booleans(),
    resize=st.sampled_from(RESIZES),
    channels=st.sampled_from([1, 3]),
)
@example(stored=(48, 1), target=(1, 48), mode="RGB", jpeg=True, resize="crop", channels=3)
@example(stored=(1, 48), target=(48, 1), mode="L", jpeg=True, resize="pad", channels=1)
def test_the_result_always_has_the_shape(stored, target, mode, jpeg, resize, channels):
    kind = "JPEG" if jpeg and mode in ("L", "RGB", "CMYK") else "TIFF" if mode == "CMYK" else "PNG"
    data = picture(stored[1], stored[0], kind, mode)
    shape = PixelShape(*target, channels)
    if channels == 1 and mode in ("P", "RGB", "RGBA", "CMYK"):
        with pytest.raises(DatasetError, match="`channels` 3"):
            to_pixels(data, "x", shape, resize, narrow=True)
        return
    pixels = to_pixels(data, "x", shape, resize, narrow=True)
    assert pixels.shape == (*target, channels)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert pixels.nbytes == len(pixels.tobytes()) == shape.nbytes
    if channels == 3 and mode in ("1", "L", "LA", "I;16"):
        assert np.array_equal(pixels[:, :, 0], pixels[:, :, 2])
        assert np.array_equal(pixels[:, :, :1], to_pixels(data, "x", PixelShape(*target, 1), resize, narrow=True))


@settings(max_examples=examples(60))
@given(
    height=SIDES, width=SIDES, kind=st.sampled_from(["PNG", "JPEG", "BMP"]), resize=st.sampled_from((*RESIZES, None))
)
def test_an_image_that_has_the_shape_is_only_decoded(height, width, kind, resize):
    data = encoded(Image.fromarray(noise(height, width)), kind)
    assert np.array_equal(to_pixels(data, "x", PixelShape(height, width, 3), resize), decode(data))


@settings(max_examples=examples(150))
@given(stored=st.tuples(SIDES, SIDES), target=st.tuples(SIDES, SIDES))
def test_crop_is_resize_and_center_crop(stored, target):
    image = Image.fromarray(noise(*stored))
    pixels = to_pixels(encoded(image), "x", PixelShape(*target, 3), "crop")
    assert difference(pixels, resize_and_center_crop(image, *target)).max() <= 1


@settings(max_examples=examples(100))
@given(stored=st.tuples(st.integers(8, 60), st.integers(8, 60)), target=st.tuples(SIDES, SIDES))
def test_crop_keeps_the_centre(stored, target):
    height, width = stored
    ramp = np.add.outer(np.linspace(0, 120, height), np.linspace(0, 120, width)).astype(np.uint8)
    pixels = to_pixels(encoded(Image.fromarray(ramp)), "x", PixelShape(*target, 1), "crop")
    # The ramp is steepest per new pixel where few of them cover a side; the centre is off by one pixel at most.
    scale = max(target[0] / height, target[1] / width)
    assert abs(pixels.mean() - 120) <= 2 + 120 / (scale * height) + 120 / (scale * width)


@settings(max_examples=examples(150))
@given(stored=st.tuples(SIDES, SIDES), target=st.tuples(SIDES, SIDES), kind=st.sampled_from(["PNG", "JPEG"]))
def test_pad_shows_the_whole_picture_centred_on_zeros(stored, target, kind):
    height, width = stored
    data = encoded(Image.new("RGB", (width, height), "white"), kind)
    lit = to_pixels(data, "x", PixelShape(*target, 3), "pad") > 0
    rows, columns = np.flatnonzero(lit.any(axis=(1, 2))), np.flatnonzero(lit.any(axis=(0, 2)))
    assert lit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert lit.sum() == 3 * len(rows) * len(columns)
    assert len(rows) == target[0] or len(columns) == target[1]
    scale = min(target[0] / height, target[1] / width)
    assert abs(len(rows) - max(1, scale * height)) <= 0.51
    assert abs(len(columns) - max(1, scale * width)) <= 0.51
    assert 0 <= (target[0] - 1 - rows[-1]) - rows[0] <= 1
    assert 0 <= (target[1] - 1 - columns[-1]) - columns[0] <= 1


def test_pad_scales_the_picture_as_pillow_does():
    image = Image.fromarray(PHOTO)
    pixels = to_pixels(encoded(image), "x", PixelShape(96, 96, 3), "pad")
    assert np.array_equal(pixels[16:80], np.asarray(image.resize((96, 64), Image.Resampling.BILINEAR)))
    assert not pixels[:16].any()
    assert not pixels[80:].any()


def test_stretch_scales_the_picture_as_pillow_does():
    image = Image.fromarray(PHOTO)
    pixels = to_pixels(encoded(image), "x", PixelShape(50, 90, 3), "stretch")
    assert np.array_equal(pixels, np.asarray(image.resize((90, 50), Image.Resampling.BILINEAR)))


@pytest.mark.parametrize("size", [(224, 224), (96, 160), (300, 100)])
def test_crop_is_what_pillow_fits_but_for_half_a_pixel(size):
    # torchvision cuts at whole pixels of the scaled picture, Pillow's fit between them: blurred, they are one.
    photo = Image.fromarray(PHOTO).filter(ImageFilter.GaussianBlur(6))
    fitted = np.asarray(ImageOps.fit(photo, size[::-1], Image.Resampling.BILINEAR))
    pixels = to_pixels(encoded(photo), "x", PixelShape(*size, 3), "crop")
    assert difference(pixels, fitted).mean() < 1
    assert difference(pixels, fitted).max() < 16


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("side", [20, 40, 64, 100, 106, 150, 400])
def test_a_jpeg_decoded_smaller_looks_as_if_decoded_in_full(side, resize):
    data = encoded(Image.fromarray(PHOTO), "JPEG", quality=92)
    shape = PixelShape(side, side, 3)
    small, full = (to_pixels(image, "x", shape, resize) for image in (data, encode_png(decode(data))))
    assert difference(small, full).mean() < 1
    assert difference(small, full).max() <= 16


def test_a_grey_jpeg_decoded_smaller_looks_as_if_decoded_in_full():
    data = encoded(Image.fromarray(PHOTO).convert("L"), "JPEG", quality=92)
    shape = PixelShape(40, 40, 1)
    small, full = (to_pixels(image, "x", shape, "crop") for image in (data, encode_png(decode(data)[:, :, :1])))
    assert difference(small, full).mean() < 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resize", RESIZES)
def test_the_picture_is_turned_before_it_is_resized(orientation, resize):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(noise(31, 44)), exif=exif)
    for target in ((20, 15), (15, 20), (7, 30), (60, 50)):
        shape = PixelShape(*target, 3)
        seen = to_pixels(encode_png(decode(data)), "x", shape, resize)
        assert difference(to_pixels(data, "x", shape, resize), seen).max() <= 1
    photo = encoded(Image.fromarray(PHOTO[:401, :603]), "JPEG", quality=92, exif=exif)
    shape = PixelShape(40, 30, 3)
    seen = to_pixels(encode_png(decode(photo)), "x", shape, resize)
    assert difference(to_pixels(photo, "x", shape, resize), seen).mean() < 1


def test_without_resizing_the_shape_is_the_one_seen():
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG"):
        data = encoded(Image.fromarray(noise(30, 40)), kind, exif=exif)
        assert np.array_equal(to_pixels(data, "x", PixelShape(40, 30, 3), None), decode(data))
        with pytest.raises(DatasetError, match="40x30"):
            to_pixels(data, "x", PixelShape(30, 40, 3), None)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_another_size_is_refused_without_resizing(kind):
    with pytest.raises(DatasetError) as caught:
        to_pixels(picture(40, 30, kind), "cat/1.jpg", PixelShape(32, 48, 3), None)
    assert str(caught.value).startswith("cat/1.jpg: expected 32x48 (height x width), found 30x40.")
    assert "`pixels` 32x48" in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("resize", [*RESIZES, None])
def test_a_colour_image_is_refused_among_grey_ones(kind, resize):
    with pytest.raises(DatasetError, match=r"x: expected a grey image, found a colour image\. .*`channels` 3"):
        to_pixels(picture(40, 30, kind), "x", PixelShape(30, 40, 1), resize)


def test_damaged_images_are_refused():
    for data in (b"", b"no image", picture()[:-100], picture(40, 30, "PNG")[:-40]):
        with pytest.raises(DatasetError, match="expected a whole image"):
            to_pixels(data, "x", PixelShape(8, 8, 3), "crop")


def test_a_header_that_claims_too_many_pixels_is_refused():
    data = picture(40, 30)
    at = data.index(b"\xff\xc0\x00") + 5
    with pytest.raises(DatasetError, match="too many pixels"):
        to_pixels(data[:at] + b"\xea\x60\xea\x60" + data[at + 4 :], "x", PixelShape(8, 8, 3), "crop")


def test_a_memoryview_is_taken_as_it_is():
    for kind in ("JPEG", "PNG"):
        data = picture(40, 30, kind)
        shape = PixelShape(8, 8, 3)
        assert np.array_equal(to_pixels(memoryview(data), "x", shape, "crop"), to_pixels(data, "x", shape, "crop"))


def test_every_fixture_image_can_be_brought_to_one_shape():
    for path in FIXTURES.rglob("*.*"):
        assert to_pixels(path.read_bytes(), str(path), PixelShape(32, 32, 3), "crop").shape == (32, 32, 3)


@pytest.mark.parametrize(
    "sides", [(0, 1, 3), (1, 0, 3), (1, 1, 0), (-1, 1, 1), (1, 1, 3, "int8"), (1, 1, 1, "float64")]
)
def test_there_is_no_such_shape(sides):
    with pytest.raises(ValueError, match="no shape of pixels"):
        PixelShape(*sides)


@pytest.mark.parametrize(
    ("text", "size"), [("224x224", (224, 224)), ("224", (224, 224)), (" 96X160 ", (96, 160)), ("1x65535", (1, 65535))]
)
def test_a_size_is_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "0", "0x5", "5x0", "224x", "x224", "-1", "2x3x4", "65536", "1e3", "٣", "9" * 9]
)
def test_what_is_no_size_is_bad_usage(text):
    with pytest.raises(UsageError, match="example 224x224"):
        parse_size(text)


def header(height: int, width: int, mode: str = "RGB") -> ImageHeader:
    return ImageHeader("PNG", width, height, mode)


def test_images_of_one_size_agree_on_it():
    assert agree_on_size([header(30, 40)] * 5) == (30, 40)


def test_images_agree_on_one_channel_when_all_are_grey():
    grey = [header(8, 9, mode) for mode in ("1", "L", "LA", "I", "I;16", "I;16B")]
    assert agree_on_channels(grey) == 1
    for mode in ("RGB", "RGBA", "P", "CMYK"):
        assert agree_on_channels([*grey, header(8, 9, mode)]) == 3


def test_images_of_different_sizes_do_not_agree():
    with pytest.raises(DatasetError) as caught:
        agree_on_size([header(30, 40)] * 3 + [header(40, 30)] * 2 + [header(1, 1), header(2, 2)])
    assert "found 30x40 (3 images) and 40x30 (2 images) beside 2 others (height x width)" in str(caught.value)
    assert "`pixels`" in str(caught.value)
    with pytest.raises(DatasetError, match=r"2x1 \(1 image\) and 1x2 \(1 image\) \("):
        agree_on_size([header(2, 1), header(1, 2)])


def test_no_images_agree_on_nothing():
    with pytest.raises(DatasetError, match="no image"):
        agree_on_size([])


@settings(max_examples=examples(60))
@given(height=SIDES, width=SIDES, channels=st.sampled_from([1, 3]), resize=st.sampled_from((*RESIZES, None)))
def test_a_png_gives_the_pixels_back(height, width, channels, resize):
    pixels = noise(height, width, channels)
    assert np.array_equal(to_pixels(encode_png(pixels), "x", PixelShape(height, width, channels), resize), pixels)
    assert np.array_equal(decode(encode_png(pixels)), np.broadcast_to(pixels, (height, width, 3)))


def test_only_pixels_become_a_png():
    assert encode_png(noise(4, 5, 1)[:, :, 0]) == encode_png(noise(4, 5, 1))
    for wrong in (
        np.zeros((4, 4, 2), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4)),
    ):
        with pytest.raises(ValueError, match=r"uint8|shape"):
            encode_png(wrong)
