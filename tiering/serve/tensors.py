"""Arrays as tensors of PyTorch, which share their memory where they can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

#: Puts a tensor where it should be.
Place = Callable[[torch.Tensor], torch.Tensor]


def as_tensors(value: Any, device: Any) -> Any:
    """Return a value with its arrays as tensors on a device; see `placed`."""
    return placed(value, lambda tensor: tensor.to(device))


def placed(value: Any, place: Place) -> Any:
    """Return a value with its arrays and tensors placed, also those in lists, tuples and dicts.

    Masked arrays stay arrays, because a tensor has no mask; so do arrays of anything but numbers.

    Args:
        value: Anything.
        place: Is called with each tensor. Those of arrays share the memory of the array, unless it is read-only.
    """
    if isinstance(value, torch.Tensor):
        return place(value)
    if isinstance(value, np.ndarray):
        if isinstance(value, np.ma.MaskedArray) or value.dtype.kind not in "biufc":
            return value
        return place(torch.from_numpy(value if value.flags.writeable else value.copy()))
    if isinstance(value, dict):
        return {name: placed(each, place) for name, each in value.items()}
    if isinstance(value, list | tuple):
        parts = [placed(each, place) for each in value]
        named = hasattr(value, "_fields")  # a named tuple takes its values one by one
        return parts if isinstance(value, list) else type(value)(*parts) if named else tuple(parts)
    return value


def channels_first(images: Any) -> Any:
    """Return tensors (..., height, width, channels) as (..., channels, height, width), without a copy."""
    if isinstance(images, torch.Tensor):
        return images.movedim(-1, -3) if images.ndim >= 3 else images
    return [channels_first(each) for each in images] if isinstance(images, list) else images
