"""How many bytes the loader, the stores and the packer handle at a time.

The performance model (`advice/`) predicts what these parts do, so it must count with the same numbers. They stand here,
below both, and have no second home.
"""

from __future__ import annotations

from typing import Final

#: Bytes of a page: file systems, LMDB and the page cache fill whole pages.
PAGE_BYTES: Final = 4096

#: Bytes that the loader stays ahead of its consumer by default: enough for the device's queue, little enough to stay in
#: the page cache, and well within a budget of 256 MiB for a process.
PREFETCH_BYTES: Final = 64 << 20
#: Bytes that the loader announces to the kernel with one call: enough requests for the device's queue, few enough to
#: begin at once.
ANNOUNCED_BYTES: Final = 4 << 20
#: Threads that announce, and so open files, at the same time.
ANNOUNCE_THREADS: Final = 2
#: Ranges this near to one another are announced as one: reading the gap costs less than another request.
JOINED_GAP_BYTES: Final = 16 << 10

#: Bytes of decoded chunks that a store of compressed chunks keeps.
HELD_BYTES: Final = 64 << 20
#: Bytes of a Zarr chunk of encoded images: large enough that a foreign reader's request is worth its latency, small
#: enough not to drown one image.
CHUNK_BYTES: Final = 256 << 10
#: Bytes that a chunk of compressed pixels holds at least, because a codec needs something to work on.
PIXEL_CHUNK_BYTES: Final = 64 << 10
