"""The check of a batch accepts only what the check of each image accepts at once."""

from __future__ import annotations

import io
import math
import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.examples import examples
from tests.trees import picture
from tiering.errors import DatasetError
from tiering.images.image import check_image
from tiering.images.whole import NATIVE, plainly_whole


def saved(kind, **options):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (9, 11, 3), dtype=np.uint8)).save(file, kind, **options)
    return file.getvalue()


def exif():
    found = Image.Exif()
    found[0x0112] = 6
    return found


PLAIN = [
    picture(),
    picture(mode="L"),
    picture(mode="CMYK"),
    saved("JPEG", progressive=True, exif=exif()),
    b"\xff\xd8" + b"\xff\xe1\0\x04ab" * 50 + picture()[2:],
    picture(format="PNG"),
    saved("WEBP"),
    saved("WEBP", lossless=True),
    saved("WEBP", exif=exif()),
    saved("WEBP") + b"more",
]


def whole(images):
    data = memoryview(b"".join(images))
    return plainly_whole(data, np.array([len(image) for image in images], dtype=np.int64)).tolist()


def test_it_is_built_here():
    assert NATIVE, "python -m tiering.images.build_extension tells why not"


def test_usual_images_are_plainly_whole():
    assert whole(PLAIN) == [True] * len(PLAIN)
    for image in PLAIN:
        check_image(image, "image")


def test_whatever_needs_a_decoder_or_an_error_is_not():
    jpeg, png, webp = picture(), picture(format="PNG"), saved("WEBP")
    doubtful = [
        b"", b"\xff\xd8\xff", jpeg[:31], jpeg[:-1], jpeg + b"\0", png[:-1], png + b"\0", webp[:-1], b"no image" * 9,
        picture(format="GIF"), picture(format="BMP"), b"\xff\xd8" + b"\xff\xe1\0\x02" * 101 + jpeg[2:],
        png.replace(b"IHDR", b"IHDX"), png[:16] + struct.pack(">II", 60_000, 60_000) + png[24:],
    ]  # fmt: skip
    every = [image for pair in zip(doubtful, [jpeg] * len(doubtful), strict=True) for image in pair]
    assert whole(every) == [False, True] * len(doubtful)


def test_the_limit_of_pixels_is_pillows(monkeypatch):
    png = picture(16, 12, "PNG")
    for limit in (None, 1e9, math.inf, 1 << 63, 96, 95.5, 95, 0, -1):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert whole([png, picture(16, 12)]) == [limit is None or limit >= 96] * 2


@given(st.sampled_from(PLAIN), st.data())
@settings(max_examples=examples(600))
def test_it_accepts_nothing_that_the_check_of_one_image_refuses(image, data):
    spoiled = bytearray(image[: data.draw(st.integers(0, len(image)))] if data.draw(st.booleans()) else image)
    for _ in range(data.draw(st.integers(0, 4)) if spoiled else 0):
        at = data.draw(st.integers(0, min(len(spoiled), data.draw(st.sampled_from([32, 700, 10**6]))) - 1))
        spoiled[at] = data.draw(st.sampled_from([0, 1, 0xC0, 0xC4, 0xD9, 0xFF, random.Random(at).randrange(256)]))
    if whole([bytes(spoiled)]) == [True]:
        try:
            check_image(bytes(spoiled), "image")
        except DatasetError as error:
            pytest.fail(f"accepted {bytes(spoiled)[:40]!r}: {error}")


@pytest.mark.parametrize("sizes", [[9], [-1], [1 << 62, 1 << 62]])
def test_sizes_that_do_not_fit_are_refused(sizes):
    with pytest.raises(ValueError, match="end to end"):
        plainly_whole(memoryview(b"12345678"), np.array(sizes))
