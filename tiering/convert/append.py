"""Append: new files as new shards of a finished store, under a manifest of the next generation."""

from __future__ import annotations

import os
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tiering.convert.class_maps import class_map
from tiering.convert.finish import OnError
from tiering.convert.label_columns import renumber
from tiering.convert.listing import SCHEMA, Listing, blocks, make_listing, open_again
from tiering.convert.lookup import NOWHERE, Lookup
from tiering.convert.plan import make_plan, packable
from tiering.convert.progress import Progress, no_progress
from tiering.convert.run import Job, Workers, run_job
from tiering.convert.workspace import workspace
from tiering.dataset.numbering import Given
from tiering.dataset.scan import display
from tiering.errors import DatasetError, StoreError, from_os_error
from tiering.storage.location import Location
from tiering.store.base import Store
from tiering.store.columns import map_column
from tiering.store.manifest import MANIFEST, Kind, Manifest, Settings, read_manifest
from tiering.store.open import open_packed
from tiering.store.parts import WORK

_SHOWN: Final = 10


def append(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    on_error: OnError = "fail",
    restart: bool = False,
    workers: int | None = None,
    dask: str | None = None,
    executor: Executor | None = None,
    progress: Progress = no_progress,
) -> Manifest:
    """Add the images of a source that a store does not hold yet, as new shards; nothing that is there is rewritten.

    Images whose key the store holds already are passed over. Readers that are open keep their generation; those that
    open the store afterwards see the new one. The other parameters are those of tiering.convert.
    Returns the manifest, the old one where there is nothing to add. Raises DatasetError where a file of the store has
    another size in the source now, StoreError where there is no finished store.
    """
    place = Location.of(store)
    # A directory without a manifest is not ours to open a workspace in.
    opened = open_again(source, read_manifest(place))
    try:
        with workspace(place, fresh=False) as space:
            _, version = (place / MANIFEST).read_version()
            manifest = read_manifest(place)
            base = open_packed(place, manifest)
            settings = manifest.settings
            if settings is None or manifest.kind == "folder":
                raise StoreError(str(place), expected="a packed store", found="a folder")
            directory = space.scratch / "listing"
            listing = make_listing(opened, directory, Given(class_map(manifest), grows=True))
            listing = _in_terms_of(manifest, listing, directory)
            selected = _new_rows(listing, base, settings)
            if not len(selected):
                (place / WORK).remove()
                return manifest
            generation = manifest.generation + 1
            plan = make_plan(listing.size, settings, generation=generation, selected=selected)
            outline = manifest.model_copy(
                update={
                    "generation": generation,
                    "index": f"index-{generation}",
                    "labels": list(listing.classes.names),
                    "label_numbers": list(listing.classes.numbers),
                    "splits": listing.splits,
                }
            )
            kind: Kind = manifest.kind
            job = Job(space, listing, plan, kind, outline, base, version)
            crew = Workers(workers, dask, executor)
            appended = run_job(job, directory, crew, on_error, restart=restart, progress=progress)
            (place / WORK).remove()
    except OSError as error:
        raise from_os_error(error if error.filename else OSError(error.errno, error.strerror, str(place))) from error
    return appended


def _in_terms_of(manifest: Manifest, listing: Listing, directory: Path) -> Listing:
    """Number splits as the store does, new names after the old ones."""
    splits = [*manifest.splits, *(added for added in listing.splits if added not in set(manifest.splits))]
    place = {known: number for number, known in enumerate(splits)}
    renumber(directory / "split", SCHEMA["split"], [place[known] for known in listing.splits])
    columns = listing.columns | {"split": map_column(Location.of(directory / "split"), SCHEMA["split"])}
    return replace(listing, columns=columns, splits=splits)


def _new_rows(listing: Listing, base: Store, settings: Settings) -> npt.NDArray[np.int64]:
    """Return the rows of a listing that a store does not hold."""
    held = Lookup(len(base), base.index.keys)
    new: list[npt.NDArray[np.int64]] = []
    changed: list[str] = []
    for rows in blocks(len(listing)):
        keys = listing.keys(rows)
        found = held.find(keys)
        new.append(rows[found == NOWHERE])
        if settings.pixels is None:
            here = np.flatnonzero(found != NOWHERE)
            differ = here[base.index.size[found[here]] != listing.size[rows[here]]]
            changed += [display(keys[at]) for at in differ.tolist()]
    if changed:
        raise DatasetError(
            listing.source.url,
            expected="new files, beside those that the store holds",
            found=f"{len(changed):,} that have another size than in the store ({'; '.join(changed[:_SHOWN])})",
            action="Append adds and changes nothing: give them new names, or convert the dataset again.",
        )
    selected = np.concatenate(new)
    largest = int(packable(listing.size[selected]).max()) if len(selected) else 0
    if settings.pixels is None and largest > settings.shard_bytes:
        raise DatasetError(
            listing.source.url,
            expected=f"images of at most {settings.shard_bytes:,} bytes, the size of the store's shards",
            found=f"one of {largest:,}",
            action="Convert the dataset again.",
        )
    return selected
