"""Write the documents of a store, such as the zarr.json files that describe it to other readers."""

from __future__ import annotations

from collections.abc import Mapping

import google_crc32c

from tiering.storage.location import Location


def write_documents(target: Location, documents: Mapping[str, bytes], work: Location) -> dict[str, int]:
    """Write documents into a store, and return their CRC-32Cs by name.

    documents: their contents, by name. work: directory for temporary files.
    """
    for name, content in documents.items():
        (target / name).write(content, work)
    return {name: int(google_crc32c.value(content)) for name, content in documents.items()}
