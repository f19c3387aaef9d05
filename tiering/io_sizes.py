"""Sizes, in bytes, that the loader, the stores, the packer and the cache work with.

The performance model (`advice/`) predicts these parts, so it must use the same numbers. They are defined only here,
below both.
"""

from __future__ import annotations

from typing import Final

#: Bytes of a page: file systems, LMDB and the page cache fill whole pages.
PAGE_BYTES: Final = 4096

#: How far the loader reads ahead of its consumer by default: enough to fill the device's queue, little enough to stay
#: in the page cache and well within a budget of 256 MiB per process.
PREFETCH_BYTES: Final = 64 << 20
#: Bytes that the loader announces to the kernel with one call: enough to fill the device's queue, little enough to
#: start at once.
ANNOUNCED_BYTES: Final = 4 << 20
#: A packed store is read as a whole, before its first samples, if no more than this is missing from the page cache.
LITTLE_BYTES: Final = 64 << 20
#: Threads that announce at the same time. Announcing plain files opens them, so a loader uses as many as it has threads
#: for that, and at least this many; at least the larger number for files on a network.
ANNOUNCE_THREADS: Final = 2
NETWORK_ANNOUNCE_THREADS: Final = 8
#: Bytes of a block of neighbouring samples in a store without encoded chunks. Reading them takes a few milliseconds,
#: much more than a seek.
BLOCK_BYTES: Final = 8 << 20
#: Blocks that a block shuffle mixes together. The loader announces the samples of one such window with one call.
WINDOW_BLOCKS: Final = 16
#: Ranges with a gap up to this size are announced as one: reading the gap costs less than another request.
JOINED_GAP_BYTES: Final = 16 << 10

#: Bytes of decoded chunks that a store of compressed chunks keeps.
HELD_BYTES: Final = 64 << 20
#: Bytes of a Zarr chunk of encoded images: large enough to make a remote request worth its latency, small enough that
#: reading one image does not fetch many others. A manifest may not name longer chunks, so this may grow but not shrink.
CHUNK_BYTES: Final = 256 << 10
#: Smaller samples of pixels share chunks of about this many bytes; a larger one is a chunk of its own. Reading a sample
#: decodes its chunk. At 16 KiB photographs compress within 2 % as well as at 64 KiB, and decode in a third of the time.
PIXEL_CHUNK_BYTES: Final = 16 << 10

#: Bytes of the neighbouring samples that a cache fetches and stores together: hundreds of small images, or one large
#: image.
CACHE_UNIT_BYTES: Final = 128 << 10
