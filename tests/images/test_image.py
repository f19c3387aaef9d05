"""Headers, wholeness and pixels of single images."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401 - which registers it with Pillow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.damage import tiff
from tests.examples import examples
from tests.trees import FIXTURES, picture
from tiering.errors import DatasetError, InputError
from tiering.images.image import ImageHeader, check_image, decode, probe
from tiering.images.markers import jpeg_head
from tiering.images.pixels import to_pixels
from tiering.images.shape import PixelShape

pillow_heif.register_heif_opener()

# Pillow warns of the damage as well as raising it.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

JPEG = picture(40, 30)
PNG = picture(40, 30, "PNG")

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
RARE_FORMATS = ("DDS", "DIB", "MSP", "PCX", "QOI", "SGI", "TGA", "XBM", "HEIF", "JXL")

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def deep_png(values: np.ndarray) -> bytes:
    """A PNG with 16 bits per channel, which Pillow cannot write but for grey: 1 to 4 channels."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    head = struct.pack(">IIBBBBB", width, height, 16, (0, 4, 2, 6)[channels - 1], 0, 0, 0)
    return PNG[:8] + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def resized_header(data: bytes, width: int, height: int) -> bytes:
    """The same JPEG, claiming another size."""
    at = next(data.index(marker) for marker in (b"\xff\xc0\x00", b"\xff\xc2\x00") if marker in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def oriented(kind: str, orientation: int) -> bytes:
    """A picture that differs under every turn."""
    exif = Image.Exif()
    exif[0x010F] = "a maker, which stands before the orientation"
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"subsampling": 0}}.get(kind, {})
    return encoded(Image.fromarray(COLOURS), kind, exif=exif, **options)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_probed_checked_and_decoded(kind):
    data = picture(40, 30, kind)
    check_image(data, "x")
    header = probe(data)
    assert (header.format, header.width, header.height) == (kind, 40, 30)
    pixels = decode(data)
    assert pixels.shape == (30, 40, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("kind", RARE_FORMATS)
def test_rare_formats_are_known_by_their_beginning_or_else_by_their_name(kind):
    data = picture(40, 30, kind, "1" if kind in ("MSP", "XBM") else "RGB")
    name = f"x.{kind.lower()}"
    check_image(data, name)
    with pytest.raises(DatasetError):
        check_image(data[: len(data) // 2], name)
    assert decode(data).shape == (30, 40, 3), "in a store it has no name any more"


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


@settings(max_examples=examples(60))
@given(length=st.integers(0, len(JPEG) - 1))
def test_a_jpeg_cut_anywhere_is_an_error_and_never_a_crash(length):
    with pytest.raises(DatasetError):
        check_image(JPEG[:length], "x")
    with pytest.raises(DatasetError):
        decode(JPEG[:length])


@settings(max_examples=examples(100))
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


GREY = COLOURS[:, :, 0]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_greyscale_becomes_three_equal_channels(kind):
    pixels = decode(encoded(Image.fromarray(GREY), kind))
    assert np.array_equal(pixels, np.stack([GREY] * 3, axis=2))


def test_a_greyscale_jpeg_becomes_three_equal_channels():
    data = encoded(Image.fromarray(GREY), "JPEG", quality=95)
    pixels = decode(data)
    assert np.array_equal(pixels, np.stack([np.asarray(Image.open(io.BytesIO(data)))] * 3, axis=2))


def test_one_bit_becomes_black_and_white():
    bits = GREY > 127
    for kind in ("PNG", "BMP", "TIFF", "PPM"):
        assert np.array_equal(decode(encoded(Image.fromarray(bits), kind))[:, :, 2], bits * np.uint8(255))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_dropped_and_never_blended(kind):
    alpha = np.full((6, 8, 1), 3, np.uint8)
    alpha[0, 0] = 0
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(np.concatenate([COLOURS, alpha], axis=2)), kind, **options)
    assert np.array_equal(decode(data), COLOURS)


def test_transparency_of_grey_is_dropped_too():
    data = encoded(Image.fromarray(np.stack([GREY, 255 - GREY], axis=2)), "PNG")
    assert np.array_equal(decode(data)[:, :, 0], GREY)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP"])
def test_a_palette_is_looked_up(kind):
    image = Image.fromarray(np.arange(8, dtype=np.uint8).reshape(2, 4), "L").convert("P")
    image.putpalette([value for index in range(8) for value in (index, 200 - index, 7 * index)])
    expected = [[index, 200 - index, 7 * index] for index in range(8)]
    assert decode(encoded(image, kind)).reshape(-1, 3).tolist() == expected


@pytest.mark.parametrize("transparency", [2, b"\0\x80\xff"])
def test_transparent_entries_of_a_palette_keep_their_colour(transparency):
    image = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2), "L").convert("P")
    image.putpalette([1, 2, 3, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    expected = [[1, 2, 3], [40, 50, 60], [70, 80, 90], [100, 110, 120]]
    assert decode(encoded(image, "PNG", transparency=transparency)).reshape(-1, 3).tolist() == expected


def test_sixteen_bit_grey_keeps_its_upper_byte():
    grey = (np.arange(256, dtype=np.uint16) * 256 + 200).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(decode(encoded(Image.fromarray(grey), kind))[:, :, 1], grey >> 8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_channels_keep_their_upper_byte(channels):
    deep = np.random.default_rng(1).integers(0, 65536, (5, 7, channels), np.uint16)
    deep[0, 0] = 0x01FF  # rounding would make 2 of it
    colours = deep[:, :, :3] if channels > 2 else np.repeat(deep[:, :, :1], 3, axis=2)
    assert np.array_equal(decode(deep_png(deep)), colours >> 8)


def cmyk_jpegs() -> dict[str, bytes]:
    """The three kinds there are: Adobe's inverted CMYK, the same without Adobe's marker, and YCCK."""
    inks = np.zeros((16, 64, 4), np.uint8)
    for block, ink in enumerate([(0, 255, 255, 0), (255, 0, 255, 0), (0, 0, 0, 155), (55, 127, 127, 0)]):
        inks[:, 16 * block : 16 * block + 16] = ink
    adobe = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100)
    at = adobe.index(b"\xff\xee")
    return {
        "adobe": adobe,
        "no marker": adobe[:at] + adobe[at + 16 :],
        "YCCK": adobe[: at + 15] + b"\2" + adobe[at + 16 :],
    }


@pytest.mark.parametrize("kind", ["adobe", "no marker", "YCCK"])
def test_cmyk_jpegs_become_what_pillow_makes_of_them(kind):
    data = cmyk_jpegs()[kind]
    assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_cmyk_jpegs_have_the_colours_that_their_inks_give():
    middles = (8, [8, 24, 40])
    expected = [[255, 0, 0], [0, 255, 0], [100, 100, 100]]
    for kind in ("adobe", "no marker"):
        assert np.abs(decode(cmyk_jpegs()[kind])[middles].astype(int) - expected).max() <= 3
    # In the last block, 55 of cyan stand for a luma of 200, and the others for no colour.
    assert np.abs(decode(cmyk_jpegs()["YCCK"])[8, 56].astype(int) - 55).max() <= 3


def test_a_jpeg_that_holds_rgb_instead_of_luma_is_decoded_as_such():
    data = encoded(Image.fromarray(COLOURS), "JPEG", quality=100, keep_rgb=True)
    assert np.abs(decode(data).astype(int) - COLOURS).max() <= 4


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind):
    first, second = (Image.new("RGB", (9, 7), colour) for colour in ("red", "blue"))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(first, kind, save_all=True, append_images=[second], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    check_image(data, "x")
    assert (decode(data) == [255, 0, 0]).all()


@pytest.mark.parametrize("kind", ["int16", "int32", "uint32", "float32"])
@pytest.mark.parametrize("largest", [1, 255, 30_000])
def test_pixels_whose_range_nothing_tells_are_refused_whatever_their_values(kind, largest):
    """Cut to 8 bits they would be white, black, or right by accident."""
    pixels = (np.arange(1200).reshape(30, 40) * largest / 1199).astype(kind)
    data = tiff(pixels)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    check_image(data, "x")
    said = "floating-point" if kind == "float32" else "integer"
    for narrow in (False, True):
        with pytest.raises(DatasetError, match=f"found {kind} pixels"):
            to_pixels(data, "x", PixelShape(30, 40, 1), None, narrow=narrow)
    with pytest.raises(DatasetError, match=f"{said} pixels, whose range is unknown"):
        decode(data)


def test_sixteen_bits_keep_their_upper_eight_in_every_format():
    pixels = (np.arange(1200).reshape(30, 40) * 54).astype(np.uint16)
    upper = np.repeat((pixels >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    for data in (
        tiff(pixels),
        encoded(Image.fromarray(pixels), "PNG"),
        encoded(Image.fromarray(pixels), "JPEG2000", irreversible=False),
        b"P5 40 30 65535\n" + pixels.astype(">u2").tobytes(),
    ):
        assert np.array_equal(decode(data), upper)


def test_other_colour_spaces_become_rgb():
    for mode in ("LAB", "YCbCr"):
        image = Image.new(mode, (4, 4), (90, 120, 130))
        assert np.array_equal(decode(encoded(image, "TIFF")), np.asarray(image.convert("RGB")))


def test_colours_multiplied_with_their_alpha_are_divided_by_it():
    image = Image.new("RGBA", (4, 4), (50, 100, 0, 128))
    entry = struct.pack("<HHI", 338, 3, 1)  # what the fourth channel is: 2 for plain alpha, 1 for multiplied
    data = encoded(image, "TIFF").replace(entry + b"\2", entry + b"\1")
    assert entry + b"\1" in data
    assert np.abs(decode(data)[0, 0].astype(int) - [100, 200, 0]).max() <= 1
    grey = encoded(Image.new("LA", (4, 4), (50, 128)), "TIFF").replace(entry + b"\2", entry + b"\1")
    assert probe(grey).mode == "La"
    assert abs(int(decode(grey)[0, 0, 0]) - 100) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pixels_are_as_seen(kind, orientation):
    data = oriented(kind, orientation)
    pixels = decode(data)
    assert np.array_equal(pixels, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))
    assert np.array_equal(decode(memoryview(data)), pixels)
    assert pixels.flags.c_contiguous
    if kind != "JPEG":
        # Where the first pixel of the first row goes, as the EXIF standard words it.
        row, column = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}[
            orientation
        ]
        assert np.array_equal(pixels[row, column], COLOURS[0, 0])


def test_headers_are_as_stored():
    header = probe(oriented("JPEG", 6))
    assert (header.width, header.height) == (8, 6)
    assert decode(oriented("JPEG", 6)).shape == (8, 6, 3)


def test_a_big_endian_orientation_is_read():
    data = encoded(
        Image.fromarray(COLOURS), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\10\0\1\1\x12\0\3\0\0\0\1\0\3\0\0\0\0\0\0"
    )
    assert np.array_equal(decode(data), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))


@settings(max_examples=examples(100))
@given(head=st.sampled_from([b"", b"II*\0\10\0\0\0", b"MM\0*\0\0\0\10"]), rest=st.binary(max_size=60))
def test_exif_data_that_make_no_sense_do_no_harm(head, rest):
    for kind in ("JPEG", "PNG"):
        data = encoded(Image.fromarray(COLOURS), kind, exif=b"Exif\0\0" + head + rest)
        assert decode(data).size == COLOURS.size
        check_image(data, "x")


def bombs() -> dict[str, bytes]:
    huge = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    webp = encoded(Image.fromarray(COLOURS), "WEBP", lossless=True)
    lossy = encoded(Image.fromarray(COLOURS), "WEBP")
    extended = b"VP8X" + struct.pack("<II", 10, 0) + (65534).to_bytes(3, "little") * 2 + webp[12:]
    return {
        "JPEG": resized_header(JPEG, 60000, 60000),
        "grey JPEG": resized_header(picture(40, 30, "JPEG", "L"), 60000, 60000),
        "CMYK JPEG": resized_header(picture(40, 30, "JPEG", "CMYK"), 60000, 60000),
        "progressive JPEG": resized_header(encoded(Image.fromarray(COLOURS), "JPEG", progressive=True), 60000, 60000),
        "cut JPEG": resized_header(JPEG, 60000, 60000)[:-2],
        "odd JPEG": JPEG[:2] + b"\xff\xfe\0\2" * 200 + resized_header(JPEG, 60000, 60000)[2:],
        "PNG": PNG[:8] + chunk(b"IHDR", huge) + chunk(b"IDAT", b"") + PNG[-12:],
        "lossless WebP": webp[:21] + b"\xff\xff\xff\x0f" + webp[25:],
        "lossy WebP": lossy[:26] + b"\xff\x3f\xff\x3f" + lossy[30:],
        "extended WebP": b"RIFF" + struct.pack("<I", len(extended) + 4) + b"WEBP" + extended,
        "BMP": (bmp := picture(40, 30, "BMP"))[:18] + struct.pack("<II", 60000, 60000) + bmp[26:],
        "GIF": (gif := picture(40, 30, "GIF"))[:6] + struct.pack("<HH", 60000, 60000) + gif[10:],
        "PPM": picture(40, 30, "PPM").replace(b"40 30", b"60000 60000", 1),
    }


@pytest.mark.parametrize("kind", bombs())
def test_a_header_that_claims_too_many_pixels_is_refused(kind):
    for use in (lambda data: check_image(data, "x"), decode):
        with pytest.raises(DatasetError, match="a header that claims too many pixels"):
            use(bombs()[kind])


def test_probing_refuses_too_many_pixels_too():
    for kind in ("JPEG", "PNG", "BMP"):
        with pytest.raises(DatasetError, match="too many pixels"):
            probe(bombs()[kind])


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_of_pixels_is_pillows_own(monkeypatch):
    for data in (JPEG, PNG, picture(40, 30, "WEBP"), picture(40, 30, "GIF")):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
        check_image(data, "x")
        decode(data)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 599)
        with pytest.raises(DatasetError, match="too many pixels"):
            check_image(data, "x")
        with pytest.raises(DatasetError, match="too many pixels"):
            decode(data)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        check_image(data, "x")


def test_a_jpeg_with_an_odd_head_is_whole_all_the_same():
    fill = JPEG[:2] + b"\xff\xff\xff" + JPEG[2:]
    many = JPEG[:2] + b"\xff\xfe\0\2" * 200 + JPEG[2:]
    for data in (fill, many):
        check_image(data, "x")
        assert np.array_equal(decode(data), decode(JPEG))
    assert jpeg_head(many) is None


def test_the_head_of_a_jpeg_tells_sides_and_components():
    for mode, components in (("L", 1), ("RGB", 3), ("CMYK", 4)):
        head = jpeg_head(picture(40, 30, "JPEG", mode))
        assert head is not None
        assert head[:3] == (40, 30, components)
    assert jpeg_head(PNG) is None


def test_headers_know_grey_from_colour():
    grey = {mode: probe(picture(8, 8, "PNG", mode)).grey for mode in ("1", "L", "LA", "I;16", "RGB", "RGBA", "P")}
    assert grey == {"1": True, "L": True, "LA": True, "I;16": True, "RGB": False, "RGBA": False, "P": False}


def test_a_missing_file_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        probe(tmp_path / "no.jpg")


def test_a_header_is_a_plain_value():
    assert probe(FIXTURES / "china-0" / "0000000.jpg") == ImageHeader("JPEG", 129, 105, "RGB")
