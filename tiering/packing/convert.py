"""Run a conversion: list the source, plan, pack on an executor, and commit with the manifest last."""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tiering.errors import UsageError, from_os_error
from tiering.images.pixels import ResizeMode
from tiering.packing.class_maps import differences, read_classes
from tiering.packing.commit import (
    Standing,
    check_output,
    check_unfinished,
    clean,
    partial_of,
    put_in_place,
    was_not_cleaned,
)
from tiering.packing.dask_cluster import dask_cluster
from tiering.packing.executors import MakeExecutor, given, process_pool, run_tasks
from tiering.packing.finish import finish
from tiering.packing.kept_generation import Kept
from tiering.packing.left_out_file import OnError, refuse_shared
from tiering.packing.listing import Listing, blocks, make_listing, names_digest, source_of, unlabelled
from tiering.packing.progress import Progress, no_progress
from tiering.packing.receipts import Receipt
from tiering.packing.settings import Packing, choose_settings
from tiering.packing.shard import Check, Packed, ShardTask, pack_shard
from tiering.packing.shard_plan import ShardPlan, make_plan
from tiering.packing.workspace import Record, Workspace, workspace
from tiering.sources.labels.classes import LabelsWarning, combined
from tiering.sources.labels.numbering import ClassNumbering
from tiering.sources.source import Source as OpenedSource
from tiering.sources.source import open_with_columns
from tiering.storage.location import Location
from tiering.store.lmdb_format import OURS
from tiering.store.manifest import MANIFEST, Kind, Manifest, Settings, read_manifest
from tiering.system.machine import usable_cores
from tiering.text import shown


@dataclass(frozen=True, slots=True)
class Workers:
    """Who packs: so many processes here, a Dask cluster at an address, or an executor that the caller opened."""

    processes: int | None = None
    dask: str | None = None
    executor: Executor | None = None

    def opener(self, tasks: int) -> MakeExecutor:
        """Return what opens an executor for so many tasks."""

        def open_executor() -> AbstractContextManager[Executor]:
            if self.executor is not None:
                return given(self.executor)
            return dask_cluster(self.dask) if self.dask else process_pool(self.processes, tasks)

        return open_executor


def convert(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str],
    to: Kind,
    *,
    codec: str = "auto",
    seed: int = 0,
    shard_bytes: int | None = None,
    pixels: bool = False,
    resize: tuple[int, int] | None = None,
    resize_mode: ResizeMode = "crop",
    channels: Literal[1, 3] | None = None,
    classes: str | os.PathLike[str] | None = None,
    columns: str | Mapping[str, str] | None = None,
    table_root: str | os.PathLike[str] | None = None,
    on_error: OnError = "fail",
    check: Check = "quick",
    images_only: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    restart: bool = False,
    workers: int | None = None,
    dask: str | None = None,
    executor: Executor | None = None,
    progress: Progress = no_progress,
) -> Manifest:
    """Pack images into an LMDB or Zarr store. Killed at any moment and called again, it goes on where it was.

    source: a directory of images, tar files, or a CSV or Parquet table; a path or an fsspec URL, never changed.
    store: the directory or URL to make; no reader opens it before it is finished. to: "lmdb" or "zarr".
    codec: of Zarr chunks, such as "none", "zstd:3", "blosc-lz4-bitshuffle"; "auto" measures a sample of the images.
    seed: of the packed order. shard_bytes: upper bound of the samples' bytes in a shard; by default from the data.
    pixels: store decoded images of one shape (Zarr only); resize: (height, width) to bring them to, which implies
    pixels; resize_mode: "crop", "pad" or "stretch"; channels: 1 or 3, by default 1 where all images are grey.
    classes: a store or a file that numbers the classes, see tiering.packing.class_maps; by default docs/formats.md says
    how they are numbered. columns: which of a table's have path, label and split: "path=Image,label=Id", or by number,
    "path=0,label=1"; table_root: directory that its paths are relative to, its own by default.
    on_error: what to do about images that cannot be packed, and directories, links and pointers that lead to none:
    "fail" at the end with all of them listed, "skip" them, or put copies of the images in "quarantine".
    check: "decode" decodes every image, so that what fails counts as damaged. images_only: pack images without the
    masks, captions and other files that share their key. overwrite: replace a finished local store. resume: only go on
    with an unfinished conversion, and begin none; restart: begin an unfinished one again from nothing. workers:
    processes, the usable cores by default; dask: address of a Dask scheduler, or "local"; executor: run on this
    instead. progress: told samples packed, samples in all, and bytes packed.

    Returns the manifest, whose account says what was left out. Warns (LabelsWarning) of images without a class among
    others, and of classes that differ from those of another split beside the store. Raises DatasetError for images that
    cannot be packed or read, labels that are not classes, files that share a key, or a source that changed under an
    unfinished conversion, UsageError where the output exists or another converter is at work on it, MachineError for a
    full or failing disk or a server that is down.
    """
    if resume and restart:
        raise UsageError("resume and restart", expected="one of them", found="both", action="Leave one out.")
    output = Location.of(store)
    opened = open_with_columns(source, columns, table_root)
    given = None if classes is None else ClassNumbering(read_classes(classes))
    packing = Packing(to, codec, seed, shard_bytes, pixels or resize is not None, resize, resize_mode, channels)
    _refuse_inside(opened.url, output)
    crew = Workers(workers, dask, executor)
    conversion = _Conversion(opened, packing, given, crew, on_error, check, images_only, restart, progress)
    try:
        if resume:
            check_unfinished(output, opened.url, overwrite=overwrite)
        if was_not_cleaned(output) and (done := conversion.committed(output)):
            return done
        return conversion.run(output, check_output(output, overwrite=overwrite))
    except OSError as error:
        raise from_os_error(error if error.filename else OSError(error.errno, error.strerror, str(output))) from error


@dataclass(frozen=True, slots=True)
class _Conversion:
    """The arguments of convert."""

    source: OpenedSource
    packing: Packing
    given: ClassNumbering | None
    crew: Workers
    on_error: OnError
    check: Check
    images_only: bool
    restart: bool
    progress: Progress

    def run(self, output: Location, standing: Standing | None) -> Manifest:
        """Build the store, or take a finished one that an earlier run left, and give it its name."""
        target = partial_of(output)
        with workspace(target, fresh=True) as space:
            directory = space.scratch / "listing"
            job = self._job(space, directory)
            refuse_shared(space, job.listing, images_only=self.images_only)
            self._warn(job.listing, output)
            done = self._finished(job)
            manifest = done or run_job(
                job, directory, self.crew, self.on_error, restart=self.restart, progress=self.progress
            )
            put_in_place(target, output, standing)
            clean(output)
        return manifest

    def committed(self, output: Location) -> Manifest | None:
        """Clean up a store that was committed but not cleaned; return its manifest if it fits the arguments."""
        with workspace(output, fresh=True) as space:
            done = self._finished(self._job(space, space.scratch / "listing"))
            clean(output)
        return done

    def _job(self, space: Workspace, directory: Path) -> Job:
        listing = make_listing(self.source, directory, self.given, images_only=self.images_only)
        settings = choose_settings(listing, self.packing, space.found.settings if space.found else None)
        outline = Manifest(
            kind=self.packing.kind, samples=0, image_bytes=0, layout=listing.layout,
            labels=list(listing.classes.names), label_numbers=list(listing.classes.numbers),
            splits=listing.splits, settings=settings, lmdb_format=OURS if self.packing.kind == "lmdb" else None,
            source=source_of(listing, images_only=self.images_only),
        )  # fmt: skip
        return Job(space, listing, make_plan(listing.size, settings), self.packing.kind, outline, check=self.check)

    def _warn(self, listing: Listing, output: Location) -> None:
        """Warn of labels that may not be what was meant."""
        without_class = unlabelled(listing)
        other = "" if self.given else differences(listing.classes, self.source.url, output)
        for said in filter(None, (without_class, combined(listing.classes), other)):
            warnings.warn(shown(said), LabelsWarning, stacklevel=4)

    def _finished(self, job: Job) -> Manifest | None:
        """Return the manifest of a store that needs no more packing; None if there is something to do."""
        if self.restart or job.space.found != job.record or not (job.space.target / MANIFEST).exists():
            return None
        manifest = read_manifest(job.space.target)
        # An earlier run may have been told to leave out images; for this one they may be an error.
        return None if manifest.left_out and self.on_error == "fail" else manifest


@dataclass(frozen=True, slots=True)
class Job:
    """A planned conversion: where, from what, how, and the manifest it will lead to but for what packing tells.

    base: what is kept of the store that grows; version: of its manifest; check: how closely images are looked at.
    """

    space: Workspace
    listing: Listing
    plan: ShardPlan
    kind: Kind
    outline: Manifest
    base: Kept | None = None
    version: str | None = None
    check: Check = "quick"

    @property
    def settings(self) -> Settings:
        """How it is packed."""
        return self.plan.settings

    @property
    def record(self) -> Record:
        """What another run must want to go on with this one."""
        return Record(
            kind=self.kind, generation=self.plan.generation, settings=self.settings, source=self.listing.source.url,
            samples=self.plan.n, state=self.listing.state, names=names_digest(self.listing), check=self.check,
            sync=self.base is not None and self.base.there is not None,
        )  # fmt: skip

    @property
    def offered(self) -> int:
        """Bytes in the source of what is to be packed."""
        rows = self.plan.selected
        every = blocks(len(self.listing)) if rows is None else (rows[part] for part in blocks(len(rows)))
        return sum(int(np.maximum(self.listing.size[part], 0).sum()) for part in every)

    @property
    def numbers(self) -> range:
        """Numbers of the shards to pack; those of a base come before."""
        first = len(self.outline.shards)
        return range(first, first + len(self.plan.ends))

    def task(self, number: int) -> ShardTask:
        """Return what a worker needs for a shard."""
        rows = self.listing.rows(self.plan.rows(number - len(self.outline.shards)))
        space = self.space
        return ShardTask(
            self.listing.source, space.target, space.work, self.kind, self.settings, self.record.digest, number, rows,
            self.check,
        )  # fmt: skip


def run_job(
    job: Job, directory: Path, crew: Workers, on_error: OnError, *, restart: bool, progress: Progress
) -> Manifest:
    """Pack what no receipt says is done, and finish the store.

    directory: where the columns of the listing lie.
    """
    space, digest = job.space, job.record.digest
    space.agree(job.record, job.listing, directory, restart=restart)
    missing: list[int] = []
    samples = size = 0
    for number in job.numbers:
        done = space.receipt(number, digest)
        if done is None:
            missing.append(number)
        else:
            samples, size = samples + done.shard.samples, size + int(done.columns["size"].sum())
    tasks = (job.task(number) for number in missing)
    progress(samples, job.plan.n, size)
    # Closed at once, however the loop ends: all packing must have stopped before the lock is released.
    with closing(_packed(crew, tasks, len(missing))) as every:
        for packed in every:
            samples, size = samples + packed.samples, size + packed.size
            progress(samples, job.plan.n, size)

    def receipts() -> Iterator[Receipt]:
        for number in job.numbers:
            done = space.receipt(number, digest)
            if done is None:
                raise UsageError(
                    f"{space.target}: shard {number}", expected="the receipt that a worker left", found="none",
                    action="Do all workers see the same file system? Workers elsewhere need a shared one, or a URL.",
                )  # fmt: skip
            yield done

    return finish(space, job.listing, job.outline, receipts, job.base, job.version, on_error, job.offered)


def _packed(crew: Workers, tasks: Iterable[ShardTask], count: int) -> Generator[Packed]:
    if count:
        ahead = 2 * max(crew.processes or usable_cores(), 2) if not crew.dask else 64
        yield from run_tasks(crew.opener(count), pack_shard, tasks, ahead=ahead)


def _refuse_inside(source: str, output: Location) -> None:
    """Refuse an output that lies inside its source."""
    if output.url == source or output.url.startswith(source.rstrip("/") + "/"):
        raise UsageError(str(output), found="the store would lie inside the dataset", action="Choose another place.")
