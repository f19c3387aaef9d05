"""Translate one call of perf trace into strace's form: `pread64(fd: 3, buf: 0x7f, count: 8, pos: 64)` and the like."""

from __future__ import annotations

import re
from collections.abc import Callable

OPENS = frozenset({"open", "openat", "openat2", "creat"})
FORKS = frozenset({"clone", "clone3", "fork", "vfork"})
#: Calls that move data which no other call shows. perf does not print whether the kernel polls a ring.
_UNSEEN = frozenset({"io_uring_setup", "io_uring_enter", "io_submit"})

_FD = re.compile(r"\b(?:fd|fildes|oldfd|out_fd|fd_in|in_fd|fd_out): (-?\d{1,9})(?:<([^>]*)>)?")
_FIELD = {
    name: re.compile(rf"\b{name}: ([^,]+)")
    for name in ("flags", "pos", "len", "prot", "off", "whence", "offset", "cmd", "length", "clone_flags")
}
_PATHS = re.compile(r'\b(?:filename|pathname|path|oldname|newname): (?:"([^"]*)"|(/[^,]*))')


def descriptor(arguments: str) -> tuple[int, str | None] | None:
    """Return the first descriptor among the arguments, and the path that perf shows for it."""
    found = _FD.search(arguments)
    return None if found is None else (int(found[1]), found[2] or None)


def paths(arguments: str) -> list[str]:
    """Return the paths among the arguments, as far as perf could read them."""
    return [first or second for first, second in _PATHS.findall(arguments)]


def flags_of_open(name: str, arguments: str) -> str:
    """Return the flags of an open as strace writes them."""
    if name == "creat":
        return "O_WRONLY|O_CREAT|O_TRUNC"
    flags = "|".join(f"O_{word}" for word in (_field(arguments, "flags") or "RDONLY").split("|"))
    return flags if flags.startswith(("O_RDONLY", "O_WRONLY", "O_RDWR")) else f"O_RDONLY|{flags}"


def makes_thread(name: str, arguments: str) -> bool:
    """Return whether a fork makes a thread. clone3 usually does; perf does not print its arguments."""
    return name == "clone3" or "THREAD" in _field(arguments, "clone_flags").split("|")


def as_strace_prints(name: str, arguments: str) -> str | None:
    """Return a call as strace prints it, up to its result; None if it neither moves data nor concerns files."""
    if name in FORKS:
        return f"clone(child_stack=NULL, flags={'CLONE_THREAD' if makes_thread(name, arguments) else 'SIGCHLD'})"
    if name in _UNSEEN:
        return f"{name}()"
    if name in _ON_PATHS:
        kept = [f'"{path}"' for path in paths(arguments)]
        plain, needed = _ON_PATHS[name]
        return f"{plain}({', '.join(kept)})" if len(kept) >= needed else None
    descriptors = [f"{fd}<{path}>" if path else fd for fd, path in _FD.findall(arguments)]
    in_words = _ON_DESCRIPTORS.get(name)
    return in_words(name, descriptors, arguments) if descriptors and in_words is not None else None


#: The call as strace writes it, and how many paths it needs.
_ON_PATHS = {
    **dict.fromkeys(("unlink", "unlinkat"), ("unlink", 1)),
    **dict.fromkeys(("rename", "renameat", "renameat2"), ("rename", 2)),
    "execve": ("execve", 1),
}


def _field(arguments: str, name: str) -> str:
    found = _FIELD[name].search(arguments)
    return "" if found is None else found[1].strip()


def _number(arguments: str, name: str) -> str:
    text = _field(arguments, name)
    return text if re.fullmatch(r"\d{1,18}|0x[0-9a-f]{1,16}", text) else "0"


def _prefixed(prefix: str, words: str) -> str:
    return "|".join(f"{prefix}_{word}" for word in (words or "NONE").split("|"))


def _map(_: str, fds: list[str], arguments: str) -> str:
    protection, kind = _prefixed("PROT", _field(arguments, "prot")), _prefixed("MAP", _field(arguments, "flags"))
    return f"mmap(NULL, {_number(arguments, 'len')}, {protection}, {kind}, {fds[0]}, {_number(arguments, 'off')})"


def _duplicate(_: str, fds: list[str], arguments: str) -> str | None:
    return f"fcntl({fds[0]}, F_DUPFD, 0)" if _field(arguments, "cmd").startswith("DUPFD") else None


def _seek(_: str, fds: list[str], arguments: str) -> str:
    return f"lseek({fds[0]}, {_number(arguments, 'offset')}, SEEK_{_field(arguments, 'whence') or 'SET'})"


def _send(_: str, fds: list[str], __: str) -> str | None:
    return f"sendfile({fds[0]}, {fds[1]}, NULL, 0)" if len(fds) > 1 else None


def _copy(_: str, fds: list[str], __: str) -> str | None:
    return f"copy_file_range({fds[0]}, NULL, {fds[1]}, NULL, 0, 0)" if len(fds) > 1 else None


_ON_DESCRIPTORS: dict[str, Callable[[str, list[str], str], str | None]] = {
    **dict.fromkeys(("read", "readv", "write", "writev"), lambda name, fds, _: f"{name}({fds[0]}, , 0)"),
    **dict.fromkeys(
        ("pread64", "preadv", "pwrite64", "pwritev"),
        lambda name, fds, arguments: f"{name}({fds[0]}, , 0, {_number(arguments, 'pos')})",
    ),
    **dict.fromkeys(("close", "fsync", "fdatasync"), lambda name, fds, _: f"{name}({fds[0]})"),
    **dict.fromkeys(("dup", "dup2", "dup3"), lambda _, fds, __: f"dup({fds[0]})"),
    **dict.fromkeys(("sendfile", "sendfile64"), _send),
    "ftruncate": lambda _, fds, arguments: f"ftruncate({fds[0]}, {_number(arguments, 'length')})",
    "copy_file_range": _copy,
    "lseek": _seek,
    "fcntl": _duplicate,
    "mmap": _map,
}
