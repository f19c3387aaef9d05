"""What is read of a header in one go is what Pillow says of the whole file."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.trees import FIXTURES, picture, put
from tiering.dataset.header_reads import inspect_files
from tiering.images.image import ImageHeader

CASES = [
    *(("JPEG", mode) for mode in ("L", "RGB", "CMYK")),
    *(("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("WEBP", mode) for mode in ("RGB", "RGBA")),
    *(("BMP", "RGB"), ("GIF", "P"), ("TIFF", "RGB"), ("TIFF", "L"), ("PPM", "RGB")),
]


@pytest.mark.parametrize(("kind", "mode"), CASES)
@pytest.mark.parametrize("sides", [(1, 1), (16, 12), (300, 7)])
def test_every_format_and_mode_is_what_pillow_says(tmp_path: Path, kind: str, mode: str, sides: tuple[int, int]):
    buffer = io.BytesIO()
    Image.new(mode, sides).save(buffer, kind)
    put(tmp_path, "a/x.img", buffer.getvalue())
    image = Image.open(tmp_path / "a" / "x.img")
    assert inspect_files(os.fsencode(tmp_path), [b"a/x.img"]) == [ImageHeader(kind, *sides, image.mode)]


def test_the_fixture_images_are_what_pillow_says():
    paths = sorted(path for path in FIXTURES.rglob("*") if path.is_file())
    found = inspect_files(os.fsencode(FIXTURES), [os.fsencode(path.relative_to(FIXTURES)) for path in paths])
    images = [Image.open(path) for path in paths]
    assert found == [ImageHeader(str(image.format), image.width, image.height, image.mode) for image in images]


def test_a_long_thumbnail_before_the_sides_is_read_over(tmp_path: Path):
    plain = picture(40, 30)
    filler = b"".join(b"\xff\xe2\xea\x62" + b"\0" * 60_000 for _ in range(3))
    put(tmp_path, "far.jpg", plain[:2] + filler + plain[2:])
    put(tmp_path, "near.jpg", plain[:2] + filler[:60_004] + plain[2:])
    header = ImageHeader("JPEG", 40, 30, "RGB")
    assert inspect_files(os.fsencode(tmp_path), [b"far.jpg", b"near.jpg"]) == [header, header]


def test_what_is_no_whole_image_is_named(tmp_path: Path):
    good = picture(64, 64)
    png = picture(8, 8, "PNG")
    header = b"IHDR" + (200_000).to_bytes(4, "big") * 2 + png[24:29]
    bomb = png[:12] + header + zlib.crc32(header).to_bytes(4, "big") + png[33:]
    cases = {
        b"zero.jpg": (b"", "zero bytes"),
        b"cut.jpg": (good[:-50], "a truncated JPEG"),
        b"cut.png": (png[:-5], "a truncated PNG"),
        b"text.jpg": (b"<html>", "no known image format (begins with 3c 68 74 6d)"),
        b"bomb.png": (bomb, "a header that claims too many pixels"),
    }
    for name, (data, _) in cases.items():
        put(tmp_path, name, data)
    put(tmp_path, "padded.jpg", good + b"\0" * 100)
    keys = [*cases, b"padded.jpg", b"gone.jpg"]
    *found, padded, gone = inspect_files(os.fsencode(tmp_path), keys)
    for seen, (_, said) in zip(found, cases.values(), strict=True):
        assert isinstance(seen, str)
        assert seen.startswith(said)
    assert padded == ImageHeader("JPEG", 64, 64, "RGB")
    assert gone == "cannot be read: no such file or directory"
