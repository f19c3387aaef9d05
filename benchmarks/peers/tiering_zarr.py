"""tiering, Zarr."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import tiering_lmdb

HOW = "one process, views"
PACKAGES = ("tiering", "zarr")
pack = partial(tiering_lmdb.packed, "zarr")
opened = tiering_lmdb.opened
