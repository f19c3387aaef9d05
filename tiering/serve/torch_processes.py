"""The process that a dataset for PyTorch runs in: its rank, its worker, and how items leave it."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from io import BytesIO
from multiprocessing.reduction import ForkingPickler
from types import MappingProxyType
from typing import Any

import torch
from torch.utils.data import get_worker_info

from tiering.serve.ranks import Ranks
from tiering.serve.shared_iterations import Worker


def distributed_ranks() -> Ranks | None:
    """Return the rank in torch.distributed; None if it is not initialised, as in a spawned worker.

    Lightning initialises it after the program has made its datasets, so they ask for it whenever they need it.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    return None


class WorkerCounts:
    """Counts the iterations that this process has begun as a worker of a DataLoader."""

    def __init__(self) -> None:
        self._begun: Counter[tuple[int, int, int]] = Counter()

    def __reduce__(self) -> tuple[type[WorkerCounts], tuple[()]]:
        """Pickle without the counts: another process has begun none."""
        return WorkerCounts, ()

    def begin(self) -> Worker | None:
        """Return the worker that this process is, and count an iteration; None outside of workers."""
        info = get_worker_info()
        if info is None:
            return None
        seed = info.seed - info.id
        at = os.getpid(), info.id, seed
        self._begun[at] += 1
        return Worker(info.id, info.num_workers, seed, self._begun[at] - 1)


class Handover:
    """Lets a worker hand over memoryviews and read-only mappings, as bytes and dicts, in items of any shape.

    They cannot be pickled, and a queue drops an item that cannot be pickled: the DataLoader waits for it for ever. So
    the first item is also checked for other objects that cannot be pickled.
    """

    def __init__(self) -> None:
        self._process = 0

    def check(self, item: Any) -> None:
        """Check the first item of a worker.

        Raises:
            TypeError: It cannot be pickled.
        """
        if get_worker_info() is None or self._process == os.getpid():
            return
        self._process = os.getpid()
        ForkingPickler.register(memoryview, _as_bytes)
        ForkingPickler.register(MappingProxyType, _as_dict)
        try:
            _Check(BytesIO(), pickle.HIGHEST_PROTOCOL).dump(item)
        except Exception as error:
            message = f"a worker cannot hand over this item, because it cannot be pickled: {error}"
            raise TypeError(f"{message}. Return arrays, tensors, numbers, text or bytes from the transform.") from error


class _Check(ForkingPickler):
    def reducer_override(self, value: object) -> Any:
        """Leave tensors out: pickling them opens files, until another process receives them."""
        if isinstance(value, torch.Tensor | torch.UntypedStorage):
            return int, ()
        return NotImplemented


def _as_bytes(view: memoryview) -> tuple[type[bytes], tuple[bytes]]:
    return bytes, (bytes(view),)


def _as_dict(mapping: MappingProxyType[Any, Any]) -> tuple[type[dict[Any, Any]], tuple[dict[Any, Any]]]:
    return dict, (dict(mapping),)


def plain(value: Any) -> Any:
    """Return a view of encoded bytes as bytes, and anything else as it is."""
    return bytes(value) if isinstance(value, memoryview) else value
