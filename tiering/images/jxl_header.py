"""The type of the numbers in a JPEG XL file, which Pillow's plugin does not report (ISO/IEC 18181-1, annex D)."""

from __future__ import annotations

from typing import Final

#: Distributions of a size, as numbers of bits: 1 is added to what they hold.
_SIDES: Final = (9, 13, 18, 30)


class _Bits:
    """Reads fields of a codestream, least significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise EOFError
        found = self._value & ((1 << count) - 1)
        self._value, self._left = self._value >> count, self._left - count
        return found


def jxl_dtype(data: bytes) -> str | None:
    """Return the NumPy type that holds the numbers of a JPEG XL image; None if its header is unusual.

    data: the beginning of the file, or all of it.
    """
    start = 0
    if not data.startswith(b"\xff\x0a"):
        box = max(data.find(b"jxlc"), data.find(b"jxlp"))
        start = data.find(b"\xff\x0a", box, box + 16) if box >= 0 else -1
    if start < 0:
        return None
    try:
        return _dtype(_Bits(data[start + 2 : start + 34]))
    except EOFError:
        return None


def _dtype(bits: _Bits) -> str | None:
    _skip_size(bits)
    if bits.take(1):
        return "uint8"
    if bits.take(1):
        bits.take(3)  # orientation
        if bits.take(1):
            _skip_size(bits)
        if bits.take(1) or bits.take(1):  # a preview, or an animation
            return None
    floating = bits.take(1)
    choice = bits.take(2)
    depth = ((32, 16, 24) if floating else (8, 10, 12))[choice] if choice < 3 else 1 + bits.take(6)
    if floating:
        return "float16" if depth <= 16 else "float32"
    return "uint8" if depth <= 8 else "uint16" if depth <= 16 else "uint32"


def _skip_size(bits: _Bits) -> None:
    small = bits.take(1)
    bits.take(5 if small else _SIDES[bits.take(2)])
    if not bits.take(3):  # else the width follows from a ratio
        bits.take(5 if small else _SIDES[bits.take(2)])
