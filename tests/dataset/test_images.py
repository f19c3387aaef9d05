"""Headers, wholeness and pixels of single images."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.dataset.trees import FIXTURES, picture, put
from tiering.dataset.images import FORMATS, ImageHeader, check_end, check_image, decode, probe
from tiering.errors import DatasetError, InputError

# Pillow warns of the damage as well as raising it.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

JPEG = picture(40, 30)
PNG = picture(40, 30, "PNG")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_probed_checked_and_decoded(kind):
    data = picture(40, 30, kind)
    check_image(data, "x")
    header = probe(data)
    assert (header.format, header.width, header.height) == (kind, 40, 30)
    pixels = decode(data)
    assert pixels.shape == (30, 40, 3)
    assert pixels.dtype == np.uint8


def test_every_fixture_image_is_whole_and_decodes_to_its_probed_shape():
    for path in FIXTURES.rglob("*.*"):
        data = path.read_bytes()
        check_image(data, str(path))
        header = probe(path)
        assert probe(data) == header
        assert decode(data).shape == (header.height, header.width, 3)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_image_is_found(kind):
    data = picture(40, 30, kind)
    for length in (1, 10, 30, len(data) // 2, len(data) - 1):
        if kind == "GIF" and length == len(data) - 1:
            continue  # only the trailer is missing: the frame is whole
        with pytest.raises(DatasetError):
            check_image(data[:length], "x")


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, len(JPEG) - 1))
def test_a_jpeg_cut_anywhere_is_an_error_and_never_a_crash(length):
    with pytest.raises(DatasetError):
        check_image(JPEG[:length], "x")
    with pytest.raises(DatasetError):
        decode(JPEG[:length])


@settings(max_examples=100, deadline=None)
@given(
    head=st.sampled_from([b"", JPEG[:4], PNG[:16], b"RIFF\0\0\0\0WEBP", b"II*\0", b"GIF89a", b"BM", b"P6 "]),
    rest=st.binary(max_size=60),
)
def test_garbage_raises_nothing_but_dataset_errors(head, rest):
    for use in (lambda data: check_image(data, "x"), probe, decode):
        with contextlib.suppress(DatasetError):
            use(head + rest)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "zero bytes"),
        (b"not an image", "no known image format"),
        (JPEG[:-100], "truncated JPEG"),
        (PNG[:-20], "truncated PNG"),
        (picture(format="WEBP")[:-4], "truncated WebP"),
    ],
)
def test_the_error_says_what_is_wrong_and_where(data, words):
    with pytest.raises(DatasetError, match=words) as caught:
        check_image(data, "cat/1.jpg")
    assert str(caught.value).startswith("cat/1.jpg: ")


@pytest.mark.parametrize("trailer", [b"\0" * 100, b"camera maker's notes", JPEG])
def test_what_follows_the_end_of_an_image_does_no_harm(trailer):
    check_image(JPEG + trailer, "x")
    check_image(PNG + trailer, "x")
    assert np.array_equal(decode(JPEG + trailer), decode(JPEG))


def test_a_memoryview_is_taken_as_it_is():
    check_image(memoryview(JPEG), "x")
    assert np.array_equal(decode(memoryview(JPEG)), decode(JPEG))
    assert probe(memoryview(PNG)) == probe(PNG)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_odd_jpegs_become_rgb(mode):
    assert decode(picture(40, 30, "JPEG", mode)).shape == (30, 40, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_odd_pngs_become_rgb(mode):
    assert decode(picture(40, 30, "PNG", mode)).shape == (30, 40, 3)


def test_sixteen_bit_grey_keeps_its_upper_byte():
    grey = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    assert np.array_equal(decode(file.getvalue())[:, :, 1], np.arange(256).reshape(16, 16))


def test_floating_point_pixels_are_refused():
    file = io.BytesIO()
    Image.fromarray(np.ones((4, 4), np.float32)).save(file, "TIFF")
    with pytest.raises(DatasetError, match="floating-point"):
        decode(file.getvalue())


def test_pixels_are_as_stored_whatever_exif_says():
    image = Image.open(io.BytesIO(JPEG))
    exif = image.getexif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    assert decode(file.getvalue()).shape == (30, 40, 3)


def test_a_header_that_claims_too_many_pixels_is_damaged():
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    bomb = PNG[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"")
    with pytest.raises(DatasetError, match="too many pixels"):
        probe(bomb)


def test_a_missing_file_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        probe(tmp_path / "no.jpg")


def test_the_end_of_a_file_is_checked_without_reading_the_middle(tmp_path):
    check_end(put(tmp_path, "good.jpg", JPEG))
    check_end(put(tmp_path, "padded.jpg", JPEG + bytes(10)))
    check_end(put(tmp_path, "good.bmp", picture(format="BMP")))
    with pytest.raises(DatasetError, match="truncated PNG"):
        check_end(put(tmp_path, "cut.png", PNG[:-20]))


def test_a_header_is_a_plain_value():
    assert probe(FIXTURES / "china-0" / "0000000.jpg") == ImageHeader("JPEG", 129, 105, "RGB")
