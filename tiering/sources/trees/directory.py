"""List the names in one directory, local or remote, without looking at the entries."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tiering.errors import from_os_error
from tiering.sources.trees.local import marked_name
from tiering.sources.trees.remote import connect, pages


def names_in(url: str) -> Iterator[bytes]:
    """Yield the names in a directory, including hidden ones. Names of directories end in "/". url: a URL or local path.

    Raises FileNotFoundError and NotADirectoryError as they are, and MachineError for other failures.
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
