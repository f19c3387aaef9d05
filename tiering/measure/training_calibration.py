"""Calibration of stores made for training: the time to make them, and to serve crops from them with the loader."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tiering.advice.cpu_costs import TrainingCosts, Work
from tiering.errors import DatasetError
from tiering.images.crops import RandomResizedCrop
from tiering.images.pixels import to_pixels
from tiering.images.reencoded import Reencoded
from tiering.images.reencoding import reencode
from tiering.images.shape import PixelShape
from tiering.images.training_formats import TRAINING_FORMATS
from tiering.literals import TrainingFormat
from tiering.measure.epoch_timing import beside, work_of
from tiering.packing.convert import convert
from tiering.packing.settings import Pixels
from tiering.store.open import open_store

#: Images that are re-encoded, at most.
_IMAGES: Final = 300


def training_costs(
    images: Path, scratch: Path, sides: tuple[int, int], start: float
) -> dict[TrainingFormat, TrainingCosts]:
    """Measure the processor time of each store made for training.

    It takes about 10 s for 300 photographs of 110 kB on two cores.

    Args:
        images: A directory of images.
        scratch: A directory for the stores.
        sides: Height and width of the random crops that are served.
        start: Seconds to start an epoch.

    Raises:
        DatasetError: No image can be re-encoded.
        OSError: A file cannot be read or written.
    """
    some = sorted(images.iterdir())[:_IMAGES]
    found: dict[TrainingFormat, TrainingCosts] = {}
    for name, how in TRAINING_FORMATS.items():
        made, store = scratch / f"{name} images", scratch / name
        if isinstance(how, Reencoded):
            make_s = _made(some, lambda data, key: reencode(data, key, how), made)  # noqa: B023 - called at once
            convert(made, store, "lmdb")
        else:
            make_s = _made(some, lambda data, key: to_pixels(data, key, how, "crop", narrow=True), made)  # noqa: B023
            convert(made, store, "zarr", pixels=Pixels(how.height, how.width), codec="none", on_error="skip")
        with open_store(store) as opened:
            # Crops are drawn straight from the maps of pixels.
            view = Work(0.0) if isinstance(how, PixelShape) else work_of(opened, start, serial=1.0)
            both = work_of(opened, start, images=RandomResizedCrop(sides, flip=0.5))
        found[name] = TrainingCosts(view, beside(view, both), make_s)
    return found


def _made(images: Sequence[Path], make: Callable[[bytes, str], Any], to: Path) -> float:
    """Make each image on one thread, write those that can be made to a directory, and return the mean seconds.

    Pixels are made for the time alone; their originals are linked in place of them.
    """
    to.mkdir()
    took = []
    for path in images:
        data = path.read_bytes()
        began = time.thread_time()
        try:
            made = make(data, path.name)
        except DatasetError:
            continue
        took.append(time.thread_time() - began)
        if isinstance(made, bytes):
            (to / f"{path.stem}.jpg").write_bytes(made)
        else:
            (to / path.name).hardlink_to(path)
    if not took:
        raise DatasetError(str(to), found="no image can be re-encoded")
    return sum(took) / len(took)
