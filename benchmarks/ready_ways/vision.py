"""torchvision, also where its compiled operators fit another build of PyTorch, such as a wheel with CUDA beside one
without. Crops need none of them, but importing torchvision asks for two.
"""

from __future__ import annotations

import torch

try:
    import torchvision.transforms.v2
except RuntimeError:  # Its library could not be loaded, so the operators are unknown: declare them.
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision.transforms.v2

VERSION: str = torchvision.__version__
ImageFolder, transforms, v2 = torchvision.datasets.ImageFolder, torchvision.transforms, torchvision.transforms.v2
