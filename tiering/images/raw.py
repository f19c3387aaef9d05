"""Raw arrays: files that hold the numbers of one array and nothing else, so that the caller must give its shape.

The numbers lie row by row, the channels of a pixel next to each other, in little-endian order: as in a pixel store.
"""

from __future__ import annotations

from tiering.images.faults import damaged
from tiering.images.formats import HEAD, format_of, is_raw_name
from tiering.images.image import ImageHeader
from tiering.images.layout import PixelLayout
from tiering.images.markers import Encoded
from tiering.images.shape import PixelShape, size_text
from tiering.text import display
from tiering.units import counted


def is_raw_array(data: Encoded, key: bytes, shape: PixelShape) -> bool:
    """Return whether a file is a raw array: its name ends in .raw or .bin, and it has the bytes of the shape.

    data: the file. key: its path. Raises DatasetError for a file of such a name that has another size and is no image.
    """
    if not is_raw_name(key):
        return False
    if len(data) == shape.nbytes:
        return True
    if format_of(bytes(data[:HEAD])) is not None:
        return False
    layout = f"{counted(shape.channels, 'channel')} of {shape.dtype}"
    raise damaged(
        display(key),
        f"a raw array of {len(data):,} bytes: {size_text(shape.height, shape.width)} pixels with {layout} have "
        f"{shape.nbytes:,}",
    )


def raw_header(shape: PixelShape) -> ImageHeader:
    """Return the header that a raw array would have."""
    return ImageHeader("RAW", shape.width, shape.height, "", PixelLayout(shape.dtype, shape.channels))
