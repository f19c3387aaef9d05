"""Colour profiles (ICC) of images: which are sRGB, and how pixels become sRGB.

A profile that cannot be read, or that belongs to another kind of pixels, counts as none, as in browsers.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from tiering.arrays import PixelArray

_MODES: Final = {1: "L", 3: "RGB", 4: "CMYK"}


@lru_cache(maxsize=64)
def is_srgb(profile: bytes) -> bool:
    """Return whether a profile calls itself sRGB, or cannot be read."""
    try:
        return "srgb" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).casefold()
    except (ImageCms.PyCMSError, OSError, ValueError):
        return True


def to_srgb(pixels: PixelArray, profile: bytes) -> PixelArray | None:
    """Convert pixels by their profile, with the profile's perceptual intent.

    pixels: uint8 (height, width, channels), of 1 channel for grey, 3 for RGB or 4 for CMYK. profile: see is_srgb.
    Returns grey for grey, else RGB; None if the profile is not one of such pixels.
    """
    mode = _MODES[pixels.shape[2]]
    transform = _transform(profile, mode)
    if transform is None:
        return None
    height, width = pixels.shape[:2]
    image = Image.frombytes(mode, (width, height), pixels.tobytes())
    converted = np.asarray(ImageCms.applyTransform(image, transform))
    return converted[:, :, :1] if mode == "L" else converted


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform to sRGB. Making one takes some milliseconds, and most images share a few profiles."""
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(found, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
