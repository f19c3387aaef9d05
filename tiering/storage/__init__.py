"""Storage: files at a path or behind a URL, read whole and written atomically. Only this room writes files that stay.

Open `location.py` first: a Location reads, writes and renames files, and works the same for paths and URLs.
`output_file.py` writes a file that the user named, `lock.py` keeps two writers apart, `failures.py` turns the errors of
servers into ours, and `bucket.py` connects.
"""
