"""Where members of the kernel's structures lie, by the kernel's own description of its types (BTF)."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Final

_BTF: Final = Path("/sys/kernel/btf/vmlinux")
#: struct btf_header of linux/btf.h, without its magic: length of itself, types (offset, length), strings (the same).
_HEADER: Final = struct.Struct("<4xIIIII")
#: struct btf_type and struct btf_member: name and information or type, then size or place.
_TYPE: Final = struct.Struct("<III")
_STRUCTURE, _NAMED = 4, 8
#: Words of 4 B that follow a type of each kind: always, and for each of its members.
_WORDS: Final = (
    *((0, 0), (1, 0), (0, 0), (3, 0), (0, 3), (0, 3), (0, 2), (0, 0), (0, 0), (0, 0)),
    *((0, 0), (0, 0), (0, 0), (0, 2), (1, 0), (0, 3), (0, 0), (1, 0), (0, 0), (0, 3)),
)


def member_offsets(members: dict[str, tuple[str, ...]]) -> dict[str, int]:
    """Look up where members of structures lie.

    Args:
        members: the names of members for each structure.

    Returns:
        Bytes from the beginning of its structure, for each "structure.member".

    Raises:
        OSError: If the kernel does not describe its types, or lacks such a member.

    Example:
        >>> member_offsets({"task_struct": ("exit_code",)})  # doctest: +SKIP
        {'task_struct.exit_code': 1648}
    """
    types, strings = _description()
    found: dict[str, int] = {}
    for structure, names in members.items():
        there = _members(types, strings, structure)
        if missing := [name for name in names if name not in there]:
            raise OSError(errno.ENOENT, f"this kernel has no {structure}.{missing[0]}", os.fspath(_BTF))
        found |= {f"{structure}.{name}": there[name] for name in names}
    return found


def type_numbers(names: Collection[str]) -> dict[str, int]:
    """Look up the numbers of types, by which bpf(2) names them.

    Args:
        names: the names of types that have a name of their own (typedef).

    Returns:
        The number of each.

    Raises:
        OSError: If the kernel does not describe its types, or lacks one of these.

    Example:
        >>> type_numbers(["btf_trace_sys_exit"])  # doctest: +SKIP
        {'btf_trace_sys_exit': 11322}
    """
    types, strings = _description()
    wanted = {strings.find(b"\0" + name.encode() + b"\0") + 1: name for name in names}
    wanted.pop(0, None)
    words, at, number = memoryview(types).cast("I"), 0, 0
    found: dict[str, int] = {}
    while at < len(words) and len(found) < len(wanted):
        number, information = number + 1, words[at + 1]
        kind = information >> 24 & 0x1F
        if kind == _NAMED and words[at] in wanted:
            found[wanted[words[at]]] = number
        if kind >= len(_WORDS):
            raise OSError(errno.ENOTSUP, f"this kernel describes its types in a newer way (kind {kind})", str(_BTF))
        fixed, each = _WORDS[kind]
        at += 3 + fixed + each * (information & 0xFFFF)
    if missing := [name for name in names if name not in found]:
        raise OSError(errno.ENOENT, f"this kernel has no {missing[0]}", os.fspath(_BTF))
    return found


def _description() -> tuple[bytes, bytes]:
    """Return the kernel's types and the names in them."""
    try:
        data = _BTF.read_bytes()
    except FileNotFoundError as error:
        raise OSError(errno.ENOTSUP, "this kernel does not describe its types", os.fspath(_BTF)) from error
    own, types_at, types_length, strings_at, strings_length = _HEADER.unpack_from(data)
    types = data[own + types_at : own + types_at + types_length]
    return types, data[own + strings_at : own + strings_at + strings_length]


def _members(types: bytes, strings: bytes, structure: str) -> dict[str, int]:
    """Return the offsets of a structure's members. Types have no index, so the structure is found by its name."""
    name = struct.pack("<I", strings.find(b"\0" + structure.encode() + b"\0") + 1)
    at = types.find(name)
    while at >= 0:
        _, information, _size = _TYPE.unpack_from(types, at)
        count, kind, has_bits = information & 0xFFFF, information >> 24 & 0x1F, information >> 31
        if at % 4 == 0 and kind == _STRUCTURE and count:
            rows = _TYPE.iter_unpack(types[at + _TYPE.size : at + _TYPE.size * (count + 1)])
            return {_word(strings, row[0]): (row[2] & 0xFFFFFF if has_bits else row[2]) // 8 for row in rows}
        at = types.find(name, at + 1)
    return {}


def _word(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode("latin-1")
