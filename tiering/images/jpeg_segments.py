"""The segments of a JPEG before its pixels: its colour profile, how finely it is quantised, and what is metadata."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tiering.images.markers import Encoded, Span

_PROFILE: Final = b"ICC_PROFILE\0"
_EOI, _SOS, _DQT, _COMMENT = 0xD9, 0xDA, 0xDB, 0xFE
_APP0, _APP2, _ADOBE, _APP15 = 0xE0, 0xE2, 0xEE, 0xEF
#: A marker among the data of a scan, but for those that restart the decoder.
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

#: The luminance table of the JPEG standard (ITU-T T.81, K.1), which libjpeg scales by the quality. Its order does not
#: matter here.
_STANDARD: Final = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip


class Segment(NamedTuple):
    """A segment. marker: its second byte. span: of the whole segment in the file, its marker included."""

    marker: int
    span: Span


def segments_of(data: Encoded) -> list[Segment] | None:
    """Return the segments from the first one up to and without the start of the scan, in order.

    Returns None for a JPEG whose segments do not follow one another directly. Takes 3 us for the usual ten.
    """
    found: list[Segment] = []
    at, last = 2, len(data) - 4
    while at <= last and data[at] == 0xFF:
        marker, length = data[at + 1], data[at + 2] << 8 | data[at + 3]
        if marker == _SOS:
            return found
        if length < 2 or not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xD9:
            return None
        found.append(Segment(marker, (at, at + 2 + length)))
        at += 2 + length
    return None


def colour_profile(data: Encoded, segments: list[Segment]) -> bytes | None:
    """Return the ICC profile, which may be spread over many segments; None if there is none, or a part is missing."""
    parts: dict[int, bytes] = {}
    count = 0
    for marker, (start, stop) in segments:
        if marker == _APP2 and data[start + 4 : start + 4 + len(_PROFILE)] == _PROFILE:
            at = start + 4 + len(_PROFILE)
            count = data[at + 1] if at + 1 < stop else 0
            parts[data[at]] = bytes(data[at + 2 : stop])
    if not count or sorted(parts) != list(range(1, count + 1)):
        return None
    return b"".join(parts[number] for number in range(1, count + 1))


def is_finer(data: Encoded, segments: list[Segment], quality: int) -> bool:
    """Return whether brightness is quantised in finer steps than libjpeg's at a quality (1 to 100), on average."""
    table = _luminance_table(data, segments)
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    wanted = sum(min(max((step * scale + 50) // 100, 1), 255) for step in _STANDARD)
    return table is None or sum(table) < wanted


def without_metadata(data: Encoded, segments: list[Segment]) -> bytes:
    """Return a JPEG with the same pixels and without EXIF data, XMP, profile, thumbnails and comments.

    The segments of JFIF and Adobe stay, because they say what the colours are. What follows the picture goes, too:
    cameras append previews, depth maps and films, which have metadata of their own.
    Takes 90 us for 100 kB (one core).
    """
    kept = bytearray(data[:2])
    end = 2
    for marker, (start, stop) in segments:
        if not _is_metadata(marker, bytes(data[start + 4 : start + 9])):
            kept += data[start:stop]
        end = stop
    return bytes(kept + data[end : _end_of_picture(data, end)])


def _end_of_picture(data: Encoded, at: int) -> int:
    """Return where the first picture ends; where the data end if it is cut off. at: the start of its first scan."""
    while found := _MARKER.search(data, at):
        at = found.end()
        if data[at - 1] == _EOI:
            return at
        at += int.from_bytes(data[at : at + 2])
    return len(data)


def _is_metadata(marker: int, name: bytes) -> bool:
    """Return whether a segment says nothing about the pixels. name: its first five bytes."""
    if marker == _APP0:
        return name != b"JFIF\0"  # a thumbnail
    return marker == _COMMENT or (_APP0 < marker <= _APP15 and marker != _ADOBE)


def _luminance_table(data: Encoded, segments: list[Segment]) -> list[int] | None:
    """Return the 64 steps of table 0, which brightness has in every usual JPEG."""
    for marker, (start, stop) in segments:
        at = start + 4
        while marker == _DQT and at < stop:
            wide = data[at] >> 4 != 0
            size = 128 if wide else 64
            steps = bytes(data[at + 1 : at + 1 + size])
            if data[at] & 0xF == 0 and len(steps) == size:
                return [steps[i] << 8 | steps[i + 1] for i in range(0, size, 2)] if wide else list(steps)
            at += 1 + size
    return None
