"""Literal types that the library and the command line share.

This module imports nothing else, so `tiering --help` can list the words without loading the modules that use them.
"""

from __future__ import annotations

from typing import Literal

#: How the original files of a dataset are stored: as they are, or packed.
OriginalFormat = Literal["folder", "lmdb", "zarr"]

#: How a dataset may be stored. "pixels" means decoded, in Zarr.
Format = Literal["folder", "lmdb", "zarr", "pixels"]

#: Stores made for training (images/training_formats.py): re-encoded with a longest side of 400 or 256 pixels, or
#: decoded to 256 x 256.
TrainingFormat = Literal["jpeg-400", "jpeg-256", "pixels-256"]

#: All formats that advice may name: the simplest first, and of stores made for training the gentlest.
AnyFormat = Literal["folder", "lmdb", "zarr", "jpeg-400", "jpeg-256", "pixels-256", "pixels"]

#: The stage of an epoch that sets its pace (advice/epoch_stages.py).
Bottleneck = Literal["device", "network", "open latency", "CPU copy", "decoding", "all cores", "training job"]

#: The orders of reading that the performance model knows (serve/orders.py has all of them).
ReadOrder = Literal["global", "block"]

#: The units that a placement moves.
MovedAs = Literal["file", "directory"]

#: What `tiering place` may place: the units above, or whole datasets.
PlacedAs = Literal["file", "directory", "dataset"]

#: The formats of a packed store.
PackedFormat = Literal["lmdb", "zarr"]

#: What packing does about images that it cannot pack: fail at the end, leave them out, or keep copies of them too.
OnBadImage = Literal["fail", "skip", "quarantine"]

#: How much of each image packing checks: its beginning and end, or all its pixels.
Check = Literal["quick", "decode"]

#: The type of each number of stored pixels.
PixelType = Literal["uint8", "uint16", "float32"]

#: How images are resized to one shape.
ResizeMode = Literal["crop", "pad", "stretch"]

#: The formats that images can be re-encoded to. WebP is lossy here.
EncodedFormat = Literal["jpeg", "webp", "png"]

#: How a pixel is made of its neighbours when a picture is resized.
Interpolation = Literal["nearest", "bilinear", "bicubic"]

#: Clouds whose tiers and prices are known; onprem is storage of your own.
Cloud = Literal["aws", "google", "azure", "onprem"]

#: Where the nodes are that read data: in its zone, or further away, which may cost money.
ReadsFrom = Literal["same-zone", "other-zone", "other-region", "internet"]

#: The programs that record a trace.
Tracer = Literal["auto", "tracepoints", "strace", "dftracer"]

#: What happens to the original files beside a packed store or copies: kept where that is cheapest, kept where they are,
#: or deleted.
OriginalFiles = Literal["cheapest", "stay", "drop"]

#: The kinds of a field of a sample. "vector": numbers of a fixed shape. "image": encoded. "array": a .npy document.
FieldKind = Literal["integer", "float", "vector", "string", "json", "bytes", "image", "array"]

#: The forms in which a store can be exported.
ExportFormat = Literal["folder", "webdataset", "parquet"]
