"""For PyTorch: batches as tensors on a device. On a GPU, each is copied there while the one before is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from tiering.arrays import PixelArray
from tiering.cache.stats import CacheStats
from tiering.errors import MachineError, UsageError, needs_package
from tiering.serve.batches import Batch
from tiering.serve.faults import ContinuingIterator, Failed
from tiering.serve.states import State

if TYPE_CHECKING:
    from tiering.serve.loader import Loader

try:
    import torch

    from tiering.serve.device_copies import Arriving, Copies, CudaCopies, pinned_memory
    from tiering.serve.tensors import as_tensors
except ImportError as error:
    raise MachineError(
        "Loader.to", rule=needs_package("PyTorch", error), action="pip install 'tiering[torch]'"
    ) from error


@dataclass(frozen=True, repr=False)
class DeviceBatch(Batch):
    """A batch whose numbers are tensors on a device. Everything else is as in a `Batch`.

    Attributes:
        images: Crops, or pixels from a store, as a tensor (n, channels, height, width); with several views of each,
            (views, n, channels, height, width); a tuple of tensors for several crops. If the loader's batches have the
            channels last, so do these in memory (`torch.channels_last`). Decoded images are a list of tensors (3,
            height, width). Arrays that a transform made become tensors of their shape. Encoded images stay on the host.
        labels: int64 (n,), -1 for none.
        fields: Numbers, vectors and arrays are tensors. Numbers of a field that some samples lack stay a masked array:
            tensors have no mask.
    """

    images: Any
    labels: torch.Tensor

    def __repr__(self) -> str:
        return f"DeviceBatch({len(self):,} samples of {self.store!r} on {self.labels.device})"

    def __getitem__(self, name: str) -> Any:
        """Return a field of all samples by its name, as a Batch does; numbers as tensors on the device."""
        return as_tensors(super().__getitem__(name), self.labels.device)

    def to(self, device: Any) -> DeviceBatch:
        """Return the batch on another device; the batch itself if it is there already."""
        if self.labels.device == torch.device(device):
            return self
        moved = {name: as_tensors(getattr(self, name), device) for name in ("images", "labels", "fields")}
        return DeviceBatch(**_attributes(self) | moved)


class DeviceLoader:
    """The epochs of a Loader, with batches as tensors on a device. `Loader.to` makes it.

    The epochs, their order and their state are those of the Loader. On the CPU, tensors are views of the loader's
    arrays. On a GPU, the loader writes ready batches to pinned memory, and each batch is copied on a stream of its own
    while the training works on the one before. `state_dict` counts the batches that were handed out, not the one
    that is on its way. Do not iterate over the Loader itself at the same time.

    Args:
        loader: Its batches are served.
        device: "cuda", "cuda:1", "cpu", or a torch.device.
        channels_last: Whether the channels of the loader's images are their last axis; for several crops, of each.

    Raises:
        UsageError: There is no such device.
        MachineError: PyTorch cannot use the device on this machine.

    Example:
        for batch in loader.to("cuda").epoch(0):
            loss = train(batch.images, batch.labels)
    """

    def __init__(self, loader: Loader, device: Any, channels_last: bool | tuple[bool, ...] = True) -> None:
        self.loader, self.device = loader, _usable(device)
        copies = CudaCopies if self.device.type == "cuda" else Copies
        self._copies: Copies = copies(self.device, channels_last)
        self._last: _Iteration | None = None

    def __repr__(self) -> str:
        return f"DeviceLoader({self.loader!r}, {str(self.device)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the loader."""
        self.loader.close()

    @property
    def memory(self) -> Callable[[int], PixelArray] | None:
        """Allocates the host memory from which batches are copied; None for any."""
        return partial(pinned_memory, self.device) if self.device.type == "cuda" else None

    @property
    def current_epoch(self) -> int:
        """The epoch that is being served, or is next."""
        return self.loader.current_epoch

    def epoch(self, epoch: int) -> ContinuingIterator[DeviceBatch]:
        """Serve one epoch, from its start, or from the position of a loaded state of that epoch."""
        self.set_epoch(epoch)
        return iter(self)

    def __iter__(self) -> ContinuingIterator[DeviceBatch]:
        """Serve the next epoch, or the rest of the one whose state was loaded."""
        batches = self.loader.batches()
        self._last = iteration = _Iteration(len(self.loader))
        return ContinuingIterator(self._outcomes(batches, iteration))

    def __len__(self) -> int:
        """Return the number of batches, as the Loader does."""
        return len(self.loader)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration serves."""
        self._last = None
        self.loader.set_epoch(epoch)

    def state_dict(self, batches: int | None = None) -> State:
        """Return the position in the epochs, as the Loader does.

        Args:
            batches: How many batches of this iteration the training has finished; by default all that were handed out.
        """
        if batches is None and self._last is not None:
            batches = self._last.handed_out
        return self.loader.state_dict(batches)

    def load_state_dict(self, state: State) -> None:
        """Resume: the next iteration serves the rest of the saved epoch.

        Raises:
            UsageError: For a state with another order of samples, or a position outside the epoch.
        """
        self.loader.load_state_dict(state)
        self._last = None

    def stats(self) -> CacheStats | None:
        """Return the counts of the Loader."""
        return self.loader.stats()

    def _outcomes(self, batches: ContinuingIterator[Batch], iteration: _Iteration) -> Iterator[DeviceBatch | Failed]:
        copies, coming = self._copies, deque[Arriving | Failed]()
        handed_out: Arriving | None = None
        drawn, more = 0, True
        try:
            while True:
                copies.release(handed_out)
                handed_out = None
                # The loader moves on to the next epoch when it is asked for more than its last batch. So it is asked
                # for that only once the last batch was handed out.
                while more and len(coming) <= copies.ahead and (drawn < iteration.batches or not coming):
                    more = self._draw(batches, coming)
                    drawn += 1
                if not coming:
                    break
                iteration.handed_out += 1
                following = coming.popleft()
                if isinstance(following, Failed):
                    yield following
                    continue
                handed_out = following
                del following  # a reference would keep the loader's memory in use
                copies.finish(handed_out)
                yield DeviceBatch(**_attributes(handed_out.host) | handed_out.placed)
        finally:
            copies.release(handed_out)
            batches.close()
        if self._last is iteration:
            self._last = None

    def _draw(self, batches: Iterator[Batch], coming: deque[Arriving | Failed]) -> bool:
        """Draw a batch and begin to copy it. Return False at the end."""
        try:
            batch = next(batches, None)
            if batch is not None:
                coming.append(self._copies.begin(batch))
        except Exception as error:  # noqa: BLE001 - raised when its turn comes
            coming.append(Failed(error))
            return True
        return batch is not None


class _Iteration:
    """How many batches an iteration serves, and how many of them were handed out."""

    __slots__ = ("batches", "handed_out")

    def __init__(self, batches: int) -> None:
        self.batches, self.handed_out = batches, 0


def _attributes(batch: Batch) -> dict[str, Any]:
    return {each.name: getattr(batch, each.name) for each in fields(batch)}


def _usable(device: Any) -> torch.device:
    """Return a device, with its number if it is a GPU."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise UsageError(
            "device", rule='must be a device such as "cuda", "cuda:1" or "cpu"', found=repr(device)
        ) from error
    if found.type != "cuda":
        return found
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (found.index or 0) >= count:
        raise MachineError(
            "device", expected=str(found), found=f"{count} GPUs that PyTorch {torch.__version__} can use",
            action='See `nvidia-smi`, or use "cpu".',
        )  # fmt: skip
    return found if found.index is not None else torch.device("cuda", torch.cuda.current_device())
