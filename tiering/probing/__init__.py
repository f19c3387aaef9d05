"""Measure the storage that is really there: a mounted file system or a bucket becomes a tier of the catalog.

Open `probe.py` first: it measures a path (`mount.py`) or a URL (`bucket.py`) and fills in a catalog tier from the
figures. `tier_toml.py` writes that tier as a catalog file.
"""
