"""PackedStore: a packed dataset, with its index, its shards, and the runs of its fields."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tiering.arrays import IndexArray
from tiering.errors import StoreError
from tiering.storage.location import Location
from tiering.store.field_values import COPIED, copied_values
from tiering.store.generation import FileIdentities, Generation, explain
from tiering.store.index import open_index
from tiering.store.manifest import Manifest
from tiering.store.protocol import Values, shape_of
from tiering.store.range_store import RangeStore
from tiering.store.runs import runs_of
from tiering.store.settings import Settings


class PackedStore(RangeStore):
    """A packed dataset that is read through maps of its shards, or by requests for ranges if it is remote.

    location: of the store. manifest: its manifest, whose generation this object keeps. settings: the manifest's.
    seen: the identities of the files that another process opened, to read the same files.
    """

    def __init__(
        self, location: Location, manifest: Manifest, settings: Settings, seen: FileIdentities | None = None
    ) -> None:
        try:
            index = open_index(location / manifest.index, manifest.samples, manifest.columns, manifest.fields)
        except StoreError as error:
            # Another process opened it before.
            raise explain(location, manifest, error) if seen else error from error
        generation = Generation(location, manifest, seen) if location.local else None
        # The offset column counts through all Zarr shards, but within each LMDB shard.
        stride = settings.shard_bytes if manifest.kind == "zarr" else 0
        super().__init__(location, manifest, index, generation, shape_of(manifest), stride)
        self._settings = settings
        self._runs = runs_of(self, {} if seen is None else seen.runs)
        self.runs = self._runs

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the location and the identities of the files there. Maps stay in this process."""
        seen = self._generation.seen if self._generation else None
        if seen is not None:
            seen = replace(seen, runs={name: run.seen for name, run in self._runs.items()})
        return type(self), (self.location, self.manifest, self._settings, seen)

    def _values(self, name: str, indices: IndexArray) -> Values:
        run = self._runs.get(name)
        if run is None or (field := self.fields[name]).kind not in COPIED or (copies := run.copied(indices)) is None:
            return super()._values(name, indices)
        lacking = np.flatnonzero(run.index.offset[indices] < 0).tolist() if field.nullable else ()
        return copied_values(field, copies, lacking, self.location)

    def close(self) -> None:
        """Drop the maps. Views that are still referenced stay valid."""
        super().close()
        for run in self._runs.values():
            run.close()
