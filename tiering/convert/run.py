"""Run a conversion: scan, plan, pack on an executor, and commit with the manifest last."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from tiering.convert.pack import ShardResult, ShardTask, pack_shard
from tiering.convert.plan import Kind, ShardPlan, make_plan
from tiering.dataset.scan import Scan, scan
from tiering.errors import DatasetError, MachineError, StoreError, TieringError, UsageError, from_os_error
from tiering.machine import usable_cores
from tiering.order import EpochOrder
from tiering.store import zarr
from tiering.store.base import MANIFEST, Manifest, Source
from tiering.store.codecs import choose_codec, compressors
from tiering.store.folder import FolderStore
from tiering.store.index import IndexWriter

#: Marks a directory as a conversion's own: only such a one is ever cleared away.
_MARKER: Final = ".tiering-partial"
_SHOWN: Final = 10
_CODEC_SAMPLE: Final = 64

Progress = Callable[[int, int], None]


def convert(
    source: str | Path,
    store: str | Path,
    to: Kind,
    *,
    codec: str = "auto",
    seed: int = 0,
    overwrite: bool = False,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Pack a directory of images into an LMDB or Zarr store.

    source: dataset directory, never changed. store: the directory to make; it appears whole or not at all.
    to: "lmdb" or "zarr". codec: of Zarr chunks, "none", "zstd" or "auto", which measures a sample of the images.
    seed: of the packed order. overwrite: replace a store that is there already. workers: processes; the usable
    cores by default. executor: run on this instead of a process pool. progress: told samples and bytes packed so far.

    Returns the manifest. Raises DatasetError for images that cannot be packed (all of them are counted, the first ten
    named), UsageError where the output exists, MachineError for a full or failing disk; nothing is left then.
    """
    place = Path(store)
    scanned = scan(source)
    _refuse(scanned.root, place, overwrite=overwrite)
    folder = FolderStore(scanned.root, scanned)
    if to == "lmdb":
        codec = "none"
    elif codec == "auto":
        codec = choose_codec(_some_images(folder))
    compressors(codec)
    plan = make_plan(folder.index, to, codec=codec, seed=seed)
    with _partial(place) as partial, _executor(executor, workers, len(plan.ends)) as pool:
        manifest = _pack(scanned, folder, plan, to, partial, pool, progress)
        _write_durably(partial / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
        _sync_directories(partial)
        _commit(partial, place)
    return manifest


def _pack(
    scanned: Scan,
    folder: FolderStore,
    plan: ShardPlan,
    kind: Kind,
    partial: Path,
    pool: Executor,
    progress: Progress | None,
) -> Manifest:
    settings = plan.settings
    if kind == "zarr":
        zarr.describe(
            partial,
            shards=len(plan.ends),
            shard_bytes=settings.shard_bytes,
            chunk_bytes=settings.chunk_bytes,
            codec=settings.codec,
        )
    tasks = _tasks(scanned, folder, plan, kind, partial)
    shards, bad, samples, packed = [], [], 0, 0
    columns = IndexWriter(partial)
    try:
        for result in _in_order(pool, tasks):
            bad += result.bad
            if result.shard is None or bad:
                continue
            columns.append(result.columns)
            shards.append(result.shard)
            samples, packed = samples + result.shard.samples, packed + int(result.columns["size"].sum())
            if progress:
                progress(samples, packed)
        if bad:
            raise _cannot_pack(scanned.root, bad)
        crcs = columns.finish()
    finally:
        columns.close()
    return folder.manifest.model_copy(
        update={
            "kind": kind,
            "settings": settings,
            "source": Source(path=str(scanned.root), fingerprint=folder.manifest.source.fingerprint),
            "shards": shards,
            "columns": crcs,
        }
    )


def _tasks(scanned: Scan, folder: FolderStore, plan: ShardPlan, kind: Kind, partial: Path) -> Iterator[ShardTask]:
    first = 0
    for number, rows in enumerate(plan.shards()):
        # Absolute, because a worker may live elsewhere than in our working directory.
        source, store = scanned.root.absolute(), partial.absolute()
        yield ShardTask(source, store, kind, plan.settings, number, first, folder.index.take(rows))
        first += len(rows)


def _in_order(pool: Executor, tasks: Iterator[ShardTask]) -> Iterator[ShardResult]:
    """Run tasks a few ahead and yield their results in order, so that neither plan nor index is ever held whole."""
    ahead: deque[Future[ShardResult]] = deque()
    try:
        for task in tasks:
            ahead.append(pool.submit(pack_shard, task))
            if len(ahead) > 2 * usable_cores():
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()


@contextmanager
def _executor(given: Executor | None, workers: int | None, shards: int) -> Iterator[Executor]:
    if given is not None:
        yield given
        return
    processes = min(workers or usable_cores(), shards)
    pool: Executor = ThreadPoolExecutor(1)
    if processes > 1:
        # Spawned, not forked: Polars and Zarr keep threads, and a fork in their midst can hang.
        pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    except BrokenExecutor as error:
        raise MachineError(
            "a worker process",
            found="ended without a word (killed, out of memory, or no `if __name__ == '__main__':` in the script)",
            action="Convert again; fewer processes take less memory (--workers 1).",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _partial(place: Path) -> Iterator[Path]:
    """Give a directory beside the store to build it in, and clear it away if that fails."""
    partial = place.with_name(place.name + ".partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if (partial / _MARKER).exists():
            shutil.rmtree(partial)
        partial.mkdir()
        (partial / _MARKER).touch()
    except FileExistsError:
        raise UsageError(
            str(partial), expected="a free place to build the store in", found="a directory that tiering did not make"
        ) from None
    try:
        yield partial
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise from_os_error(error if error.filename else OSError(error.errno, error.strerror, str(place))) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _commit(partial: Path, place: Path) -> None:
    """Put the finished store in its place by renaming; an old store goes only once the new one stands."""
    (partial / _MARKER).unlink()
    if not place.exists():
        partial.rename(place)
    else:
        old = place.with_name(f"{place.name}.replaced-{os.getpid()}")
        place.rename(old)
        partial.rename(place)
        shutil.rmtree(old)
    _sync(place.parent)


def _refuse(source: Path, place: Path, *, overwrite: bool) -> None:
    """Refuse an output that would lose something."""
    inside = place.absolute()
    if inside == source.absolute() or source.absolute() in inside.parents:
        raise UsageError(str(place), found="the store would lie inside the dataset", action="Choose another place.")
    if not place.exists() and not place.is_symlink():
        return
    if not overwrite:
        raise UsageError(
            str(place), expected="a free place for the store", found="something there", action="Replace it: --overwrite"
        )
    if not (place / MANIFEST).is_file() or place.is_symlink():
        raise UsageError(
            str(place), expected="a tiering store to replace", found="something else", action="Choose another place."
        )


def _some_images(folder: FolderStore) -> list[bytes]:
    picked = EpochOrder(len(folder), 0, stream="codec").take(0, min(_CODEC_SAMPLE, len(folder)))
    try:
        return [bytes(image) for image in folder.read(np.sort(picked))]
    except StoreError as error:
        raise DatasetError(error.where, expected=error.expected, found=error.found, action=error.action) from error


def _cannot_pack(root: Path, bad: list[str]) -> TieringError:
    listed = "; ".join(bad[:_SHOWN]) + ("; ..." if len(bad) > _SHOWN else "")
    images = "1 image" if len(bad) == 1 else f"{len(bad):,} images"
    return DatasetError(
        str(root),
        expected="images that can be read whole",
        found=f"{images} that cannot ({listed})",
        action="Mend or move them away, then convert again.",
    )


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_directories(root: Path) -> None:
    """Make the index and every directory entry durable before the rename that makes the store visible."""
    for directory, _, names in os.walk(root):
        for name in names:
            _sync(Path(directory) / name)
        _sync(Path(directory))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
