"""LMDB as it opens by default: the kernel reads ahead around every fault."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import lmdb_naive

HOW = "one process, the kernel's read-ahead on"
PACKAGES = ("lmdb",)
pack = lmdb_naive.pack
opened = partial(lmdb_naive.opened, readahead=True)
