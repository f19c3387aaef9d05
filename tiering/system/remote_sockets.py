"""Which sockets of a process lead to another host.

The tables in /proc/PID/net hold the connections of all processes, and the kernel takes milliseconds to write them. So
what they said is kept, and they are read again when a socket appears that they did not hold, at most every two seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from tiering.system.process_files import link_of, read_bytes

#: s between readings of the tables for sockets that they did not hold, and of a process's descriptors.
_PATIENCE: Final = 2.0
#: s after which everything is read again: a socket may have been connected since.
_KEPT: Final = 30.0
_TABLES: Final = ("tcp", "tcp6", "udp", "udp6")
_MOST_PROCESSES: Final = 4096


class RemoteSockets:
    """Tells sockets to other hosts from local ones. clock: s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: By name space of networks: when its tables were read, which sockets they held, and the remote ones.
        self._tables: dict[str, tuple[float, set[int], set[int]]] = {}
        #: By process: when it was asked, and whether it had a remote socket.
        self._processes: dict[int, tuple[float, bool]] = {}

    def is_remote(self, pid: int, target: str) -> bool:
        """Return whether a socket leads to another host. target: the link of its descriptor, "socket:[4711]"."""
        return self._leads_away(pid, [int(target[8:-1])])

    def has_remote(self, pid: int) -> bool:
        """Return whether a process has any connection to another host; what it had up to two seconds ago."""
        now = self._clock()
        asked, found = self._processes.get(pid, (-_KEPT, False))
        if now - asked < _PATIENCE:
            return found
        try:
            with os.scandir(f"/proc/{pid}/fd") as entries:
                links = [link_of(entry.path) or "" for entry in entries]
        except OSError:
            links = []
        sockets = [int(link[8:-1]) for link in links if link.startswith("socket:[")]
        if len(self._processes) >= _MOST_PROCESSES:
            self._processes.clear()
        found = bool(sockets) and self._leads_away(pid, sockets)
        self._processes[pid] = now, found
        return found

    def _leads_away(self, pid: int, sockets: list[int]) -> bool:
        now, space = self._clock(), link_of(f"/proc/{pid}/ns/net") or ""
        read, known, remote = self._tables.get(space, (-_KEPT, set(), set()))
        if now - read > _KEPT or (now - read > _PATIENCE and not known.issuperset(sockets)):
            known, remote = _connections(pid)
            # Sockets of other families are in none of the tables, and need not be looked for again.
            self._tables[space] = now, known | set(sockets), remote
        return not remote.isdisjoint(sockets)


def _connections(pid: int) -> tuple[set[int], set[int]]:
    """Return the sockets (inodes) of a process's network, and those of them that are connected to another host."""
    known, remote = set(), set()
    for name in _TABLES:
        for line in _readable(f"/proc/{pid}/net/{name}").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[9].isdigit():
                known.add(int(fields[9]))
                if not _is_here(fields[2].split(b":")[0]):
                    remote.add(int(fields[9]))
    return known, remote


def _readable(path: str) -> bytes:
    try:
        return read_bytes(path) or b""
    except OSError:
        return b""


def _is_here(address: bytes) -> bool:
    """Return whether an address of /proc/net is none, or this host by its loopback (127.0.0.0/8, ::1, or mapped)."""
    if set(address) <= {ord("0")}:
        return True
    if len(address) == 8:
        return address.endswith(b"7F")
    return address == b"00000000000000000000000001000000" or (address.endswith(b"7F") and b"FFFF0000" in address)
