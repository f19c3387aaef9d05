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

#: The formats of a packed store.
PackedFormat = Literal["lmdb", "zarr"]

#: What packing does about images that it cannot pack: fail at the end, leave them out, or keep copies of them too.
OnBadImage = Literal["fail", "skip", "quarantine"]

#: How much of each image packing checks: its beginning and end, or all its pixels.
Check = Literal["quick", "decode"]

#: How images are resized to one shape.
ResizeMode = Literal["crop", "pad", "stretch"]

#: The programs that record a trace.
Tracer = Literal["strace", "dftracer"]
