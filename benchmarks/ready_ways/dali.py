"""NVIDIA DALI on the CPU: it decodes only the crop, on two threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from nvidia.dali import fn, pipeline_def, types

PACKAGES = ("nvidia-dali-cuda120",)
#: Its queue is filled all the time, so an epoch begins once the queue was emptied.
LEAD = 2


def opened(source: str, batch: int, *, antialias: bool) -> Callable[[int], Iterator[Any]]:
    @pipeline_def(batch_size=batch, num_threads=2, device_id=None, prefetch_queue_depth=LEAD, seed=0)
    def ready() -> Any:
        files, _ = fn.readers.file(file_root=source, shuffle_after_epoch=True, name="files")
        images = fn.decoders.image_random_crop(
            files, device="cpu", output_type=types.RGB, random_area=[0.08, 1], random_aspect_ratio=[3 / 4, 4 / 3],
            num_attempts=10,
        )  # fmt: skip
        images = fn.resize(images, resize_x=224, resize_y=224, interp_type=types.INTERP_LINEAR, antialias=antialias)
        return fn.crop_mirror_normalize(
            images, dtype=types.UINT8, output_layout="CHW", mean=[0.0], std=[1.0], mirror=fn.random.coin_flip()
        )

    pipeline = ready()
    pipeline.build()
    batches = pipeline.epoch_size("files") // batch

    def epoch(_: int) -> Iterator[Any]:
        for _ in range(LEAD + batches):
            (images,) = pipeline.run()
            yield np.asarray(images.as_tensor())

    return epoch
