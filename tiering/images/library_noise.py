"""Noise: what Pillow and libtiff print about an image without naming it. Here it is turned off.

Whatever makes an image unusable reaches us as an exception too, and is told with the image's name. What is left are
remarks about metadata and padding.
"""

from __future__ import annotations

import ctypes
import logging
import warnings
from contextlib import suppress

from PIL import _imaging


def hush() -> None:
    """Silence Pillow's remarks about images, and libtiff's on stderr, in this process.

    Filters and log handlers that the program sets itself come first, whenever it sets them.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.", append=True)
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    # libtiff has no other way to tell of an error than to print it; Pillow then raises one of its own. Its functions
    # are found where Pillow's own library is linked with them.
    with suppress(OSError, AttributeError):
        core = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            set_handler = getattr(core, name)
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)
