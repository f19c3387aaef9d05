"""The decoders of the extra `depth`, tifffile and imagecodecs, which are imported only here."""

from __future__ import annotations

import io
import logging
from typing import Final

import numpy as np

from tiering.arrays import AnyArray
from tiering.images.faults import missing_decoder

#: Functions of imagecodecs, by Pillow's name of the format. They keep the numbers of the file.
DECODERS: Final = {"PNG": "png_decode", "JPEG2000": "jpeg2k_decode", "JXL": "jpegxl_decode", "AVIF": "avif_decode"}


def require(where: str, image: str) -> None:
    """Raise FormatError if the decoders are not installed. image: what needs them, with its article."""
    try:
        import imagecodecs  # noqa: F401, PLC0415
        import tifffile  # noqa: F401, PLC0415
    except ImportError:
        raise missing_decoder(where, image, "depth") from None
    # Remarks about metadata, which do not name the file. Log handlers of the program take precedence.
    logging.getLogger("tifffile").addHandler(logging.NullHandler())


def first_page(data: bytes | bytearray | memoryview) -> tuple[AnyArray, str]:
    """Decode the first page of a TIFF. Return its array and the names of its axes: Y, X and S for bands.

    Raises any exception for hostile bytes.
    """
    import tifffile  # noqa: PLC0415

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        return np.asarray(page.asarray(maxworkers=1)), str(page.axes)


def decode_deep(kind: str, data: bytes | bytearray | memoryview) -> AnyArray:
    """Decode an image of one of DECODERS' formats, of shape (height, width, channels).

    Raises any exception for hostile bytes.
    """
    import imagecodecs  # noqa: PLC0415

    pixels = np.asarray(getattr(imagecodecs, DECODERS[kind])(bytes(data)))
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]
