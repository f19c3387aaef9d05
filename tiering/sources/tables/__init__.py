"""Tables that list images: CSV, TSV, Parquet and plain lists of paths.

Open `table` first: it yields the samples of a table. `dialects` recognises separators, quotes and header lines.
"""
