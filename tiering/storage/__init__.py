"""A location, path or URL: whole files, written atomically, and the only writer of them."""
