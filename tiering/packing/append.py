"""Append new files to a finished store as new shards. Its manifest becomes that of the next generation."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from tiering.arrays import row_parts
from tiering.errors import DatasetError, StoreError, command, from_os_error
from tiering.literals import Check, OnBadImage
from tiering.packing.class_maps import class_map
from tiering.packing.convert import run_job
from tiering.packing.executors import Workers
from tiering.packing.finish import finish
from tiering.packing.job import PackingJob
from tiering.packing.joined_fields import merged_schema
from tiering.packing.kept_generation import KeptSamples
from tiering.packing.key_lookup import NOWHERE, KeyLookup
from tiering.packing.label_columns import renumber
from tiering.packing.listing import (
    SCHEMA,
    Listing,
    labelled_state,
)
from tiering.packing.masks import refuse_masks
from tiering.packing.original_fields import original_sizes, with_original
from tiering.packing.removed_keys import RemovedKeys, leave_out_removed
from tiering.packing.shard_plan import make_plan, packable
from tiering.packing.source_record import list_again, open_again, source_of
from tiering.packing.workspace import UNPACKED, workspace
from tiering.progress import Progress, no_progress
from tiering.sources.fields import FieldsWarning
from tiering.sources.labels.numbering import ClassNumbering
from tiering.sources.source import AnySource
from tiering.storage.location import Location
from tiering.store.columns import map_column
from tiering.store.layout import BAD_FILES, MANIFEST, WORK, index_name, is_left_out, left_out_name
from tiering.store.manifest import Manifest, read_manifest
from tiering.store.open import open_packed
from tiering.store.protocol import Store
from tiering.store.schema import ORIGINAL, Field
from tiering.store.settings import Settings
from tiering.text import display, first_few, shown, without_secrets
from tiering.units import counted

_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Growth:
    """The parts of the next generation of a store.

    selected: rows of the listing to pack, int64. kept: the samples of the store that stay. kept_bytes: their bytes in
    the source if the listing is the whole dataset; None if images from other sources may have been packed before.
    """

    selected: npt.NDArray[np.int64]
    kept: KeptSamples
    kept_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class GrowOptions:
    """The parameters that append and sync share with tiering.convert."""

    fields: Mapping[str, str] | None
    images_only: bool
    on_error: OnBadImage
    check: Check
    resume: Literal["auto", "never"]
    workers: Workers
    progress: Progress


#: Chooses the next generation from a listing, the store and its settings. Returns None if there is nothing to do.
Choose = Callable[[Listing, Store, Settings], Growth | None]


def append(
    source: AnySource,
    store: str | os.PathLike[str],
    *,
    fields: Mapping[str, str] | None = None,
    images_only: bool = False,
    removed: bool = False,
    on_error: OnBadImage = "fail",
    check: Check = "quick",
    resume: Literal["auto", "never"] = "auto",
    workers: Workers = None,
    progress: Progress = no_progress,
) -> Manifest:
    """Add the images of a source that a store does not hold yet, as new shards. Nothing is rewritten.

    Images whose key the store already holds are skipped, and those that tiering.remove took out are left out. Open
    readers keep the generation that they opened; a store that is opened afterwards shows the new images.

    Args:
        source: As for tiering.convert. A table that the store knows is read as it was then.
        store: A finished store, its path or URL.
        fields: As for tiering.convert, for a folder whose files of fields lie elsewhere than in those that the store
            knows. By default, the store's own patterns are used.
        images_only: As for tiering.convert. A store that was made with images_only stays one.
        removed: Pack images that tiering.remove took out, too.
        on_error: As for tiering.convert.
        check: As for tiering.convert.
        resume: "auto" continues an unfinished append if there is one, "never" starts again.
        workers: As for tiering.convert.
        progress: Called with the samples packed, all new samples, and the bytes packed.

    Returns:
        The manifest; the old one if there is nothing to add and the account is the same.

    Raises:
        DatasetError: A file of the store has another size in the source now, or a field has values of another kind.
        StoreError: There is no finished store.

    Warns:
        FieldsWarning: No new image has a value of a field that the store has.

    Example:
        >>> tiering.append("photos", "photos.lmdb")  # doctest: +SKIP
    """
    choose = _new_and_removed if removed else _new
    options = GrowOptions(fields, images_only, on_error, check, resume, workers, progress)
    return grow(source, store, choose, options)


def grow(source: AnySource, store: str | os.PathLike[str], choose: Choose, options: GrowOptions) -> Manifest:
    """Make the next generation of a store, and return its manifest. If there is nothing to do, return the old one."""
    location = Location.of(store)
    # Read the manifest before making a workspace: a directory without a manifest is not a store.
    opened = open_again(source, read_manifest(location), options.fields)
    try:
        with workspace(location, fresh=False) as space:
            _, version = (location / MANIFEST).read_version()
            manifest = read_manifest(location)
            base = open_packed(location, manifest)
            settings = manifest.settings
            if settings is None or manifest.kind == "folder":
                raise StoreError(str(location), expected="a packed store", found="a folder")
            directory = space.scratch / "listing"
            only = options.images_only or manifest.source.images_only
            given = ClassNumbering(class_map(manifest), grows=True, by_number=False)
            unpacking = opened.unpacking_into(space.work / UNPACKED)
            listing = list_again(unpacking, directory, given, manifest, images_only=only, progress=options.progress)
            listing = _with_splits_of(manifest, listing, directory)
            chosen = choose(listing, base, settings)
            growth = chosen or Growth(np.empty(0, np.int64), KeptSamples(base))
            _refuse_larger(listing, growth.selected, settings)
            _warn_of_missing_fields(manifest, listing, growth.selected)
            plan = make_plan(listing.size, settings, generation=manifest.generation + 1, selected=growth.selected)
            outline = _outline(manifest, listing, growth, images_only=only)
            before = manifest.account.packed_bytes if manifest.account else manifest.image_bytes
            kept_bytes = before if growth.kept_bytes is None else growth.kept_bytes
            job = PackingJob(
                space, listing, plan, manifest.kind, outline, growth.kept, kept_bytes, version, options.check
            )
            if chosen is None:
                # Only the account may differ. Then the next generation has the same shards.
                grown = finish(job, tuple, options.on_error)
            else:
                restart = options.resume == "never"
                grown = run_job(
                    job, directory, options.workers, options.on_error, restart=restart, progress=options.progress
                )
                if grown == manifest:
                    space.clear()  # shards without a sample
            _tidy(location, grown)
    except OSError as error:
        raise from_os_error(error, location) from error
    return grown


def _tidy(location: Location, manifest: Manifest) -> None:
    """Remove files that the manifest does not name any more, and the notes last."""
    near = (1, manifest.generation - 1, manifest.generation, manifest.generation + 1)
    for name in (BAD_FILES, *(left_out_name(number) for number in near if number > 0)):
        if name not in manifest.documents:
            (location / name).remove()
    (location / WORK).remove()


def _outline(manifest: Manifest, listing: Listing, growth: Growth, *, images_only: bool) -> Manifest:
    """Return the manifest of the next generation, except for what only packing can tell."""
    whole = growth.kept_bytes is not None
    others = not whole and (manifest.source.others or manifest.source.url != listing.source.url)
    known = [] if whole else [*manifest.earlier, manifest.source]
    documents = {name: crc for name, crc in manifest.documents.items() if not (whole and is_left_out(name))}
    return manifest.model_copy(
        update={
            "generation": manifest.generation + 1,
            "index": index_name(manifest.generation + 1),
            "layout": listing.layout if whole else manifest.layout,
            "labels": list(listing.classes.names),
            "label_numbers": list(listing.classes.numbers),
            "splits": listing.splits,
            "source": source_of(listing, images_only=images_only, others=others),
            "earlier": [source for source in known if source.url != without_secrets(listing.source.url)],
            "documents": documents,
            "shards": growth.kept.shards,
            "samples": growth.kept.samples,
            "image_bytes": growth.kept.image_bytes,
            "fields": merged_schema(manifest.fields, _fields_of(listing, manifest), len(growth.kept.shards)),
        }
    )


def _fields_of(listing: Listing, manifest: Manifest) -> list[Field]:
    """Return the fields of the samples to pack."""
    fields = [each.field for each in listing.fields]
    return with_original(fields, manifest.settings) if manifest.settings else fields


def _with_splits_of(manifest: Manifest, listing: Listing, directory: Path) -> Listing:
    """Number the splits of a listing as the store does, with new names after the old ones."""
    splits = [*manifest.splits, *(added for added in listing.splits if added not in set(manifest.splits))]
    number_of = {known: number for number, known in enumerate(splits)}
    renumber(directory / "split", SCHEMA["split"], [number_of[known] for known in listing.splits])
    columns = listing.columns | {"split": map_column(Location.of(directory / "split"), SCHEMA["split"])}
    return replace(listing, columns=columns, splits=splits, state=labelled_state(listing.state, columns))


def _new(listing: Listing, base: Store, settings: Settings) -> Growth | None:  # noqa: ARG001 - as in Choose
    """Choose the rows of a listing that a store does not hold, except those that were removed from it."""
    return _chosen(listing, base, RemovedKeys.of(base.location, base.manifest))


def _new_and_removed(listing: Listing, base: Store, settings: Settings) -> Growth | None:  # noqa: ARG001 - as in Choose
    """Choose the rows of a listing that a store does not hold."""
    return _chosen(listing, base, RemovedKeys.none())


def _chosen(listing: Listing, base: Store, removed: RemovedKeys) -> Growth | None:
    held = KeyLookup(len(base), base.index.keys)
    refuse_masks(listing, base)
    sizes = original_sizes(base)
    new: list[npt.NDArray[np.int64]] = []
    changed: list[str] = []
    for rows in row_parts(len(listing)):
        keys = listing.keys(rows)
        found = held.find(keys)
        new.append(leave_out_removed(listing, rows[found == NOWHERE], removed))
        if sizes is not None:
            here = np.flatnonzero(found != NOWHERE)
            differ = here[sizes[found[here]] != listing.size[rows[here]]]
            changed += [display(keys[at]) for at in differ.tolist()]
    if changed:
        raise DatasetError(
            listing.source.url,
            expected="only new files besides those that the store holds",
            found=f"{len(changed):,} with a size different from that in the store ({first_few(changed, _SHOWN)})",
            action="Append adds and changes nothing. To bring the store up to the source: "
            + command("tiering", "append", "--sync", listing.source.url, base.location),
        )
    selected = np.concatenate(new)
    return Growth(selected, KeptSamples(base)) if len(selected) else None


def _warn_of_missing_fields(manifest: Manifest, listing: Listing, selected: npt.NDArray[np.int64]) -> None:
    """Warn of fields of the store for which no sample to pack has a value."""
    size = {each.field.name: each.columns["size"] for each in listing.fields}

    def there(name: str) -> bool:
        return name in size and any((size[name][selected[part]] >= 0).any() for part in row_parts(len(selected)))

    own = {field.name for field in ORIGINAL} if manifest.settings and manifest.settings.reencoded else set()
    missing = [field.name for field in manifest.fields if field.name not in own and not there(field.name)]
    if len(selected) and missing:
        samples = counted(len(selected), "sample")
        message = f"{display(listing.source.url)}: no value of {first_few(missing, _SHOWN)} in the {samples} to pack."
        warnings.warn(shown(message), FieldsWarning, stacklevel=4)


def _refuse_larger(listing: Listing, selected: npt.NDArray[np.int64], settings: Settings) -> None:
    """Raise DatasetError if an image is larger than the shards of the store."""
    largest = int(packable(listing.size[selected]).max(initial=0))
    if settings.original and largest > settings.shard_bytes:
        raise DatasetError(
            listing.source.url,
            expected=f"images of at most {settings.shard_bytes:,} bytes, the size of the store's shards",
            found=f"one of {largest:,}",
            action="Convert the dataset again.",
        )
