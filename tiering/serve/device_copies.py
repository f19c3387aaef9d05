"""Copies of batches to a device: at once, or on a stream of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tiering.arrays import PixelArray
from tiering.serve.batches import Batch
from tiering.serve.tensors import Place, channels_first, placed


@dataclass(frozen=True)
class Arriving:
    """A batch on its way to a device.

    Attributes:
        host: The batch in host memory.
        placed: Its attributes on the device, by name.
        tensors: All tensors in them.
        copied: Recorded behind the copies; None if they were made at once.
    """

    host: Batch
    placed: dict[str, Any]
    tensors: list[torch.Tensor] = field(default_factory=list)
    copied: Any = None


class Copies:
    """Copies batches to a device when they are asked for. To the CPU nothing is copied.

    Args:
        device: Where tensors go.
        channels_last: As for DeviceLoader.
    """

    #: Batches to copy ahead of the one that is handed out.
    ahead = 0

    def __init__(self, device: torch.device, channels_last: bool | tuple[bool, ...]) -> None:
        self.device, self._channels_last = device, channels_last

    def begin(self, batch: Batch) -> Arriving:
        """Begin to copy a batch."""
        return Arriving(batch, self._placed(batch, lambda tensor: tensor.to(self.device)))

    def finish(self, batch: Arriving) -> None:
        """Let the current stream wait for a batch, before it is handed out."""

    def release(self, batch: Arriving | None) -> None:
        """Wait until a batch, if there is one, no longer needs its host memory."""

    def _placed(self, batch: Batch, place: Place) -> dict[str, Any]:
        images, last = placed(batch.images, place), self._channels_last
        if isinstance(last, bool):
            images = channels_first(images) if last else images
        else:
            images = tuple(channels_first(one) if each else one for one, each in zip(images, last, strict=True))
        labels = placed(batch.labels.astype(np.int64), place)
        fields: Mapping[str, Any] = {name: placed(values, place) for name, values in batch.fields.items()}
        return {"images": images, "labels": labels, "fields": fields}


class CudaCopies(Copies):
    """Copies batches to a GPU on a stream of its own, one batch ahead.

    A copy is asynchronous only from pinned memory. The loader's buffers are pinned (`pinned_memory`), and copied from
    directly. Anything else is copied to pinned memory first.

    The memory of a buffer is used again when nothing refers to it. So the batch in host memory is kept until its
    copies are done (`release`). The device's memory belongs to the stream of the copies; `record_stream` keeps it
    until the stream that uses the batch is done with it.
    """

    ahead = 1

    def __init__(self, device: torch.device, channels_last: bool | tuple[bool, ...]) -> None:
        super().__init__(device, channels_last)
        self._stream = torch.cuda.Stream(device)

    def begin(self, batch: Batch) -> Arriving:
        """Begin to copy a batch."""
        tensors: list[torch.Tensor] = []

        def place(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.device.type == "cpu" and not tensor.is_pinned():
                tensor = tensor.pin_memory()
            tensors.append(tensor.to(self.device, non_blocking=True))
            return tensors[-1]

        with torch.cuda.stream(self._stream):
            found = self._placed(batch, place)
            return Arriving(batch, found, tensors, self._stream.record_event())

    def finish(self, batch: Arriving) -> None:
        """Let the current stream wait for a batch, before it is handed out."""
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(batch.copied)
        for tensor in batch.tensors:
            tensor.record_stream(stream)

    def release(self, batch: Arriving | None) -> None:
        """Wait until a batch, if there is one, no longer needs its host memory."""
        if batch is not None:
            batch.copied.synchronize()


def pinned_memory(device: torch.device, nbytes: int) -> PixelArray:
    """Return host memory from which a GPU can copy asynchronously: uint8 (nbytes,)."""
    with torch.cuda.device(device):
        memory: PixelArray = torch.empty(nbytes, dtype=torch.uint8, pin_memory=True).numpy()
    return memory
