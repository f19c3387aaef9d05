"""Store: the formats of packed datasets, and reading them. Other tools can read them, too.

Open `protocol.py` first: it says what every store can do. `open.py` opens one; `folder_store.py`, `lmdb.py` and
`zarr.py` are the formats; `layout.py` names the files, `manifest.py` describes them, and `codecs.py` has the codecs.
"""
