"""The file of a model in the format of skops: a ZIP archive of arrays, and a schema in JSON that assigns them.

A model may come from an untrusted source, so the objects in its schema are never created. Instead the file is taken
apart. Its size is checked before it is unpacked, unknown types are refused by name, and numbers, texts and arrays are
read from where a model has them. Other contents are ignored.
"""

from __future__ import annotations

import io
import json
import math
import stat
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from tiering.arrays import AnyArray
from tiering.storage.json_text import parse_json

#: The scikit-learn estimators of which a model consists.
TRUSTED_TYPES: Final[tuple[str, ...]] = (
    "sklearn.ensemble._forest.ExtraTreesClassifier",
    "sklearn.tree._classes.ExtraTreeClassifier",
    "sklearn.tree._tree.Tree",
)

#: These, and the other types: numbers, texts, NumPy arrays and their containers.
_KNOWN: Final = frozenset(
    [*TRUSTED_TYPES]
    + [f"builtins.{name}" for name in ("dict", "list", "tuple", "str", "int", "float", "bool", "NoneType")]
    + [f"numpy.{name}" for name in ("ndarray", "int64", "float64")]
)

#: Bounds of the file and of its unpacked contents: ten times those of the model that ships.
_MOST_FILE_BYTES: Final = 16 << 20
_MOST_BYTES: Final = 64 << 20
_MOST_SCHEMA_BYTES: Final = 8 << 20
_MOST_MEMBERS: Final = 4096
_SCHEMA: Final = "schema.json"
_MOST_TEXT: Final = 1000
_SHOWN: Final = 5


class Archive:
    """An archive within the bounds. Its methods raise ValueError if something is not where a model has it.

    data: the file's bytes. Raises ValueError if they are no archive, exceed a bound, or name a foreign type.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._members = zipfile.ZipFile(io.BytesIO(data))
        except Exception as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        members = self._members.infolist()
        _check_members(members)
        self._names = {member.filename for member in members}
        schema = parse_json(self._read(_SCHEMA))
        foreign = _foreign(schema)
        if foreign:
            more = f" and {len(foreign) - _SHOWN:,} more" if len(foreign) > _SHOWN else ""
            raise ValueError(f"types that are not trusted: {', '.join(sorted(foreign)[:_SHOWN])}{more}")
        self.content = mapping(schema)

    def array(self, node: object) -> AnyArray:
        """Return an array. Its size is that of its bytes in the file, whatever its header claims."""
        state = _node(node, "NdArrayNode")
        data = self._read(state.get("file") if state.get("type") == "numpy" else None)
        try:
            return _array_of(data)
        except Exception as error:  # NumPy gives the header to Python's own parser, which raises many types.
            raise ValueError(f"an array that is none: {type(error).__name__}: {error}") from error

    def _read(self, name: object) -> bytes:
        """Unpack a member. Its size in the table is the maximum, and was checked."""
        if not isinstance(name, str) or name not in self._names:
            raise ValueError(f"no {str(name)[:100]!r} in it")
        try:
            return self._members.read(name)
        except Exception as error:  # zipfile raises what it meets: struct.error, RuntimeError, EOFError, zlib.error ...
            raise ValueError(f"{type(error).__name__}: {error}") from error


def open_archive(path: str | Path) -> Archive:
    """Read a whole file, if it is not too large. Raises as Archive does, and OSError."""
    where = Path(path)
    found = where.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("no regular file")
    with where.open("rb") as file:
        data = file.read(_MOST_FILE_BYTES + 1)
    if len(data) > _MOST_FILE_BYTES:
        raise ValueError(f"more than {_MOST_FILE_BYTES:,} bytes")
    return Archive(data)


def mapping(node: object) -> dict[str, Any]:
    """Return the items of a dict, by key."""
    content = _node(node, "DictNode").get("content")
    if not isinstance(content, dict):
        raise ValueError("a dict without content")  # noqa: TRY004 - of the file, not of the call
    return content


def items(node: object) -> list[Any]:
    """Return the items of a list or a tuple."""
    content = _node(node, "ListNode", "TupleNode").get("content")
    if not isinstance(content, list):
        raise ValueError("a list without content")  # noqa: TRY004 - as above
    return content


def attributes(node: object, kind: str) -> dict[str, Any]:
    """Return the attributes of an object of one of TRUSTED_TYPES."""
    state = _node(node, "ObjectNode", "TreeNode")
    if _type_of(state) != kind:
        raise ValueError(f"another type, {_type_of(state)}")
    return mapping(state.get("content"))


def plain(node: object) -> str | float | None:
    """Return a number or a text."""
    content = _node(node, "JsonNode").get("content")
    value = json.loads(content) if isinstance(content, str) and len(content) <= _MOST_TEXT else []
    if isinstance(value, list | dict):
        raise ValueError("something else than a number or a text")  # noqa: TRY004 - as above
    return value  # type: ignore[no-any-return]


def _node(value: object, *loaders: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("__loader__") not in loaders:
        raise ValueError(f"no {' or '.join(loaders)} where a model has one")
    return value


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    """Check an archive's table before unpacking. No member can be larger than the table states."""
    if len(members) > _MOST_MEMBERS:
        raise ValueError(f"{len(members):,} members, over the limit of {_MOST_MEMBERS:,}")
    total = sum(member.file_size for member in members)
    if total > _MOST_BYTES:
        raise ValueError(f"{total:,} bytes when unpacked, over the limit of {_MOST_BYTES:,}")
    for member in members:
        if member.filename == _SCHEMA:
            if member.file_size > _MOST_SCHEMA_BYTES:
                raise ValueError(f"a schema of {member.file_size:,} bytes, over the limit of {_MOST_SCHEMA_BYTES:,}")
        elif not member.filename.endswith(".npy"):
            raise ValueError(f"a member {member.filename[:100]!r}")
        # Other methods do not limit how much they unpack at a time.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"compression method {member.compress_type}")


def _array_of(data: bytes) -> AnyArray:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"format {version}")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"{dtype} and shape {shape} in {len(data):,} bytes")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if fortran else "C")


def _foreign(content: object) -> set[str]:
    """Return the types in a schema that no model has, at any depth."""
    found: set[str] = set()
    left = [content]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            if "__loader__" in each and _type_of(each) not in _KNOWN:
                found.add(_type_of(each))
            left += each.values()
        elif isinstance(each, list):
            left += each
    return found


def _type_of(state: dict[str, Any]) -> str:
    return f"{state.get('__module__')}.{state.get('__class__')}"[:100]
