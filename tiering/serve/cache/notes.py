"""The notes of a cache: small JSON files that any process may have written, read as what they have to be, or not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from tiering.storage.json_text import parse_json
from tiering.storage.local import open_to_read

_Note = TypeVar("_Note")

#: Bytes of a note at most: a few numbers and a path.
_LONGEST: Final = 64 << 10


def read_note(path: Path, kind: type[_Note]) -> _Note:
    """Read a dataclass from a JSON file, with exactly its fields, of exactly their types.

    Raises FileNotFoundError, StoreError for something that is no file, and ValueError for a file that is no such note.
    """
    with os.fdopen(open_to_read(path), "rb") as file:
        data = file.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise ValueError(f"more than {_LONGEST:,} bytes")
    content = parse_json(data)
    adapter = TypeAdapter(kind)
    if not isinstance(content, dict) or content.keys() != kind.__dataclass_fields__.keys():  # type: ignore[attr-defined]
        raise ValueError("other fields")
    try:
        # From the text: Python values would have to be an instance already.
        return adapter.validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from error
