"""Checks many small images in one call: those that `check_image` would accept at once."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tiering.arrays import IndexArray, MaskArray

try:
    from tiering.images import _whole
except ImportError:
    NATIVE = False
else:
    #: Whether the C extension is there.
    NATIVE = True


def plainly_whole(data: memoryview, sizes: IndexArray) -> MaskArray:
    """Return which images are plainly whole: JPEG, PNG and WebP whose header and end are right, bool (n,).

    data: images end to end. sizes: int64 (n,), bytes of each. `check_image` accepts these too; only it can tell whether
    the others are whole. Only with the C extension. About 0.05 us an image (one core).
    """
    whole = np.zeros(len(sizes), dtype=np.bool_)
    limit = Image.MAX_IMAGE_PIXELS
    _whole.whole_images(data, sizes, whole, (1 << 64) - 1 if limit is None else 2 * limit)
    return whole
