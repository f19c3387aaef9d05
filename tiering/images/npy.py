"""Read and write .npy files, NumPy's own format for one array: never with pickle.

Nothing is read before the header is checked.
"""

from __future__ import annotations

import io
import math
from typing import Final

import numpy as np

from tiering.arrays import AnyArray
from tiering.errors import DatasetError
from tiering.images.faults import damaged, refuse_huge
from tiering.images.layout import PixelLayout

#: How a .npy file begins.
NPY: Final = b"\x93NUMPY"

_READERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

#: The longest header to parse. Those of plain arrays have 128 bytes.
_LONGEST_HEADER: Final = 10_000
_LONGEST_HEAD: Final = 12 + _LONGEST_HEADER


def npy_document(array: AnyArray) -> bytes:
    """Return an array as a .npy document. Raises ValueError for Python objects."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def parse_npy(data: bytes | bytearray | memoryview) -> AnyArray:
    """Return the array of a .npy document of any shape, as a view of its bytes where their order allows it.

    Raises ValueError for anything else, for Python objects, and for more or fewer bytes than the header asks for.
    """
    shape, fortran, dtype, begin = _parsed(bytes(data[:_LONGEST_HEAD]))
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    if len(data) - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(data) - begin:,} bytes for an array of {dtype} of shape {shape}")
    return _array(data, dtype, begin, shape, fortran=fortran)


def _array(
    data: bytes | bytearray | memoryview,
    dtype: np.dtype[np.generic],
    begin: int,
    shape: tuple[int, ...],
    *,
    fortran: bool,
) -> AnyArray:
    """Return the array that begins at a byte and ends with the data."""
    numbers = np.frombuffer(data, dtype, offset=begin) if len(data) > begin else np.empty(0, dtype)
    return numbers.reshape(shape[::-1]).T if fortran else numbers.reshape(shape)


def _parsed(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[np.generic], int]:
    """Return the shape, the order, the type and the length of a header. Raises ValueError for a damaged one."""
    file = io.BytesIO(head)
    try:
        read = _READERS[np.lib.format.read_magic(file)]
        shape, fortran, dtype = read(file, max_header_size=_LONGEST_HEADER)
    except Exception as error:  # whatever the parser raises for hostile bytes
        raise ValueError(f"no .npy document ({error})") from error
    return shape, fortran, dtype, file.tell()


def npy_header(head: bytes, where: str) -> tuple[tuple[int, int, int], np.dtype[np.generic], bool, int]:
    """Read the header of a .npy file of pixels.

    head: at least the beginning of the file, with the whole header. where: the name for errors.
    Returns height, width and channels, the type of the numbers, whether they lie in Fortran's order, and where they
    begin. Raises DatasetError for a damaged header, for anything but numbers (object arrays are never unpickled), and
    for an array that is not of two or three dimensions.
    """
    try:
        shape, fortran, dtype, begin = _parsed(head)
    except ValueError as error:
        raise damaged(where, "a .npy file with a damaged header") from error
    if dtype.kind not in "buif" or dtype.hasobject or len(shape) not in (2, 3) or min(shape) < 1:
        raise DatasetError(
            where,
            expected="a .npy array of numbers, of shape (height, width) or (height, width, channels)",
            found=f"{dtype} of shape {shape}",
            action="Save it in that shape.",
        )
    height, width, channels = shape if len(shape) == 3 else (*shape, 1)
    refuse_huge(where, height, width, channels, dtype.itemsize)
    return (height, width, channels), dtype, fortran, begin


def npy_size(head: bytes, where: str) -> tuple[int, int]:
    """Return width and height of the array in a .npy file. Raises DatasetError as npy_header does."""
    height, width, _ = npy_header(head, where)[0]
    return width, height


def npy_layout(data: bytes | bytearray | memoryview, where: str) -> PixelLayout:
    """Return the layout of the array in a .npy file. Raises DatasetError as npy_header does."""
    sides, dtype, *_ = npy_header(bytes(data[:_LONGEST_HEAD]), where)
    # Truth values become 0 and 1.
    return PixelLayout("uint8" if dtype.kind == "b" else dtype.name, sides[2])


def decode_npy(data: bytes | bytearray | memoryview, where: str) -> AnyArray:
    """Return the array of a .npy file, in the byte order of this machine: (height, width, channels).

    Raises DatasetError as npy_header does, and for a file that is longer or shorter than its array.
    """
    sides, dtype, fortran, begin = npy_header(bytes(data[:_LONGEST_HEAD]), where)
    expected = begin + int(np.prod(sides)) * dtype.itemsize
    if len(data) != expected:
        raise damaged(where, f"a .npy file of {len(data):,} bytes, whose header asks for {expected:,}")
    pixels = _array(data, dtype, begin, sides, fortran=fortran)
    if dtype.kind == "b":
        return pixels.astype(np.uint8)
    return pixels.astype(dtype.newbyteorder("="), copy=False)
