"""Images in their own numbers: every bit of every band, or an error that names what to do."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.examples import examples
from tests.images.deep import noise, npy, png16, saved, tiff
from tiering.errors import DatasetError, FormatError
from tiering.images.exact import decode_exactly
from tiering.images.image import check_image, decode, probe
from tiering.images.layout import PixelLayout
from tiering.images.pixels import to_pixels
from tiering.images.shape import PixelShape

RESIZES = ("crop", "pad", "stretch")
TYPES = ("uint8", "uint16", "float32")
SIDES = st.tuples(st.integers(1, 24), st.integers(1, 24))


def shaped(data: bytes, shape: PixelShape, resize=None) -> np.ndarray:
    pixels = to_pixels(data, "x", shape, resize)
    assert pixels.shape == shape.sides
    assert pixels.dtype == shape.numbers
    assert pixels.flags.c_contiguous
    assert pixels.nbytes == shape.nbytes
    return pixels


@settings(max_examples=examples(80))
@given(sides=SIDES, dtype=st.sampled_from(["uint16", "float32"]), big=st.booleans())
def test_grey_tiffs_of_any_depth_need_no_extra(sides, dtype, big):
    pixels = noise(sides, dtype)
    data = tiff(pixels, big=big and dtype == "uint16")
    check_image(data, "x")
    assert probe(data).layout == PixelLayout(dtype, 1)
    assert np.array_equal(shaped(data, PixelShape(*sides, 1, dtype))[:, :, 0], pixels)


@settings(max_examples=examples(40))
@given(sides=SIDES, dtype=st.sampled_from(["int16", "int32", "uint8", "uint16"]))
def test_float32_keeps_the_numbers_of_every_type(sides, dtype):
    pixels = noise(sides, dtype)
    pixels = np.clip(pixels, -(1 << 24), 1 << 24) if dtype == "int32" else pixels
    for data in (tiff(pixels), npy(pixels)):
        assert np.array_equal(shaped(data, PixelShape(*sides, 1, "float32"))[:, :, 0], pixels)


def test_whole_numbers_that_float32_cannot_hold_are_refused():
    with pytest.raises(DatasetError, match="int32 pixels that float32 cannot hold"):
        to_pixels(npy(np.full((2, 2), (1 << 24) + 1, np.int32)), "x", PixelShape(2, 2, 1, "float32"), None)
    with pytest.raises(DatasetError, match="float64 pixels that float32 cannot hold"):
        to_pixels(npy(np.full((2, 2), 1e300)), "x", PixelShape(2, 2, 1, "float32"), None)
    assert shaped(npy(np.full((2, 2), 0.1)), PixelShape(2, 2, 1, "float32"))[0, 0, 0] == np.float32(0.1)
    assert np.isnan(shaped(npy(np.full((2, 2), np.nan)), PixelShape(2, 2, 1, "float32"))).all()


@pytest.mark.parametrize("kind", ["PNG", "PPM"])
def test_grey_of_16_bits_in_other_formats(kind):
    pixels = noise((9, 7), "uint16")
    data = saved(Image.fromarray(pixels), "PNG")
    if kind == "PPM":
        data = b"P5 7 9 65535\n" + pixels.astype(">u2").tobytes()
    assert np.array_equal(shaped(data, PixelShape(9, 7, 1, "uint16"))[:, :, 0], pixels)
    assert np.array_equal(shaped(data, PixelShape(9, 7, 3, "uint16"))[:, :, 2], pixels)


def test_numbers_of_pnm_images_are_not_scaled():
    pixels = noise((9, 7, 3), "uint16") % 1000
    data = b"P6 7 9 999\n" + pixels.astype(">u2").tobytes()
    assert probe(data).layout == PixelLayout("uint16", 3)
    assert np.array_equal(shaped(data, PixelShape(9, 7, 3, "uint16")), pixels)
    grey = b"P5 7 9 999\n" + pixels[:, :, 0].astype(">u2").tobytes()
    assert np.array_equal(shaped(grey, PixelShape(9, 7, 1, "uint16"))[:, :, 0], pixels[:, :, 0])
    with pytest.raises(DatasetError, match="truncated"):
        to_pixels(data[:-1], "x", PixelShape(9, 7, 3, "uint16"), None)


def test_transparency_is_kept_where_the_shape_has_a_channel_for_it():
    pixels = noise((6, 5, 4), "uint8")
    data = saved(Image.fromarray(pixels), "PNG")
    assert np.array_equal(shaped(data, PixelShape(6, 5, 4)), pixels)
    assert np.array_equal(shaped(data, PixelShape(6, 5, 3)), pixels[:, :, :3])
    with pytest.raises(DatasetError, match="expected 2 channels, found 3 and transparency"):
        to_pixels(data, "x", PixelShape(6, 5, 2), None)
    grey = saved(Image.fromarray(pixels[:, :, :2], "LA"), "PNG")
    assert np.array_equal(shaped(grey, PixelShape(6, 5, 2)), pixels[:, :, :2])


@settings(max_examples=examples(120))
@given(
    stored=SIDES,
    target=SIDES,
    dtype=st.sampled_from(TYPES),
    bands=st.integers(1, 8),
    resize=st.sampled_from(RESIZES),
)
def test_resizing_never_leaves_the_range_and_keeps_bands_apart(stored, target, dtype, bands, resize):
    pixels = noise((*stored, bands), dtype)
    found = shaped(npy(pixels), PixelShape(*target, bands, dtype), resize)
    low = np.minimum(pixels.min(axis=(0, 1)), 0) if resize == "pad" else pixels.min(axis=(0, 1))
    high = np.maximum(pixels.max(axis=(0, 1)), 0) if resize == "pad" else pixels.max(axis=(0, 1))
    slack = np.abs(pixels).max() * 1e-6 if dtype == "float32" else 0
    assert (found >= low - slack).all()
    assert (found <= high + slack).all()
    for band in range(bands):
        one = shaped(npy(pixels[:, :, band]), PixelShape(*target, 1, dtype), resize)
        assert np.array_equal(found[:, :, band], one[:, :, 0])


@settings(max_examples=examples(60))
@given(stored=SIDES, target=SIDES, resize=st.sampled_from(RESIZES))
def test_deep_pixels_are_resized_as_8_bit_ones_are(stored, target, resize):
    pixels = noise((*stored, 3), "uint8")
    plain = shaped(saved(Image.fromarray(pixels), "PNG"), PixelShape(*target, 3), resize)
    deep = shaped(npy(pixels.astype(np.uint16) * 256), PixelShape(*target, 3, "uint16"), resize)
    assert (np.abs(deep / 256 - plain) <= 1.01).all()  # 8 bits are rounded after each of the two directions


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_images_are_turned_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = noise((6, 9), "uint16")
    narrow = (pixels >> 8).astype(np.uint8)
    upright = decode(saved(Image.fromarray(narrow), "PNG", exif=exif))[:, :, 0]
    found = shaped(saved(Image.fromarray(pixels), "PNG", exif=exif), PixelShape(*upright.shape, 1, "uint16"))
    assert np.array_equal(found[:, :, 0] >> 8, upright)
    found = shaped(tiff(pixels, orientation=orientation), PixelShape(*upright.shape, 1, "uint16"))
    assert np.array_equal(found[:, :, 0] >> 8, upright)


@pytest.mark.parametrize("bands", [2, 4, 5, 7])
def test_a_tiff_of_many_bands_is_told_by_its_header(bands):
    data = tiff(noise((6, 5, bands), "uint8"))
    assert probe(data).layout == PixelLayout("uint8", bands)
    assert (probe(data).width, probe(data).height) == (5, 6)
    for other in (1, 3):
        with pytest.raises(DatasetError, match=f"expected {other} channels?, found {bands}"):
            to_pixels(data, "x", PixelShape(6, 5, other), None)


def test_bands_behind_rgb_are_never_dropped_in_silence():
    pixels = noise((6, 5, 5), "uint8")
    data = tiff(pixels, photometric=2, extra=[0, 0])
    assert Image.open(io.BytesIO(data)).mode == "RGB"  # as Pillow has it
    assert probe(data).layout == PixelLayout("uint8", 5)
    with pytest.raises(DatasetError, match="expected 3 channels, found 5"):
        to_pixels(data, "x", PixelShape(6, 5, 3), None)
    alpha = tiff(pixels[:, :, :4], photometric=2, extra=[2])
    assert probe(alpha).layout == PixelLayout("uint8", 4, alpha=True)
    assert np.array_equal(shaped(alpha, PixelShape(6, 5, 3)), pixels[:, :, :3])


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    for data in (tiff(noise((6, 5, 7), "uint16")), png16(noise((6, 5, 3), "uint16"))):
        shape = PixelShape(6, 5, probe(data).layout.channels, "uint16")
        with pytest.raises(
            FormatError, match=r"channels of uint16, whose decoder is an extra: pip install 'tiering\[depth\]'"
        ):
            to_pixels(data, "x", shape, None)


class TestWithTheExtra:
    """What tifffile and imagecodecs decode."""

    @pytest.fixture(autouse=True)
    def _extra(self):
        self.tifffile = importlib.import_module("tifffile")
        self.imagecodecs = importlib.import_module("imagecodecs")

    @settings(max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        sides=SIDES,
        bands=st.integers(1, 8),
        dtype=st.sampled_from(TYPES),
        planar=st.booleans(),
        big=st.booleans(),
        photometric=st.sampled_from([1, 2]),
    )
    def test_tiffs_of_any_bands_and_types(self, sides, bands, dtype, planar, big, photometric):
        pixels = noise((*sides, bands), dtype)
        if photometric == 2 and bands < 3:
            photometric = 1
        data = tiff(pixels, planar=planar, big=big, photometric=photometric)
        check_image(data, "x")
        assert probe(data).layout == PixelLayout(dtype, bands)
        assert np.array_equal(shaped(data, PixelShape(*sides, bands, dtype)), pixels)

    @pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd", "lerc"])
    @pytest.mark.parametrize("dtype", TYPES)
    def test_tiffs_as_tifffile_writes_them(self, tmp_path, compression, dtype):
        pixels = noise((70, 50, 7), dtype)
        how = {} if compression in (None, "lerc") else {"predictor": True}
        self.tifffile.imwrite(
            tmp_path / "x.tif", pixels, compression=compression, tile=(16, 16), bigtiff=True,
            photometric="minisblack", planarconfig="contig", **how,
        )  # fmt: skip
        data = (tmp_path / "x.tif").read_bytes()
        assert np.array_equal(shaped(data, PixelShape(70, 50, 7, dtype)), pixels)

    @settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(sides=SIDES, channels=st.integers(1, 4))
    def test_pngs_of_16_bits(self, sides, channels):
        pixels = noise((*sides, channels), "uint16")
        data = png16(pixels)
        alpha = channels in (2, 4)
        assert probe(data).layout == PixelLayout("uint16", channels, alpha)
        assert np.array_equal(shaped(data, PixelShape(*sides, channels, "uint16")), pixels)
        assert np.array_equal(
            shaped(data, PixelShape(*sides, channels - alpha, "uint16")), pixels[:, :, : channels - alpha]
        )

    @pytest.mark.parametrize("kind", ["jpeg2k", "jpegxl", "avif"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_other_formats_of_more_than_8_bits(self, kind, channels):
        bits = 10 if kind == "avif" else 16
        pixels = noise((32, 24, 3), "uint16") >> (16 - bits)
        pixels = pixels if channels == 3 else pixels[:, :, 0]
        how = {
            "jpeg2k": {"reversible": True},
            "jpegxl": {"lossless": True},
            "avif": {"level": 100, "bitspersample": bits},
        }
        data = getattr(self.imagecodecs, f"{kind}_encode")(pixels, **how[kind])
        assert probe(data).layout.dtype == "uint16"
        colours = probe(data).layout.colours
        found = shaped(data, PixelShape(32, 24, colours, "uint16"))
        if kind != "avif":
            assert np.array_equal(found.reshape(pixels.shape), pixels)
        with pytest.raises(DatasetError, match="uint16 pixels in a store of uint8"):
            to_pixels(data, "x", PixelShape(32, 24, colours), None)
        assert to_pixels(data, "x", PixelShape(32, 24, 3), None, narrow=True).dtype == np.uint8

    def test_16_bit_planes_are_narrowed_by_their_numbers_and_not_their_bytes(self):
        pixels = noise((6, 5, 3), "uint16")
        data = tiff(pixels, planar=True, photometric=2)
        assert np.array_equal(to_pixels(data, "x", PixelShape(6, 5, 3), None, narrow=True), pixels >> 8)

    @settings(max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_damage_is_an_error_of_the_image_or_goes_unseen(self, data):
        pixels = noise((6, 5, data.draw(st.sampled_from([1, 3, 5]))), data.draw(st.sampled_from(TYPES)))
        whole = bytearray(data.draw(st.sampled_from([tiff(pixels), npy(pixels), tiff(pixels, planar=True)])))
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(0, min(len(whole), 300) - 1))] = data.draw(st.integers(0, 255))
        cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
        for content in (bytes(whole), cut):
            for use in (decode_exactly, check_image, lambda data, _: probe(data)):
                with contextlib.suppress(DatasetError):
                    use(content, "x")
