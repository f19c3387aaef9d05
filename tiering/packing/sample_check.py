"""Check the CRC-32C of samples, or of the values of a field."""

from __future__ import annotations

from collections.abc import Iterator

import google_crc32c
import numpy as np

from tiering.arrays import IndexArray
from tiering.errors import TieringError
from tiering.packing.decoding_check import Decoding
from tiering.store.protocol import Store
from tiering.text import display


def check_samples(store: Store, rows: IndexArray, decoding: Decoding | None, what: str = "") -> Iterator[str]:
    """Yield the samples with a wrong CRC-32C.

    store: of the samples, or the runs of a field. decoding: decodes the sound ones. what: words before "sample".
    """
    try:
        images = store.read(rows)
    except TieringError as error:
        yield f"{what}samples {rows[0]:,} to {rows[-1]:,}: {error}"
        return
    sound = np.ones(len(rows), dtype=bool)
    for at, (row, image) in enumerate(zip(rows.tolist(), images, strict=True)):
        data = bytes(image)
        if len(data) != store.index.size[row] or google_crc32c.value(data) != store.index.crc32c[row]:
            key = display(store.index.keys(np.array([row]))[0])
            sound[at] = False
            yield f"{what}sample {row:,} ({key}): its bytes do not have their CRC-32C"
    if decoding is not None:
        decoding.check(rows[sound], [images[at] for at in np.flatnonzero(sound).tolist()])
