"""Small programs that the kernel runs at its tracepoints (eBPF): assembled here, loaded with bpf(2).

The instructions are those of the kernel's Documentation/bpf/standardization/instruction-set.rst. Only root, or who has
CAP_BPF and CAP_PERFMON, may load them. The kernel proves beforehand that they end and read nothing else, so they cannot
harm what they look at.

The kernel lets programs call most of its functions only if their licence is compatible with its own, GPL-2.0. So the
programs that are loaded here are offered, besides the project's Apache-2.0, under MIT or GPL-2.0-only, as you choose,
and say "Dual MIT/GPL" to the kernel. Nothing of the kernel is copied into them.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple

from tiering.system.kernel_types import type_numbers
from tiering.system.machine import libc_syscall

_BPF: Final = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _LOAD, _ATTACH = 0, 1, 2, 3, 5, 17
#: A program that knows the types of what it is given, of a tracepoint (BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP).
_TRACING, _OF_TRACEPOINT = 26, 23
_LICENCE: Final = b"Dual MIT/GPL"
#: What the kernel puts before the name of a tracepoint to name its type.
_TYPED: Final = "btf_trace_"
_PAGE: Final = mmap.PAGESIZE
_BUSY, _DISCARDED, _LENGTH = 1 << 31, 1 << 30, (1 << 30) - 1

MapKind = Literal["hash", "array", "array per processor", "ring"]
_MAP_KINDS: Final[dict[MapKind, int]] = {"hash": 1, "array": 2, "array per processor": 6, "ring": 27}

#: The kernel's functions that a program may call, by number (linux/bpf.h).
HELPERS: Final = {
    "look up": 1, "update": 2, "ktime": 5, "process and thread": 14, "copy user": 112, "copy kernel": 113,
    "copy user string": 114, "copy kernel string": 115, "put into ring": 130,
    "ask ring": 134,
}  # fmt: skip
_CONDITIONS: Final = {"==": 0x15, "!=": 0x55, ">": 0x25, "<": 0xA5, "signed <": 0xC5}
_WIDTHS: Final = {4: 0x00, 8: 0x18}


class Map(NamedTuple):
    """A map that programs and this process share: its descriptor, and B of a key and a value."""

    fd: int
    key: int
    value: int


class Program:
    """A program under construction. Registers: 0 holds results, 1 to 5 arguments, 6 to 9 stay, 10 is the stack's end.

    Example:
        >>> Program().set(0, 0).leave().code().hex()
        'b7000000000000009500000000000000'
    """

    def __init__(self) -> None:
        self._words: list[bytes] = []
        self._labels: dict[str, int] = {}
        self._jumps: dict[int, str] = {}

    def _add(self, code: int, to: int = 0, of: int = 0, offset: int = 0, number: int = 0) -> Program:
        self._words.append(struct.pack("<BBhi", code, of << 4 | to, offset, number))
        return self

    def set(self, to: int, number: int) -> Program:
        """Set a register to a number."""
        return self._add(0xB7, to, number=number)

    def move(self, to: int, of: int, plus: int = 0) -> Program:
        """Copy a register, and add a number to the copy."""
        self._add(0xBF, to, of)
        return self._add(0x07, to, number=plus) if plus else self

    def add(self, to: int, of: int) -> Program:
        """Add a register to another."""
        return self._add(0x0F, to, of)

    def mask(self, to: int, bits: int) -> Program:
        """Keep only these bits of a register."""
        return self._add(0x57, to, number=bits)

    def shift_right(self, to: int, bits: int) -> Program:
        """Shift a register to the right."""
        return self._add(0x77, to, number=bits)

    def load(self, to: int, base: int, offset: int = 0, width: int = 8) -> Program:
        """Load from memory, B."""
        return self._add(0x61 | _WIDTHS[width], to, base, offset)

    def store(self, base: int, offset: int, of: int, width: int = 8) -> Program:
        """Store a register into memory, B."""
        return self._add(0x63 | _WIDTHS[width], base, of, offset)

    def store_number(self, base: int, offset: int, number: int, width: int = 4) -> Program:
        """Store a number into memory, B."""
        return self._add(0x62 | _WIDTHS[width], base, 0, offset, number)

    def count(self, base: int, offset: int = 0) -> Program:
        """Add 1 to a counter in memory, atomically. Changes register 1."""
        self.set(1, 1)
        return self._add(0xDB, base, 1, offset)

    def use(self, to: int, shared: Map) -> Program:
        """Point a register to a map."""
        self._add(0x18, to, 1, number=shared.fd)
        return self._add(0)

    def call(self, helper: str) -> Program:
        """Call one of HELPERS."""
        return self._add(0x85, number=HELPERS[helper])

    def find(self, shared: Map, key_at: int, otherwise: str) -> Program:
        """Point register 0 to the value whose key is on the stack, or jump where there is none."""
        return self.use(1, shared).move(2, 10, key_at).call("look up").jump_if(0, "==", 0, otherwise)

    def jump_if(self, register: int, condition: str, number: int, label: str) -> Program:
        """Jump to a label further down if a register compares so."""
        self._jumps[len(self._words)] = label
        return self._add(_CONDITIONS[condition], register, number=number)

    def jump(self, label: str) -> Program:
        """Jump to a label further down."""
        self._jumps[len(self._words)] = label
        return self._add(0x05)

    def label(self, name: str) -> Program:
        """Name this place."""
        self._labels[name] = len(self._words)
        return self

    def leave(self) -> Program:
        """End the program."""
        return self._add(0x95)

    def code(self) -> bytes:
        """Return the instructions."""
        words = list(self._words)
        for at, label in self._jumps.items():
            distance = self._labels[label] - at - 1
            words[at] = words[at][:2] + struct.pack("<h", distance) + words[at][4:]
        return b"".join(words)


def create_map(kind: MapKind, entries: int, key: int = 0, value: int = 0) -> Map:
    """Create a map. entries: of a ring, B. Raises OSError."""
    fd = _bpf(_MAP_CREATE, struct.pack("<IIIII", _MAP_KINDS[kind], key, value, entries, 0))
    return Map(fd, key, value)


def update(shared: Map, key: bytes, value: bytes) -> None:
    """Set the value of a key. Raises OSError."""
    kept = ctypes.create_string_buffer(key, shared.key), ctypes.create_string_buffer(value, shared.value)
    _bpf(_MAP_UPDATE, struct.pack("<IIQQQ", shared.fd, 0, *map(ctypes.addressof, kept), 0))


def remove(shared: Map, key: bytes) -> None:
    """Remove a key. Raises OSError."""
    kept = ctypes.create_string_buffer(key, shared.key)
    _bpf(_MAP_DELETE, struct.pack("<IIQ", shared.fd, 0, ctypes.addressof(kept)))


def value_of(shared: Map, key: bytes) -> bytes:
    """Return the value of a key. Raises OSError."""
    asked, found = ctypes.create_string_buffer(key, shared.key), ctypes.create_string_buffer(shared.value)
    _bpf(_MAP_LOOKUP, struct.pack("<IIQQQ", shared.fd, 0, ctypes.addressof(asked), ctypes.addressof(found), 0))
    return found.raw


def tracepoint_types(names: Iterable[str]) -> dict[str, int]:
    """Return the number of each tracepoint's type. Raises OSError if the kernel has none."""
    return {each.removeprefix(_TYPED): found for each, found in type_numbers([_TYPED + name for name in names]).items()}


def attach(program: Program, tracepoint: int) -> int:
    """Load a program and run it whenever the kernel passes a tracepoint, until the returned descriptor is closed.

    tracepoint: the number of its type. As the kernel knows the types of what it passes, the program reads the members
    of structures by plain loads.

    Raises OSError.
    """
    code = program.code()
    instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(_LICENCE)
    # The kernel's reasons for a refusal would be in its log, but with a log it takes longer.
    words = (_TRACING, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(licence))
    loaded = _bpf(_LOAD, struct.pack("<IIQQ44xI36xI4x", *words, _OF_TRACEPOINT, tracepoint))
    try:
        return _bpf(_ATTACH, struct.pack("<QII", 0, loaded, 0))
    finally:
        os.close(loaded)


def _bpf(command: int, attributes: bytes) -> int:
    syscall, number = libc_syscall(), _BPF.get(os.uname().machine)
    if syscall is None or number is None:
        raise OSError(38, "this machine has no bpf(2)")
    kept = ctypes.create_string_buffer(attributes, len(attributes))
    made = syscall(number, command, kept, len(attributes))
    if made < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{os.strerror(code)} (bpf)")
    return int(made)


class Ring:
    """The reading end of a ring into which programs put records."""

    def __init__(self, shared: Map, size: int) -> None:
        """Map the ring. size: B, as it was created."""
        self._size = size
        self._read = mmap.mmap(shared.fd, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        # The data are mapped twice in a row, so that no record is cut at the end.
        self._data = mmap.mmap(shared.fd, _PAGE + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE)
        self._positions = memoryview(self._read).cast("Q")
        self._words = memoryview(self._data).cast("Q")

    def drain(self, handle: Callable[[memoryview], int]) -> None:
        """Hand what is in the ring to a function, in its place, and make as many B free as it says that it has used.

        The last records may be unfinished (see `finished`). The memory is the ring's: what is kept has to be copied.
        """
        begin, end = self._positions[0], self._words[0]
        first = _PAGE + begin % self._size
        with memoryview(self._data)[first : first + end - begin] as there:
            self._positions[0] = begin + handle(there)

    def close(self) -> None:
        """Unmap the ring."""
        self._positions.release()
        self._words.release()
        self._read.close()
        self._data.close()


def finished(taken: bytes | memoryview) -> int:
    """Return how many B at the beginning of what a ring holds, or of a copy, are records that are whole and finished.

    A record that a program still writes says so in its header.
    """
    words, at = memoryview(taken)[: len(taken) // 8 * 8].cast("Q"), 0
    while at < len(words) and not words[at] & _BUSY:
        after = at + 1 + ((words[at] & _LENGTH) + 7) // 8
        if after > len(words):
            break
        at = after
    return at * 8


def records_of(taken: bytes | memoryview) -> Iterable[int]:
    """Yield where each record of what a ring held begins, in words of 8 bytes. The word before is its header.

    The lower 30 bits of a header are the length of the record in B.
    """
    words, at = memoryview(taken).cast("Q"), 0
    while at < len(words) and not words[at] & _BUSY:
        if not words[at] & _DISCARDED:
            yield at + 1
        at += 1 + ((words[at] & _LENGTH) + 7) // 8
