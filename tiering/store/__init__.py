"""Store: the formats of packed datasets, and reading them. Other tools can read these formats too.

Open `protocol.py` first: it has the methods of every store. `open.py` opens a store. `folder_store.py`,
`packed_store.py` and `chunked_store.py` are the kinds of stores; `schema.py` has the fields of samples. `lmdb.py` and
`zarr.py` write shards. `layout.py`
names the files, and `manifest.py` describes them.
"""
