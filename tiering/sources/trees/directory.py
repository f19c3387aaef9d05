"""The names in one directory, wherever it lies, for those who look no further."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tiering.errors import from_os_error
from tiering.sources.trees.local import marked_name
from tiering.sources.trees.remote import connect, pages


def names_in(url: str) -> Iterator[bytes]:
    """Yield the names in a directory, hidden ones too, a directory's with a "/" at its end. url: or a local path.

    Raises FileNotFoundError and NotADirectoryError as they are, MachineError for what else goes wrong.
    """
    if "://" in url:
        system, path = connect(url)
        for page in pages(system, url, path):
            yield from (name for name, _, _ in page)
        return
    try:
        with os.scandir(os.fsencode(url)) as entries:
            yield from map(marked_name, entries)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise from_os_error(error) from error
