"""Calibration: the processor time to serve images in each format, measured on this machine with the loader."""

from __future__ import annotations

import mmap
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tiering.advice.cpu_costs import Coding, Costs, Work
from tiering.advice.device_time import BATCH_SAMPLES
from tiering.dataset.training_copy import VIEW
from tiering.errors import UsageError
from tiering.images.crops import RandomResizedCrop
from tiering.images.pixels import to_pixels
from tiering.images.shape import PixelShape
from tiering.io_sizes import PREFETCH_BYTES
from tiering.measure.epoch_timing import ROUNDS, beside, cold_seconds, least_seconds, work_of
from tiering.measure.training_calibration import training_costs
from tiering.packing.convert import convert
from tiering.packing.settings import Pixels
from tiering.storage.scratch import temporary_directory
from tiering.store.open import open_store
from tiering.store.protocol import Store
from tiering.store.sample import Sample
from tiering.system.page_cache import drop

#: Codecs of pixels that are measured by default.
CODECS: Final = ("zstd", "blosc-lz4")
#: Images to measure with, at most.
_MOST_IMAGES: Final = 16_384
#: Bytes to serve, encoded or as rows of pixels: more than processors keep in their caches. Copying a view of 110 kB
#: took 12 us out of 32 MiB, and 18 us out of 64 MiB and more.
MOST_SERVED_BYTES: Final = 128 << 20
#: Encoded bytes to decode at most, because decoding is slow.
_MOST_DECODED: Final = 32 << 20
#: B from which NumPy asks for huge pages.
_HUGE: Final = 4 << 20


def calibrate(
    images: Sequence[Path],
    shape: tuple[int, int] | None = None,
    *,
    codecs: Sequence[str] = CODECS,
    scratch: Path | None = None,
    seed: int = 0,
    reencoded: bool = False,
) -> Costs:
    """Measure the processor time of serving images, by packing a random sample of them and reading it warm.

    It takes some ten seconds.

    Args:
        images: Files of the dataset. Up to 16,384 of them are copied, until there are 128 MiB as they are served:
            encoded, or rows of pixels.
        shape: (height, width) in pixels to which training brings images; None measures no stores of pixels, and
            decoding as random crops of 224 x 224.
        codecs: Codecs of pixels to measure.
        scratch: Directory for the copies; by default that for temporary files. They are removed at the end.
        seed: Seed of the sample.
        reencoded: Also measure stores made for training, with 300 of the images. Originals and they are served as
            random resized crops (`RandomResizedCrop`) of `shape`, so that the two can be compared.

    Returns:
        The costs, for `recommend`.

    Raises:
        UsageError: No images are given, as those of a dataset behind a URL or in tar files.
        DatasetError: An image cannot be decoded.
        OSError: A file cannot be read, or the copies cannot be written.

    Example:
        >>> costs = tiering.calibrate(sorted(Path("photos").rglob("*.jpg")), (224, 224))  # doctest: +SKIP
        >>> tiering.recommend(profile, costs=costs).choice.format  # doctest: +SKIP
        'pixels'
    """
    if not images:
        raise UsageError(
            "images", rule="needs files on this machine",
            action="Download or unpack some of the dataset's images, and calibrate with those.",
        )  # fmt: skip
    with temporary_directory(scratch) as work:
        some = work / "images"
        _copy_some(images, some, seed, 0 if shape is None else 3 * shape[0] * shape[1])
        folder = open_store(some)
        convert(some, work / "lmdb", "lmdb", on_error="skip")
        touch, fill = _first_time(work / "lmdb")  # first of all: mapped files cannot be dropped from memory
        packed = open_store(work / "lmdb")
        view = work_of(packed, least_seconds(packed), serial=1.0)
        # All other ways start threads that read.
        start = least_seconds(folder)
        file = work_of(folder, start)
        announce = _announcing(folder)
        row, codings = Work(0.0), {}
        sides = shape or (VIEW, VIEW)
        fresh = _new_memory(BATCH_SAMPLES * 3 * sides[0] * sides[1])
        mean = packed.manifest.image_bytes / len(packed)
        cropped = reencoded or shape is None
        ready = {"images": RandomResizedCrop(sides, flip=0.5)} if cropped else {"transform": _decoder(sides)}
        decode = beside(view, work_of(packed, start, limit=max(1, round(_MOST_DECODED / mean)), **ready))
        if shape is not None:
            convert(some, work / "none", "zarr", pixels=Pixels(*shape), codec="none", on_error="skip")
            row = work_of(open_store(work / "none"), start)
            for codec in codecs:
                convert(some, work / codec, "zarr", pixels=Pixels(*shape), codec=codec, on_error="skip")
                codings[codec] = _coding(work / codec, start)
        training = training_costs(some, work, sides, start) if reencoded else {}
    codings = _held_alike(codings)
    return Costs(
        view=view,
        file=file,
        decode=decode,
        row=row,
        codings=codings,
        start_s=start,
        fill=fill,
        touch=touch,
        tell_file_s=announce,
        fresh=fresh,
        measured=True,
        training=training,
    )


def _copy_some(images: Sequence[Path], to: Path, seed: int, row: int) -> None:
    """Copy a random sample. row: bytes of a row of pixels; 0 where images are served encoded."""
    to.mkdir()
    drawn = np.random.default_rng(seed).permutation(len(images))[:_MOST_IMAGES]
    copied = 0
    for number, at in enumerate(drawn.tolist()):
        path = images[at]
        shutil.copyfile(path, to / f"{number:06d}{path.suffix}")
        copied += row or path.stat().st_size
        if copied >= MOST_SERVED_BYTES:
            return


def _decoder(shape: tuple[int, int]) -> Callable[[Sample], Any]:
    wanted = PixelShape(*shape, 3)
    return lambda sample: to_pixels(sample.image, sample.key, wanted, "crop")  # type: ignore[arg-type]


def _new_memory(array: int) -> float:
    """Time the faults of memory that is new to the process, in arrays of this many bytes: s per byte."""
    took = []
    for _ in range(ROUNDS):
        # Private, like what NumPy allocates: shared memory has faults of another kind, and no huge pages.
        with mmap.mmap(-1, max(array, PREFETCH_BYTES), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            if array >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
                memory.madvise(mmap.MADV_HUGEPAGE)
            whole = np.frombuffer(memory, np.uint8)
            laps = [time.perf_counter()]
            for value in (1, 2):
                whole.fill(value)
                laps.append(time.perf_counter())
            del whole
        took.append((laps[1] - laps[0]) - (laps[2] - laps[1]))
    return max(0.0, min(took)) / max(array, PREFETCH_BYTES)


def _announcing(folder: Store) -> float:
    """Time announcing files that are not in memory: s for each, with the interpreter's lock held for much of it."""
    took = []
    for _ in range(ROUNDS):
        drop(folder.files())
        began = time.perf_counter()
        folder.announce(np.arange(len(folder)))
        took.append(time.perf_counter() - began)
    return min(took) / len(folder)


def _held_alike(codings: dict[str, Coding]) -> dict[str, Coding]:
    """Give codecs with chunks of many rows one cost of a row whose chunk is held: it does not depend on the codec."""
    held = [coding.work for coding in codings.values() if coding.chunk > 1]
    if not held:
        return codings
    least = min(held, key=lambda work: work.seconds)
    return {name: replace(one, work=least) if one.chunk > 1 else one for name, one in codings.items()}


def _first_time(path: Path) -> tuple[float, float]:
    """Return the extra processor time for bytes just read from a device, of the reader and of the kernel: s per byte.

    The reader pays for the faults of a new map, and for bytes that no cache of the processor holds yet. The kernel
    works on other threads. Waiting for the device is not counted.
    """
    read, all_threads = [], []
    for _ in range(ROUNDS):
        store = open_store(path)
        drop(store.files())
        (cold, cold_in_all), (warm, warm_in_all) = _cpu(store), _cpu(store)
        read.append(cold - warm)
        all_threads.append(cold_in_all - warm_in_all)
        store.close()
    size = store.manifest.image_bytes
    touch = max(0.0, statistics.median(read)) / size
    return touch, max(0.0, statistics.median(all_threads) / size - touch)


def _cpu(store: Store) -> tuple[float, float]:
    """Return the processor time of an epoch: of the thread that takes the batches, and of all threads."""
    began, began_in_all = time.thread_time(), time.process_time()
    cold_seconds(store, 1)
    return time.thread_time() - began, time.process_time() - began_in_all


def _coding(path: Path, start: float) -> Coding:
    store = open_store(path)
    row = int(store.index.size.max())
    rows = store.manifest.settings.chunk_bytes // row if store.manifest.settings else 1
    stored = sum(shard.bytes for shard in store.manifest.shards)
    work = work_of(store, start)
    store.close()
    # If chunks stay decoded, the first epoch takes longer by the time to decode each chunk.
    first = []
    for _ in range(ROUNDS):
        store = open_store(path)
        first.append(_cpu(store)[1] - _cpu(store)[1])
        store.close()
    chunks = -(-len(store) // rows)
    return Coding(stored / (len(store) * row), work, max(0.0, statistics.median(first)) / chunks, rows)
