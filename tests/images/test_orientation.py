"""Orientation: a picture is turned exactly as Pillow turns it, whatever the type and the place of the entry."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from tests.examples import examples
from tiering.images.image import decode
from tiering.images.pixels import to_pixels
from tiering.images.shape import PixelShape

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

COLOURS = np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8)

#: TIFF 6.0, section 2, and the types that came later: number, struct's letter, bytes of one.
TYPES = [
    (1, "B"), (2, "s"), (3, "H"), (4, "L"), (5, "LL"), (6, "b"), (7, "B"), (8, "h"), (9, "l"), (10, "ll"),
    (11, "f"), (12, "d"), (13, "L"), (16, "Q"), (99, "H"),
]  # fmt: skip


def exif(order: str, kind: int, letter: str, value: int, count: int = 1, *before: bytes) -> bytes:
    """EXIF data with one orientation, of some type: in its entry, or behind it where it does not fit."""
    packed = b"%d" % value if letter == "s" else struct.pack(order + letter, *(value, 1)[: len(letter)])
    data = packed * count
    entries = len(before) + 1
    inside = len(data) <= 4
    field = data.ljust(4, b"\0") if inside else struct.pack(order + "L", 8 + 2 + 12 * entries + 4)
    entry = struct.pack(order + "HHL", 0x0112, kind, count) + field
    magic = (b"MM" if order == ">" else b"II") + struct.pack(order + "HL", 42, 8)
    directory = struct.pack(order + "H", entries) + b"".join(before) + entry + bytes(4)
    return b"Exif\0\0" + magic + directory + (b"" if inside else data)


def xmp(orientation: int, *, element: bool = False) -> bytes:
    said = f"<tiff:Orientation>{orientation}</tiff:Orientation>" if element else ""
    attribute = "" if element else f' tiff:Orientation="{orientation}"'
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"{attribute}>{said}'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def encoded(kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(COLOURS).save(file, kind, **options)
    return file.getvalue()


def as_pillow_shows_it(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def assert_as_pillow(data: bytes) -> None:
    seen = as_pillow_shows_it(data)
    assert np.array_equal(decode(data), seen)
    assert np.array_equal(to_pixels(data, "x", PixelShape(*seen.shape), None), seen)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("kind", "letter"), TYPES)
def test_an_orientation_of_any_type_turns_as_in_pillow(order, kind, letter):
    for value in (0, 1, 6, 8, 9):
        for count in (1, 2):
            data = exif(order, kind, letter, value, count)
            for format_ in ("JPEG", "PNG", "WEBP"):
                assert_as_pillow(encoded(format_, exif=data))


@pytest.mark.parametrize("order", "<>")
def test_a_long_turns_the_picture_and_a_byte_does_not(order):
    turned = decode(encoded("PNG", exif=exif(order, 4, "L", 6)))
    assert np.array_equal(turned, np.rot90(COLOURS, -1))
    assert np.array_equal(decode(encoded("PNG", exif=exif(order, 1, "B", 6))), COLOURS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("element", [False, True])
def test_xmp_turns_the_picture_where_exif_names_no_orientation(kind, element):
    without = exif("<", 99, "H", 6)
    for orientation in range(10):
        packet = xmp(orientation, element=element)
        for options in ({}, {"exif": without}):
            data = with_xmp(encoded(kind, **options), kind, packet)
            assert b"tiff:Orientation" in data
            assert_as_pillow(data)
    shape = decode(with_xmp(encoded(kind), kind, xmp(6))).shape
    assert shape == (8, 6, 3)


def test_exif_counts_before_xmp_even_where_it_asks_for_no_turn():
    for orientation in (1, 3):
        data = with_xmp(encoded("JPEG", exif=exif("<", 3, "H", orientation)), "JPEG", xmp(6))
        assert decode(data).shape == (6, 8, 3)
        assert_as_pillow(data)


def test_a_tiff_is_turned_once_and_its_own_entry_counts_before_xmp():
    for orientation in range(1, 9):
        for more in ({}, {700: xmp(6)}, {700: xmp(orientation)}):
            assert_as_pillow(encoded("TIFF", tiffinfo={0x0112: orientation, **more}))
    assert_as_pillow(encoded("TIFF", tiffinfo={700: xmp(6)}))


def test_the_profile_of_imagemagick_turns_a_png():
    data = exif("<", 3, "H", 6)
    text = f"\nexif\n{len(data):8}\n{data.hex()}\n"
    info = PngInfo()
    info.add_text("Raw profile type exif", text)
    assert decode(encoded("PNG", pnginfo=info)).shape == (8, 6, 3)


def test_metadata_in_several_segments_of_a_jpeg_are_all_looked_at():
    camera = b"\xff\xe1" + struct.pack(">H", 2 + 20) + b"http://other.example"
    plain = encoded("JPEG")
    for packets in ([xmp(6)], [xmp(3), xmp(6)], [xmp(6), xmp(9)]):
        segments = camera + b"".join(segment(packet) for packet in packets)
        assert_as_pillow(plain[:2] + segments + plain[2:])


@settings(max_examples=examples(200))
@given(
    order=st.sampled_from("<>"),
    kind=st.integers(0, 20),
    count=st.sampled_from([0, 1, 2, 3, 1 << 30]),
    field=st.binary(min_size=4, max_size=4),
    rest=st.binary(max_size=24),
    cut=st.integers(0, 40),
)
def test_no_entry_makes_an_image_unreadable(order, kind, count, field, rest, cut):
    entry = struct.pack(order + "HHL", 0x0112, kind, count) + field
    magic = (b"MM" if order == ">" else b"II") + struct.pack(order + "HL", 42, 8)
    data = (b"Exif\0\0" + magic + struct.pack(order + "H", 1) + entry + rest)[: 6 + 8 + cut]
    for kind_of_file in ("JPEG", "PNG"):
        image = encoded(kind_of_file, exif=data)
        try:
            expected = as_pillow_shows_it(image)
        except Exception:  # noqa: BLE001 - Pillow raises anything for such data
            assert decode(image).size == COLOURS.size
        else:
            assert np.array_equal(decode(image), expected)


def segment(packet: bytes) -> bytes:
    body = b"http://ns.adobe.com/xap/1.0/\0" + packet
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def with_xmp(data: bytes, kind: str, packet: bytes) -> bytes:
    """Put an XMP packet where the format keeps it."""
    if kind == "JPEG":
        return data[:2] + segment(packet) + data[2:]
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        image = Image.open(io.BytesIO(data))
        file = io.BytesIO()
        image.save(file, "PNG", pnginfo=info, **({"exif": image.info["exif"]} if "exif" in image.info else {}))
        return file.getvalue()
    image = Image.open(io.BytesIO(data))
    file = io.BytesIO()
    image.save(file, kind, xmp=packet, lossless=True, **({"exif": image.info["exif"]} if "exif" in image.info else {}))
    return file.getvalue()
