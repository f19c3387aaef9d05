"""The table of docs/formats.md, "Bits and bands": what becomes of each kind of image, by the type that is asked for."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.images.deep import noise, npy, png16, saved, tiff
from tiering.errors import DatasetError
from tiering.images.image import probe
from tiering.images.pixels import to_pixels
from tiering.images.shape import PixelShape, agree_on_channels, agree_on_type

U8, U16 = noise((6, 5), "uint8"), noise((6, 5), "uint16")
RGB16, BANDS = noise((6, 5, 3), "uint16"), noise((6, 5, 7), "uint8")
F32 = noise((6, 5), "float32")


def codec(name: str, **how) -> Callable[[np.ndarray], bytes]:
    def encode(pixels: np.ndarray) -> bytes:
        return getattr(importlib.import_module("imagecodecs"), f"{name}_encode")(pixels, **how)

    return encode


def heic(pixels: np.ndarray) -> bytes:
    pillow_heif = importlib.import_module("pillow_heif")
    file = io.BytesIO()
    pillow_heif.encode("RGB;16", (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels).tobytes(), fp=file)
    return file.getvalue()


#: The image, its numbers as they are, and what becomes of them by default, as uint8, uint16 and float32. "-": refused.
#: "k": kept. "u": the upper 8 bits. "8": any 8 bits. "d" before it: with the extra.
ROWS = {
    "png": (lambda: saved(Image.fromarray(U8), "PNG"), U8, "k k - k"),
    "jpeg": (lambda: saved(Image.fromarray(BANDS[:, :, :3]), "JPEG"), None, "8 8 - 8"),
    "cmyk jpeg": (lambda: saved(Image.fromarray(BANDS[:, :, :4], "CMYK"), "JPEG"), None, "8 8 - 8"),
    "palette png": (lambda: saved(Image.fromarray(U8).convert("P"), "PNG"), None, "8 8 - 8"),
    "1-bit tiff": (lambda: saved(Image.fromarray(U8).convert("1"), "TIFF"), None, "8 8 - 8"),
    "rgba png": (lambda: saved(Image.fromarray(BANDS[:, :, :4]), "PNG"), BANDS[:, :, :3], "k k - k"),
    "grey 16-bit png": (lambda: saved(Image.fromarray(U16), "PNG"), U16, "- u k k"),
    "grey 16-bit tiff": (lambda: tiff(U16), U16, "- u k k"),
    "big-endian tiff": (lambda: tiff(U16, big=True), U16, "- u k k"),
    "grey 16-bit pnm": (lambda: b"P5 5 6 65535\n" + U16.astype(">u2").tobytes(), U16, "- u k k"),
    "rgb 16-bit pnm": (lambda: b"P6 5 6 65535\n" + RGB16.astype(">u2").tobytes(), RGB16, "- 8 k k"),
    "rgb 16-bit png": (lambda: png16(RGB16), RGB16, "- u dk dk"),
    "rgb 16-bit tiff": (lambda: tiff(RGB16, photometric=2), RGB16, "- u dk dk"),
    "rgb 16-bit planes": (lambda: tiff(RGB16, photometric=2, planar=True), RGB16, "- du dk dk"),
    "rgb 16-bit jpeg 2000": (lambda: codec("jpeg2k", reversible=True)(RGB16), RGB16, "- 8 dk dk"),
    "rgb 16-bit jpeg xl": (lambda: codec("jpegxl", lossless=True)(RGB16), RGB16, "- 8 dk dk"),
    "10-bit avif": (lambda: codec("avif", bitspersample=10)(RGB16 >> 6), None, "- 8 dk dk"),
    "10-bit heic": (lambda: heic(noise((64, 64, 3), "uint16")), None, "- 8 - -"),
    "float32 tiff": (lambda: tiff(F32), F32, "- - - k"),
    "float16 tiff": (lambda: tiff(F32.astype("f2")), F32.astype("f2"), "- - - dk"),
    "float64 tiff": (lambda: tiff(F32.astype("f8")), F32, "- - - dk"),
    "float32 bands": (lambda: tiff(noise((6, 5, 4), "float32")), noise((6, 5, 4), "float32"), "- - - dk"),
    "int16 tiff": (lambda: tiff(noise((6, 5), "int16")), noise((6, 5), "int16"), "- - - k"),
    "int32 tiff": (lambda: tiff(noise((6, 5), "int32") >> 8), noise((6, 5), "int32") >> 8, "- - - k"),
    "uint32 tiff": (lambda: tiff(noise((6, 5), "uint32") >> 8), noise((6, 5), "uint32") >> 8, "- - - dk"),
    "4 bands": (lambda: tiff(BANDS[:, :, :4]), BANDS[:, :, :4], "dk dk - dk"),
    "rgb and 2 bands": (lambda: tiff(BANDS[:, :, :5], photometric=2, extra=[0, 0]), BANDS[:, :, :5], "dk dk - dk"),
    "7 bands": (lambda: tiff(BANDS), BANDS, "dk dk - dk"),
    "rgba tiff": (lambda: tiff(BANDS[:, :, :4], photometric=2, extra=[2]), BANDS[:, :, :3], "k k - k"),
    "7 bands of 16 bits": (lambda: tiff(noise((6, 5, 7), "uint16")), noise((6, 5, 7), "uint16"), "- du dk dk"),
    "bool array": (lambda: npy(U8 > 99), (U8 > 99).astype("u1"), "k k - k"),
    "uint8 array": (lambda: npy(BANDS), BANDS, "k k - k"),
    "uint16 array": (lambda: npy(RGB16), RGB16, "- u k k"),
    "int16 array": (lambda: npy(noise((6, 5), "int16")), noise((6, 5), "int16"), "- - - k"),
    "float64 array": (lambda: npy(F32.astype("f8")), F32, "- - - k"),
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("extra", [True, False])
def test_each_kind_of_image_becomes_what_the_table_says(row, extra, monkeypatch):
    make, numbers, outcomes = ROWS[row]
    data = make()
    if not extra:
        monkeypatch.setitem(sys.modules, "tifffile", None)
    for wanted, outcome in zip((None, "uint8", "uint16", "float32"), outcomes.split(), strict=True):
        needs, result = outcome.startswith("d"), outcome[-1]
        header = probe(data)
        if extra and needs:
            importlib.import_module("tifffile")
        try:
            dtype = agree_on_type([header], wanted)
            shape = PixelShape(header.height, header.width, agree_on_channels([header]), dtype)
            pixels = to_pixels(data, "x", shape, None, narrow=wanted == "uint8")
        except DatasetError as error:
            fault = str(error)
        else:
            fault = ""
        if fault:
            assert result == "-" or (needs and not extra and "tiering[depth]" in fault), (wanted, fault)
            continue
        assert result != "-", wanted
        assert extra or not needs, wanted
        assert pixels.dtype == np.dtype(wanted or "uint8")
        if numbers is not None:
            expected = numbers.reshape(*numbers.shape[:2], -1)
            if result == "u":
                assert np.array_equal(pixels, expected >> 8)
            elif result == "k":
                assert np.array_equal(pixels, expected.astype(pixels.dtype))
