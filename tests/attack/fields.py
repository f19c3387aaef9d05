"""Every field of a model or a document, and what an attacker may put there.

Fields are found by walking the JSON schema of a pydantic model beside a document that it wrote (or the document alone,
where there is no model), so that a field that is added tomorrow is attacked tomorrow.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

DEEP = "@deep@"
CUT = "@cut@"
MISSING = object()


def fields(document: Any, schema: dict[str, Any] | None = None) -> list[Path]:
    """Every path of a document, and of its schema: of a list the first item stands for all, of a map the first name."""
    found = dict.fromkeys([*_of_document(document, ()), *(_of_schema(schema, schema, ()) if schema else ())])
    return [path for path in found if path]


def _of_document(value: Any, at: Path) -> Iterator[Path]:
    yield at
    if isinstance(value, dict):
        # A map of names to numbers has no end of names; an object has few.
        names = list(value) if len(value) < 30 else list(value)[:2]
        for name in names:
            yield from _of_document(value[name], (*at, name))
    elif isinstance(value, list) and value:
        yield from _of_document(value[0], (*at, 0))


def _of_schema(schema: dict[str, Any], root: dict[str, Any], at: Path) -> Iterator[Path]:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    for option in schema.get("anyOf", ()):
        yield from _of_schema(option, root, at)
    yield at
    for name, below in schema.get("properties", {}).items():
        yield from _of_schema(below, root, (*at, name))
    if isinstance(schema.get("items"), dict):
        yield from _of_schema(schema["items"], root, (*at, 0))


def put(document: Any, path: Path, value: Any) -> Any:
    """A copy of the document with another value at a path; None where there is no such place."""
    changed = copy.deepcopy(document)
    at = changed
    for step in path[:-1]:
        try:
            at = at[step]
        except (KeyError, IndexError, TypeError):
            return None
    last = path[-1]
    if value is MISSING:
        if not isinstance(at, dict) or last not in at:
            return None
        del at[last]
    elif isinstance(at, dict) or (isinstance(at, list) and isinstance(last, int) and last < len(at)):
        at[last] = value
    else:
        return None
    return changed


def renamed(document: Any, path: Path, name: str) -> Any:
    """A copy of the document whose name at a path, of a map, is another one."""
    at = document
    for step in path[:-1]:
        at = at[step]
    if not isinstance(at, dict) or path[-1] not in at:
        return None
    return put(put(document, path, MISSING), (*path[:-1], name), at[path[-1]])


def _wrong_type(old: Any) -> Any:
    return 7 if isinstance(old, str) else "seven" if isinstance(old, int) else [] if isinstance(old, dict) else {}


def _huge(old: Any) -> Any:
    if isinstance(old, str):
        return "x" * 3_000_000
    if isinstance(old, list):
        return (old or [""]) * 20_000
    if isinstance(old, dict):
        return old | {f"name {number}": 1 for number in range(20_000)}
    return 10**18


#: What an attacker may put in the place of a value: name of the attack -> new value for an old one and a victim.
VALUES: dict[str, Any] = {
    "wrong-type": lambda old, victim: _wrong_type(old),
    "null": lambda old, victim: [None] if old is None else None,
    "float": lambda old, victim: 1.5,
    "truth": lambda old, victim: True,
    "huge": lambda old, victim: _huge(old),
    "beyond-64-bits": lambda old, victim: 1 << 64,
    "endless-number": lambda old, victim: 10**4000,
    "negative": lambda old, victim: -1,
    "path": lambda old, victim: "../victim",
    "absolute": lambda old, victim: victim,
    "link": lambda old, victim: "link",
    "device": lambda old, victim: "device",
    "nul": lambda old, victim: "shard\0",
    "surrogate": lambda old, victim: "\udcff/\ud800",
    "deep": lambda old, victim: DEEP,
    "truncated": lambda old, victim: CUT,
    "missing": lambda old, victim: MISSING,
}


def attacks_on(value: Any, number: int) -> list[str]:
    """The attacks for one value: of kindred ones some, which ones the number of the field says, but all on strings."""
    kindred = [("null", "float", "truth"), ("beyond-64-bits", "endless-number")]
    if not isinstance(value, str):
        kindred.append(("path", "absolute", "link", "device", "nul", "surrogate"))
    left_out = {attack for those in kindred for attack in those if attack != those[number % len(those)]}
    return [attack for attack in VALUES if attack not in left_out]


def text_of(document: Any) -> bytes:
    """The JSON of a changed document, where DEEP is a hundred thousand brackets, and CUT the end of the file."""
    text = json.dumps(document, indent=2)
    if f'"{CUT}"' in text:
        return text.split(f'"{CUT}"')[0].encode()
    return text.replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000).encode()
