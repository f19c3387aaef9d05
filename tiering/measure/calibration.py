"""Calibration: the processor time to serve images in each format, measured on this machine with the loader."""

from __future__ import annotations

import math
import mmap
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tiering.advice.cpu_costs import Coding, Costs, Work
from tiering.advice.device_time import BATCH_SAMPLES
from tiering.images.pixels import to_pixels
from tiering.images.shape import PixelShape
from tiering.io_sizes import PREFETCH_BYTES
from tiering.measure.read_batches import ByteReader
from tiering.packing.convert import convert
from tiering.packing.settings import Pixels
from tiering.serve.loader import Loader
from tiering.store.open import open_store
from tiering.store.protocol import Store
from tiering.store.sample import Sample
from tiering.system.machine import usable_cores
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
#: Least number of epochs of each measurement. Short epochs are repeated for at least this many seconds.
_ROUNDS: Final = 4
_LONG_ENOUGH: Final = 0.5
#: Epochs of one sample that are timed.
_STARTS: Final = 50
#: Epochs are averaged over this many seconds, and the quickest average counts. Now and then a thread wakes late: one
#: short epoch may escape that, but the epochs of a whole dataset are too long to.
_AVERAGED: Final = 0.05
#: B from which NumPy asks for huge pages.
_HUGE: Final = 4 << 20


def calibrate(
    images: Sequence[Path],
    shape: tuple[int, int] | None = None,
    *,
    codecs: Sequence[str] = CODECS,
    scratch: Path | None = None,
    seed: int = 0,
) -> Costs:
    """Measure the processor time of serving images, by packing a random sample of them and reading it warm.

    It takes some ten seconds.

    Args:
        images: Files of the dataset. Up to 16,384 of them are copied, until there are 128 MiB as they are served:
            encoded, or rows of pixels.
        shape: (height, width) in pixels to which training brings images; None measures no stores of pixels.
        codecs: Codecs of pixels to measure.
        scratch: Directory for the copies; by default that for temporary files. They are removed at the end.
        seed: Seed of the sample.

    Returns:
        The costs, for `recommend`.

    Raises:
        DatasetError: An image cannot be decoded.
        OSError: A file cannot be read, or the copies cannot be written.

    Example:
        >>> costs = tiering.calibrate(sorted(Path("photos").rglob("*.jpg")), (224, 224))  # doctest: +SKIP
        >>> tiering.recommend(profile, costs=costs).choice.format  # doctest: +SKIP
        'pixels'
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="tiering-calibrate-") as name:
        work = Path(name)
        some = work / "images"
        _copy_some(images, some, seed, 0 if shape is None else 3 * shape[0] * shape[1])
        folder = open_store(some)
        convert(some, work / "lmdb", "lmdb", on_error="skip")
        touch, fill = _first_time(work / "lmdb")  # first of all: mapped files cannot be dropped from memory
        packed = open_store(work / "lmdb")
        view = _work(packed, _least_seconds(packed), serial=1.0)
        # All other ways start threads that read.
        start = _least_seconds(folder)
        file = _work(folder, start)
        announce = _announcing(folder)
        decode, row, codings, fresh = Work(0.0), Work(0.0), {}, 0.0
        if shape is not None:
            fresh = _new_memory(BATCH_SAMPLES * 3 * shape[0] * shape[1])
            mean = packed.manifest.image_bytes / len(packed)
            both = _work(packed, start, transform=_decoder(shape), limit=max(1, round(_MOST_DECODED / mean)))
            decode = Work(max(0.0, both.seconds - view.seconds), both.serial)
            convert(some, work / "none", "zarr", pixels=Pixels(*shape), codec="none", on_error="skip")
            row = _work(open_store(work / "none"), start)
            for codec in codecs:
                convert(some, work / codec, "zarr", pixels=Pixels(*shape), codec=codec, on_error="skip")
                codings[codec] = _coding(work / codec, start)
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


def _work(store: Store, start: float, serial: float | None = None, **how: Any) -> Work:
    """Time warm epochs on one thread and on all cores, and take the serial share from the two (Amdahl's law)."""
    one = _each(store, 1, start, **how)
    cores = usable_cores()
    if serial is not None or cores == 1:
        return Work(one, serial or 0.0)
    many = _each(store, cores, start, **how)
    share = (many / one - 1 / cores) / (1 - 1 / cores)
    # Threads that fight for the lock may be slower than one.
    return Work(one, min(3.0, max(0.0, share)))


def _each(store: Store, threads: int, start: float, **how: Any) -> float:
    # One loader, as in training: its memory is new in the first epoch alone, and so are the maps of the store.
    loader = Loader(store, BATCH_SAMPLES, threads=threads, **how)
    _epoch_seconds(loader)
    best = math.inf
    took: list[float] = []
    while len(took) < _ROUNDS or sum(took) < _LONG_ENOUGH:
        some = [_epoch_seconds(loader)]
        while sum(some) < _AVERAGED:
            some.append(_epoch_seconds(loader))
        took += some
        best = min(best, statistics.fmean(some))
    # A scheduler that wakes threads late must not make a cost vanish.
    served = min(len(store), int(how.get("limit", len(store))))
    return max(best / 2, best - start) / served


def _least_seconds(store: Store) -> float:
    """Return the time of the quickest of many epochs of one sample, in s."""
    return min(_seconds(store, 1, limit=1) for _ in range(_STARTS))


def _seconds(store: Store, threads: int, **how: Any) -> float:
    """Time the first epoch of a loader."""
    return _epoch_seconds(Loader(store, BATCH_SAMPLES, threads=threads, **how))


def _epoch_seconds(loader: Loader) -> float:
    """Time one epoch; a consumer of encoded images copies each once, as a decoder would read it."""
    read = ByteReader(loader.store)
    began = time.perf_counter()
    for batch in loader:
        if isinstance(batch.images[0], memoryview | bytes):
            read(batch)
    return time.perf_counter() - began


def _new_memory(array: int) -> float:
    """Time the faults of memory that is new to the process, in arrays of this many bytes: s per byte."""
    took = []
    for _ in range(_ROUNDS):
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
    for _ in range(_ROUNDS):
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
    for _ in range(_ROUNDS):
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
    _seconds(store, 1)
    return time.thread_time() - began, time.process_time() - began_in_all


def _coding(path: Path, start: float) -> Coding:
    store = open_store(path)
    row = int(store.index.size.max())
    rows = store.manifest.settings.chunk_bytes // row if store.manifest.settings else 1
    stored = sum(shard.bytes for shard in store.manifest.shards)
    work = _work(store, start)
    store.close()
    # If chunks stay decoded, the first epoch takes longer by the time to decode each chunk.
    first = []
    for _ in range(_ROUNDS):
        store = open_store(path)
        first.append(_cpu(store)[1] - _cpu(store)[1])
        store.close()
    chunks = -(-len(store) // rows)
    return Coding(stored / (len(store) * row), work, max(0.0, statistics.median(first)) / chunks, rows)
