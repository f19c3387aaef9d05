"""Run a conversion: list the source, plan, pack on an executor, and commit with the manifest last."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tiering.errors import UsageError, from_os_error
from tiering.images.reencoded import Reencoded
from tiering.literals import Check, OnBadImage, PackedFormat
from tiering.packing.class_maps import differences, read_classes
from tiering.packing.commit import (
    StoreIdentity,
    check_output,
    check_unfinished,
    clean,
    partial_of,
    publish,
    was_not_cleaned,
)
from tiering.packing.executors import Workers, opener, run_tasks, tasks_ahead
from tiering.packing.finish import finish
from tiering.packing.job import PackingJob
from tiering.packing.listing import Listing, make_listing, unlabelled
from tiering.packing.original_fields import with_original
from tiering.packing.settings import PackingOptions, Pixels, Shards, choose_settings
from tiering.packing.shard import pack_shard
from tiering.packing.shard_plan import make_plan
from tiering.packing.source_record import source_of
from tiering.packing.workspace import UNPACKED, Workspace, workspace
from tiering.progress import Progress, no_progress
from tiering.sources.labels.classes import LabelsWarning, combined
from tiering.sources.labels.numbering import ClassNumbering
from tiering.sources.source import AnySource, Source, open_source
from tiering.storage.location import Location
from tiering.store.layout import MANIFEST
from tiering.store.lmdb_format import OURS
from tiering.store.manifest import Manifest, read_manifest
from tiering.text import shown

_SHARDS: Final = Shards()

#: Whether to continue an unfinished conversion: "auto" if there is one, "only" (there must be one), or "never".
Resume = Literal["auto", "only", "never"]


def convert(
    source: AnySource,
    store: str | os.PathLike[str],
    to: PackedFormat,
    *,
    pixels: Pixels | None = None,
    encode: Reencoded | None = None,
    codec: str = "auto",
    shards: Shards = _SHARDS,
    classes: str | os.PathLike[str] | None = None,
    fields: Mapping[str, str] | None = None,
    images_only: bool = False,
    on_error: OnBadImage = "fail",
    check: Check = "quick",
    overwrite: bool = False,
    resume: Resume = "auto",
    workers: Workers = None,
    progress: Progress = no_progress,
) -> Manifest:
    """Pack images into an LMDB or Zarr store.

    If the conversion is killed, call it again with the same arguments: it continues where it stopped.

    Args:
        source: A directory of images, tar files, a CSV or Parquet table, or a dataset that another program packed; a
            path, an fsspec URL, or a TableSource that says how to read a table. It is never changed.
        store: The directory or URL to make. Readers can open it only when it is finished.
        to: "lmdb" or "zarr".
        pixels: Store decoded images of this shape (Zarr only); by default the original files, byte for byte.
        encode: Store images re-encoded for training, smaller and without metadata, instead of the original files. Each
            sample keeps sides, size and CRC-32C of its original as fields, so that tiering.verify can make it again.
        codec: Codec of Zarr chunks, such as "none", "zstd:3", "blosc-lz4-bitshuffle"; "auto" measures some images.
        shards: Size of the shards, and seed of the packed order.
        classes: A store, or a file that numbers the classes, see docs/formats.md; by default names are numbered in
            sorted order.
        fields: Where a folder has fields of its images in trees of their own, as a pattern by name:
            `{"mask": "masks/{stem}.png"}`, see docs/converting.md. Files beside an image are its fields without it.
        images_only: Pack images without the masks, captions and other files beside them.
        on_error: What to do with images that cannot be packed, broken links and unreadable directories: "fail" at the
            end and list them all, "skip" them, or put copies of the images in "quarantine".
        check: "quick" looks at the beginning and end of each image; "decode" decodes every image.
        overwrite: Replace a finished local store.
        resume: "auto" continues an unfinished conversion if there is one, "only" requires one, "never" starts again.
        workers: Number of processes; or a Dask cluster, or an open executor. By default one process for each usable
            core, or only this one where that is quicker.
        progress: Called with the samples packed, all samples, and the bytes packed.

    Returns:
        The manifest. Its account lists everything that was left out.

    Raises:
        DatasetError: Images cannot be packed or read, labels are not classes, two files are one field of an image, or
            the source changed since an unfinished conversion began.
        UsageError: The output exists, or another converter is working on it.
        MachineError: A disk is full or fails, or a server is down.

    Warns:
        LabelsWarning: Some images have no class, or the classes differ from those of another split beside the store.
        FieldsWarning: A column or a document of the source is left out.

    Example:
        >>> tiering.convert("photos", "photos.zarr", "zarr", pixels=tiering.Pixels(224, 224))  # doctest: +SKIP
    """
    output = Location.of(store)
    opened = open_source(source).with_fields(fields)
    numbered = None if classes is None else ClassNumbering(read_classes(classes))
    packing = PackingOptions(to, codec, shards, pixels, encode)
    _refuse_inside(opened.url, output)
    conversion = _Conversion(
        opened, packing, numbered, workers, on_error, check, images_only, resume == "never", progress
    )
    try:
        if resume == "only":
            check_unfinished(output, opened.url, overwrite=overwrite)
        if was_not_cleaned(output) and (done := conversion.committed(output)):
            return done
        return conversion.run(output, check_output(output, overwrite=overwrite))
    except OSError as error:
        raise from_os_error(error, output) from error


@dataclass(frozen=True, slots=True)
class _Conversion:
    """The arguments of convert."""

    source: Source
    packing: PackingOptions
    given: ClassNumbering | None
    workers: Workers
    on_error: OnBadImage
    check: Check
    images_only: bool
    restart: bool
    progress: Progress

    def run(self, output: Location, old: StoreIdentity | None) -> Manifest:
        """Build the store, or use a finished one that an earlier conversion left behind, and give it its name."""
        target = partial_of(output)
        with workspace(target, fresh=True) as space:
            directory = space.scratch / "listing"
            job = self._job(space, directory)
            self._warn(job.listing, output)
            done = self._finished(job)
            manifest = done or run_job(
                job, directory, self.workers, self.on_error, restart=self.restart, progress=self.progress
            )
            publish(target, output, old)
            clean(output)
        return manifest

    def committed(self, output: Location) -> Manifest | None:
        """Clean up a store that was committed but not cleaned; return its manifest if it fits the arguments."""
        with workspace(output, fresh=True) as space:
            done = self._finished(self._job(space, space.scratch / "listing"))
            clean(output)
        return done

    def _job(self, space: Workspace, directory: Path) -> PackingJob:
        source = self.source.unpacking_into(space.work / UNPACKED)
        shape = self.packing.pixels.raw_shape if self.packing.pixels else None
        listing = make_listing(
            source, directory, self.given,
            images_only=self.images_only, raw_bytes=shape.nbytes if shape else None, progress=self.progress,
        )  # fmt: skip
        settings = choose_settings(listing, self.packing, space.found.settings if space.found else None)
        outline = Manifest(
            kind=self.packing.kind, samples=0, image_bytes=0, layout=listing.layout,
            labels=list(listing.classes.names), label_numbers=list(listing.classes.numbers),
            splits=listing.splits, settings=settings, lmdb_format=OURS if self.packing.kind == "lmdb" else None,
            source=source_of(listing, images_only=self.images_only),
            fields=with_original((each.field for each in listing.fields), settings),
        )  # fmt: skip
        plan = make_plan(listing.size, settings)
        return PackingJob(space, listing, plan, self.packing.kind, outline, check=self.check)

    def _warn(self, listing: Listing, output: Location) -> None:
        """Warn of labels that look like a mistake."""
        without_class = unlabelled(listing)
        other = "" if self.given else differences(listing.classes, self.source.url, output)
        for warning in filter(None, (without_class, combined(listing.classes), other)):
            warnings.warn(shown(warning), LabelsWarning, stacklevel=4)

    def _finished(self, job: PackingJob) -> Manifest | None:
        """Return the manifest of a store that needs no more packing, or None if there is something to do."""
        if self.restart or job.space.found != job.record or not (job.space.target / MANIFEST).exists():
            return None
        manifest = read_manifest(job.space.target)
        # The earlier conversion may have left out images that are an error now.
        return None if manifest.left_out and self.on_error == "fail" else manifest


def run_job(
    job: PackingJob, directory: Path, workers: Workers, on_error: OnBadImage, *, restart: bool, progress: Progress
) -> Manifest:
    """Pack the shards that have no receipt yet, and finish the store.

    directory: of the listing's columns.
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
    # All packing must stop before the lock is released, however the loop ends. So close the generator explicitly.
    if missing:
        make = opener(workers, len(missing), job.seconds, decoded=job.decoded)
        packing = run_tasks(make, pack_shard, tasks, ahead=tasks_ahead(workers))
        with closing(packing):
            for packed in packing:
                samples, size = samples + packed.samples, size + packed.size
                progress(samples, job.plan.n, size)
    return finish(job, lambda: space.receipts(job.numbers, digest), on_error)


def _refuse_inside(source: str, output: Location) -> None:
    """Refuse an output that lies inside its source."""
    if output.url == source or output.url.startswith(source.rstrip("/") + "/"):
        raise UsageError(str(output), found="the store would lie inside the dataset", action="Choose another path.")
