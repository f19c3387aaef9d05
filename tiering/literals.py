"""Words from a fixed list, once for the library and the command line.

Nothing is imported here, so `tiering --help` can name the words without loading what works with them.
"""

from __future__ import annotations

from typing import Literal

#: How the original files of a dataset are kept: as they are, or packed.
OriginalFormat = Literal["folder", "lmdb", "zarr"]

#: How a dataset may be kept; "pixels" is decoded, in Zarr.
Format = Literal["folder", "lmdb", "zarr", "pixels"]

#: The stage of an epoch that sets its pace (advice/epoch_stages.py).
Bottleneck = Literal["device", "open latency", "CPU copy", "decoding", "all cores", "training job"]

#: What a placement moves as one.
MovedAs = Literal["file", "directory"]
