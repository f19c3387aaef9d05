"""Where samples come from: folders of images, tables that list them, and tar files, here or behind a URL.

Open `source` first: it recognises a dataset, lists its samples and reads their bytes. `trees` walks directories,
`tables` reads CSV and Parquet, `labels` finds classes and splits, and `account` keeps the books on what is left out.
"""
