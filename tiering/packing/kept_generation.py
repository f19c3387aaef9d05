"""The samples that the next generation of a store keeps from the last one.

Shards never change, because open readers have them mapped. To remove a sample, the next index does not name it, and its
shard counts it as removed. Its bytes stay in the shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiering.arrays import row_parts
from tiering.packing.joined_fields import completed
from tiering.store.columns import lay_end_to_end
from tiering.store.index import COLUMNS
from tiering.store.layout import FIELDS
from tiering.store.manifest import Shard
from tiering.store.protocol import Store
from tiering.store.schema import Field


@dataclass(frozen=True, slots=True)
class KeptSamples:
    """The samples of a store that its next generation keeps.

    there: bool (n,), whether each sample is kept; None keeps all. label, split: the new numbers of each sample, int32
    and int8 (n,); None if they do not change.
    """

    store: Store
    there: npt.NDArray[np.bool_] | None = None
    label: npt.NDArray[np.int32] | None = None
    split: npt.NDArray[np.int8] | None = None

    @property
    def unchanged(self) -> bool:
        """Whether all samples are kept, with the same labels and splits."""
        if self.there is None or self.label is None or self.split is None:
            return True
        index = self.store.index
        return bool(self.there.all() and (self.label == index.label).all() and (self.split == index.split).all())

    @property
    def changes(self) -> dict[str, int]:
        """How many samples are removed, and how many kept ones have another label or split; without zeros."""
        removed = len(self.store) - self.samples
        other = np.zeros(len(self.store), dtype=bool)
        for now, before in ((self.label, self.store.index.label), (self.split, self.store.index.split)):
            if now is not None:
                other |= now != before
        if self.there is not None:
            other &= self.there
        counts = {"removed": removed, "relabelled": int(np.count_nonzero(other))}
        return {name: count for name, count in counts.items() if count}

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.store) if self.there is None else int(np.count_nonzero(self.there))

    @property
    def image_bytes(self) -> int:
        """Bytes of the samples together."""
        if self.there is None:
            return self.store.manifest.image_bytes
        size = self.store.index.size
        return sum(int(size[rows][self.there[rows]].sum()) for rows in row_parts(len(self.store)))

    @property
    def shards(self) -> list[Shard]:
        """The shards, with the numbers of samples that are kept and removed."""
        shards = self.store.manifest.shards
        if self.there is None:
            return shards
        kept: list[Shard] = []
        first = 0
        for shard in shards:
            there = int(np.count_nonzero(self.there[first : first + shard.samples]))
            first += shard.samples
            kept.append(shard.model_copy(update={"samples": there, "removed": shard.packed - there}))
        return kept

    def parts(self, fields: Sequence[Field] = ()) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Yield the rows of the index in parts. fields: the schema of the next generation."""
        for rows in row_parts(len(self.store)):
            yield self.part(rows if self.there is None else rows[self.there[rows]], fields)

    def _fields(self, rows: npt.NDArray[np.int64], fields: Sequence[Field]) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of fields."""
        held = {f"{FIELDS}/{name}": column[rows] for name, column in self.store.index.fields.items()}
        return held | completed(held, fields, len(rows))

    def part(self, rows: npt.NDArray[np.int64], fields: Sequence[Field] = ()) -> dict[str, npt.NDArray[Any]]:
        """Return some rows of the index, where key_end counts from the first key.

        rows: int64 (n,), ascending. fields: as for parts.
        """
        index = self.store.index
        part = {name: getattr(index, name)[rows] for name in COLUMNS if not name.startswith("key")}
        part |= self._fields(rows, fields)
        for name, column in (("label", self.label), ("split", self.split)):
            if column is not None:
                part[name] = column[rows]
        if not len(rows) or rows[-1] - rows[0] + 1 > len(rows):  # none, or with gaps
            part["key"], part["key_end"] = lay_end_to_end(index.keys(rows))
            return part
        begin = int(index.key_end[rows[0] - 1]) if rows[0] else 0
        ends = index.key_end[rows]
        return part | {"key": index.key[begin : int(ends[-1])], "key_end": ends - begin}
