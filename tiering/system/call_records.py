"""The system calls that `CallRecorder` records, and what it copies of each (x86-64)."""

from __future__ import annotations

from typing import Final, NamedTuple

#: A record, in words of 8 bytes: time (ns since boot), process and thread, call, result, six arguments, and what was
#: copied from the process: a path that ends with a zero byte, or two blocks of 16 bytes. Where nothing was copied, it
#: may have fewer arguments: those that mean nothing are left out of the most frequent calls.
TIME, WHO, CALL, RESULT, ARGUMENTS, COPIED = 0, 1, 2, 3, 4, 10
#: B of a record without copies, of a block, and of the longest path.
HEAD, BLOCK, PATH = 80, 16, 4096
#: What records say besides calls: result of a fork: the child's thread, its process in the first argument; of an end:
#: the exit code as wait(2) has it; of a signal: its number. The path of an exec is that of its program.
FORK, END, EXEC, SIGNAL = 1024, 1025, 1026, 1027


class Copied(NamedTuple):
    """What to copy at the end of a call: "" (nothing), "path", "paths", "blocks", or "path and block"; and from where.

    first, second: the numbers of the arguments that point to it, from 0. arguments: how many are recorded.
    """

    what: str = ""
    first: int = 0
    second: int = 0
    arguments: int = 6

    @property
    def head(self) -> int:
        """B of a record without what was copied."""
        return (ARGUMENTS + self.arguments) * 8


_ONE, _THREE, _FOUR = (Copied(arguments=count) for count in (1, 3, 4))
_PLAIN, _FIRST, _SECOND = Copied(), Copied("path", 0), Copied("path", 1)

#: The number and the copies of each call.
_CALLS: Final[dict[str, tuple[int, Copied]]] = {
    "read": (0, _ONE), "write": (1, _ONE), "open": (2, _FIRST), "close": (3, _ONE), "lseek": (8, _THREE),
    "mmap": (9, _PLAIN), "pread64": (17, _FOUR), "pwrite64": (18, _FOUR), "readv": (19, _ONE),
    "writev": (20, _ONE), "pipe": (22, Copied("blocks", 0)), "dup": (32, _PLAIN), "dup2": (33, _PLAIN),
    "sendfile": (40, Copied("blocks", 2, 2)), "socket": (41, _PLAIN), "accept": (43, _PLAIN), "recvmsg": (47, _PLAIN),
    "socketpair": (53, Copied("blocks", 3, 3)), "fcntl": (72, _PLAIN), "fsync": (74, _PLAIN), "fdatasync": (75, _PLAIN),
    "truncate": (76, _FIRST), "ftruncate": (77, _PLAIN), "getdents": (78, _PLAIN), "chdir": (80, _FIRST),
    "fchdir": (81, _PLAIN), "rename": (82, Copied("paths", 0, 1)), "rmdir": (84, _FIRST), "creat": (85, _FIRST),
    "unlink": (87, _FIRST), "io_submit": (209, _PLAIN), "epoll_create": (213, _PLAIN), "getdents64": (217, _PLAIN),
    "inotify_init": (253, _PLAIN), "openat": (257, _SECOND), "unlinkat": (263, _SECOND),
    "renameat": (264, Copied("paths", 1, 3)), "splice": (275, Copied("blocks", 1, 3)), "sync_file_range": (277, _PLAIN),
    "signalfd": (282, _PLAIN), "timerfd_create": (283, _PLAIN), "eventfd": (284, _PLAIN), "accept4": (288, _PLAIN),
    "signalfd4": (289, _PLAIN), "eventfd2": (290, _PLAIN), "epoll_create1": (291, _PLAIN), "dup3": (292, _PLAIN),
    "pipe2": (293, Copied("blocks", 0)), "inotify_init1": (294, _PLAIN), "preadv": (295, _PLAIN),
    "pwritev": (296, _PLAIN), "perf_event_open": (298, _PLAIN), "fanotify_init": (300, _PLAIN),
    "renameat2": (316, Copied("paths", 1, 3)), "memfd_create": (319, _FIRST), "bpf": (321, _PLAIN),
    "userfaultfd": (323, _PLAIN), "copy_file_range": (326, Copied("blocks", 1, 3)), "preadv2": (327, _PLAIN),
    "pwritev2": (328, _PLAIN), "io_uring_setup": (425, Copied("blocks", 1, 1)), "io_uring_enter": (426, _PLAIN),
    "pidfd_open": (434, _PLAIN), "close_range": (436, _PLAIN), "openat2": (437, Copied("path and block", 1, 2)),
}  # fmt: skip

NUMBERS: Final = {name: number for name, (number, _) in _CALLS.items()}
NAMES: Final = {number: name for name, number in NUMBERS.items()}
COPIES: Final = dict(_CALLS.values())
