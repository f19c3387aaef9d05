"""What re-encoded samples were made from, as fields of a store: sides, size and CRC-32C of the original file."""

from __future__ import annotations

from collections.abc import Iterable

from tiering.arrays import IndexArray
from tiering.errors import UsageError
from tiering.store.protocol import Store
from tiering.store.schema import ORIGINAL, ORIGINAL_BYTES, Field
from tiering.store.settings import Settings


def with_original(fields: Iterable[Field], settings: Settings) -> list[Field]:
    """Return the fields of a source, and for a store of re-encoded images those of the originals.

    Raises UsageError if a field of the source has the name of one of these.
    """
    found = list(fields)
    if settings.reencoded is None:
        return found
    own = {field.name.casefold() for field in ORIGINAL}
    for field in found:
        if field.name.casefold() in own:
            raise UsageError(
                f"field {field.name}", expected="another name: re-encoded samples have a field of that name",
                found="it in the source",
                action="Rename it there, or choose fields: `columns`. Are these images re-encoded already?",
            )  # fmt: skip
    return [*found, *ORIGINAL]


def original_sizes(store: Store) -> IndexArray | None:
    """Return the size of each sample's file in the source, int64 (n,); None for pixels, of which it is not known."""
    settings = store.manifest.settings
    if settings is not None and settings.pixels is not None:
        return None
    reencoded = settings is not None and settings.reencoded is not None
    return store.index.fields[ORIGINAL_BYTES] if reencoded else store.index.size
