"""Packing: write a dataset into a store, and update the store when the dataset changes.

Open `convert.py` first: it lists the source, plans shards, packs them on an executor, and commits the store with the
manifest last. `append.py`, `sync.py` and `repair.py` change a finished store; `verify.py` and `export.py` read it.
"""
