"""A packing job: the plan of a conversion or an append, and everything needed to carry it out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiering.arrays import row_parts
from tiering.literals import Check, PackedFormat
from tiering.packing.kept_generation import KeptSamples
from tiering.packing.listing import Listing, names_digest
from tiering.packing.shard import ShardTask, packing_seconds
from tiering.packing.shard_plan import ShardPlan
from tiering.packing.workspace import ConversionRecord, Workspace
from tiering.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class PackingJob:
    """A planned conversion or append.

    outline: the manifest, except for what only packing can tell. base: for an append, the samples of the store that are
    kept. base_bytes: their bytes in the source. version: of the store's manifest, which must still be there at the end.
    check: how closely images are checked.
    """

    space: Workspace
    listing: Listing
    plan: ShardPlan
    kind: PackedFormat
    outline: Manifest
    base: KeptSamples | None = None
    base_bytes: int = 0
    version: str | None = None
    check: Check = "quick"

    @property
    def record(self) -> ConversionRecord:
        """The note by which a later conversion recognises this one. Only an equal one can resume it."""
        return ConversionRecord(
            kind=self.kind, generation=self.plan.generation, settings=self.plan.settings,
            source=self.listing.source.url, samples=self.plan.n, state=self.listing.state,
            names=names_digest(self.listing), check=self.check,
            sync=self.base is not None and self.base.there is not None,
        )  # fmt: skip

    @property
    def source_bytes(self) -> int:
        """Bytes in the source of all samples that are kept or are to be packed."""
        rows = self.plan.selected
        parts = row_parts(len(self.listing)) if rows is None else (rows[part] for part in row_parts(len(rows)))
        return self.base_bytes + sum(int(np.maximum(self.listing.size[part], 0).sum()) for part in parts)

    @property
    def seconds(self) -> float:
        """About how long one thread needs to pack all of it, s."""
        fields = self.listing.fields
        size = self.source_bytes - self.base_bytes + sum(each.value_bytes for each in fields)
        return packing_seconds(self.plan.n * (1 + len(fields)), size, decoded=self.decoded)

    @property
    def decoded(self) -> bool:
        """Whether every image is decoded."""
        return not self.plan.settings.original or self.check == "decode"

    @property
    def numbers(self) -> range:
        """The numbers of the shards to pack. They follow those of the base."""
        first = self.outline.new_shard
        return range(first, first + len(self.plan.ends))

    def task(self, number: int) -> ShardTask:
        """Return the task that packs a shard."""
        return ShardTask(
            self.listing.source, self.space.target, self.space.work, self.kind, self.plan.settings, self.record.digest,
            number, self.listing.rows(self.plan.rows(number - self.outline.new_shard)), self.check,
            self.plan.generation,
        )  # fmt: skip
