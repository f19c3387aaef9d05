"""Literal types that the library and the command line share.

This module imports nothing else, so `tiering --help` can list the words without loading the modules that use them.
"""

from __future__ import annotations

from typing import Literal

#: How the original files of a dataset are stored: as they are, or packed.
OriginalFormat = Literal["folder", "lmdb", "zarr"]

#: How a dataset may be stored. "pixels" means decoded, in Zarr.
Format = Literal["folder", "lmdb", "zarr", "pixels"]

#: The stage of an epoch that sets its pace (advice/epoch_stages.py).
Bottleneck = Literal["device", "open latency", "CPU copy", "decoding", "all cores", "training job"]

#: The units that a placement moves.
MovedAs = Literal["file", "directory"]
