"""What the threads of a process do at a moment: run, or wait for a disk, a lock, a pipe, a network or time.

The state in /proc/PID/task/TID/stat says whether a thread runs, waits for storage (D) or sleeps (S). For one that
sleeps, the kernel's function in which it waits says what for (`wchan`), and where the kernel hides that, the system
call does (`syscall`). Both need the same user; where neither can be read, the thread is "sleeping".
"""

from __future__ import annotations

import platform
from typing import Final, Literal, NamedTuple

from tiering.system.process_files import link_of, readable, threads_of
from tiering.system.remote_sockets import RemoteSockets

State = Literal["running", "disk", "lock", "pipe", "network", "sleeping"]

#: The functions of the kernel in which threads wait, by the beginning of their names (Linux 4.18 to 6.18).
_WAITS: Final[tuple[tuple[State, tuple[bytes, ...]], ...]] = (
    ("lock", (b"futex_", b"do_futex", b"locks_lock", b"flock_lock", b"fcntl_setlk", b"posix_lock", b"rwsem_", b"mutex_",
              b"__mutex_", b"do_semtimedop", b"__do_semtimedop", b"percpu_rwsem", b"down_")),
    ("pipe", (b"pipe_", b"anon_pipe_", b"fifo_", b"wait_for_partner", b"unix_", b"eventfd_", b"mq_", b"wq_sleep")),
    ("network", (b"sk_", b"inet_", b"tcp_", b"udp_", b"packet_")),
    ("disk", (b"request_wait_answer", b"fuse_", b"rpc_", b"nfs", b"ceph_", b"cifs_", b"wait_for_response", b"smb2_",
              b"folio_wait", b"folio_lock", b"io_schedule", b"wait_on_page", b"wait_on_buffer", b"blk_", b"jbd2_",
              b"submit_bio", b"__lock_page", b"lock_page", b"wait_on_bit", b"bit_wait", b"xfs_", b"ext4_", b"btrfs_",
              b"do_get_write_access", b"gfs2_", b"lustre_", b"cl_sync_io", b"ll_", b"p9_", b"netfs_")),
)  # fmt: skip
#: Waits for one of several descriptors.
_POLLS: Final = (b"poll_schedule", b"do_poll", b"do_select", b"ep_poll", b"do_epoll", b"do_sys_poll")
#: Waits for a socket of any family.
_SOCKETS: Final = (b"wait_woken", b"sock_", b"__sock_", b"__skb_wait", b"skb_wait")
#: Waits that a disk or server answers in state D, and that are for a lock within the kernel.
_KERNEL_LOCKS: Final = (b"rwsem_", b"mutex_", b"__mutex_", b"percpu_rwsem", b"down_")


class Calls(NamedTuple):
    """Numbers of system calls of an architecture, by what a thread waits for that is in one."""

    lock: frozenset[int]
    poll: frozenset[int]
    read_or_write: frozenset[int]
    socket: frozenset[int]
    accepting: frozenset[int]
    opening: frozenset[int]


_CALLS: Final = {
    "x86_64": Calls(
        lock=frozenset({202, 73}),
        poll=frozenset({7, 23, 232, 270, 271, 281, 441}),
        read_or_write=frozenset({0, 1, 17, 18, 19, 20, 295, 296, 327, 328, 40, 275, 326}),
        socket=frozenset({42, 44, 45, 46, 47, 299, 307}),
        accepting=frozenset({43, 288}),
        opening=frozenset({2, 257, 437, 4, 5, 6, 262, 332, 21, 269, 439, 78, 217, 89, 267, 85}),
    ),
    "aarch64": Calls(
        lock=frozenset({98, 32}),
        poll=frozenset({72, 73, 22, 21, 441}),
        read_or_write=frozenset({63, 64, 65, 66, 67, 68, 69, 70, 286, 287, 71, 76, 285}),
        socket=frozenset({203, 206, 207, 211, 212, 243, 269}),
        accepting=frozenset({202, 242}),
        opening=frozenset({56, 437, 79, 80, 291, 48, 439, 61, 78}),
    ),
}


class Moment(NamedTuple):
    """One thread at one moment. opening: whether it waits for storage to open or list files; None where unknown."""

    state: State
    opening: bool | None
    is_known: bool


class ThreadStates:
    """Reads what threads do, and remembers what the system did not let it see."""

    def __init__(self) -> None:
        self._calls = _CALLS.get(platform.machine())
        self._sockets = RemoteSockets()
        #: Whether sleeping threads could be told apart, at the last look at one.
        self.tells_waits: bool | None = None

    def of(self, pid: int, most: int) -> list[Moment]:
        """Return what the threads of a process do, the first thread first. most: how many threads to look at."""
        found = []
        for thread in threads_of(pid)[:most]:
            moment = self._thread(pid, thread)
            if moment is not None:
                found.append(moment)
        return found

    def _thread(self, pid: int, thread: int) -> Moment | None:
        at = f"/proc/{pid}/task/{thread}"
        stat = readable(f"{at}/stat")
        if not stat:
            return None
        state = stat[stat.rfind(b") ") + 2 : stat.rfind(b") ") + 3]
        if state == b"R":
            return Moment("running", None, is_known=True)
        if state in b"ZXxTt":
            return Moment("sleeping", None, is_known=True)
        function = readable(f"{at}/wchan").strip()
        if state == b"D":
            if function.startswith(_KERNEL_LOCKS):
                return Moment("lock", None, is_known=True)
            return Moment("disk", self._is_opening(at), is_known=True)
        return self._asleep(pid, at, function)

    def _asleep(self, pid: int, at: str, function: bytes) -> Moment:
        if function in (b"", b"0"):
            return self._by_call(pid, at)
        self.tells_waits = True
        for state, names in _WAITS:
            if function.startswith(names):
                return Moment(state, self._is_opening(at) if state == "disk" else None, is_known=True)
        if function.startswith(_POLLS):
            return Moment("network" if self._sockets.has_remote(pid) else "pipe", None, is_known=True)
        if function.startswith(_SOCKETS):
            return Moment(self._socket(pid, at), None, is_known=True)
        return Moment("sleeping", None, is_known=True)

    def _by_call(self, pid: int, at: str) -> Moment:
        words = readable(f"{at}/syscall").split()
        if self._calls is None or len(words) < 2 or not words[0].isdigit():
            self.tells_waits = self.tells_waits or False
            return Moment("sleeping", None, is_known=False)
        self.tells_waits = True
        number, calls = int(words[0]), self._calls
        state: State = "sleeping"
        opening = True if number in calls.opening else False if number in calls.read_or_write else None
        if number in calls.lock:
            state = "lock"
        elif number in calls.poll:
            state = "network" if self._sockets.has_remote(pid) else "pipe"
        elif number in calls.socket | calls.read_or_write:
            state = self._kind_of(pid, int(words[1], 16))
        elif opening:
            state = "disk"
        return Moment(state, opening, is_known=True)

    def _socket(self, pid: int, at: str) -> State:
        words = readable(f"{at}/syscall").split()
        if len(words) < 2 or not words[0].isdigit():
            return "network"
        if self._calls is not None and int(words[0]) in self._calls.accepting:
            # It waits for a client, as each of torch's workers has a thread do.
            return "sleeping"
        return self._kind_of(pid, int(words[1], 16))

    def _is_opening(self, at: str) -> bool | None:
        words = readable(f"{at}/syscall").split()
        if self._calls is None or not words or not words[0].isdigit():
            return None
        return int(words[0]) in self._calls.opening

    def _kind_of(self, pid: int, descriptor: int) -> State:
        """Return what a thread waits for that reads or writes a descriptor."""
        target = link_of(f"/proc/{pid}/fd/{descriptor}")
        if target is None:
            return "sleeping"
        if target.startswith("socket:["):
            return "network" if self._sockets.is_remote(pid, descriptor) else "pipe"
        if target.startswith(("pipe:", "anon_inode:", "/dev/pts", "/dev/tty")):
            return "pipe"
        return "disk"
