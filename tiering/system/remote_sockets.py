"""Which sockets of a process lead to another host.

The kernel tells the protocol of a socket in an attribute of its descriptor, and nearly all sockets of a job are local
ones. Where connections lead is in tables (/proc/PID/net) that it takes milliseconds to write. So they are read for
Internet sockets alone, and again only when one appears that they did not hold, at most every few seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from tiering.system.process_files import link_of, readable

#: s between readings of a process's descriptors, and of the tables for sockets that they did not hold.
_PATIENCE: Final = 2.0
_TABLE_PATIENCE: Final = 5.0
#: s after which everything is read again: a socket may have been connected since.
_KEPT: Final = 60.0
_TABLES: Final = ("tcp", "tcp6", "udp", "udp6")
_MOST_PROCESSES: Final = 4096
#: Of a socket, as lsof reads it: "TCP", "UDPv6", "UNIX-STREAM", "NETLINK".
_PROTOCOL: Final = "system.sockprotoname"


class RemoteSockets:
    """Tells sockets to other hosts from local ones. clock: s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: By name space of networks: when its tables were read, which sockets they held, and the remote ones.
        self._tables: dict[str, tuple[float, set[int], set[int]]] = {}
        #: By process: when it was asked, and whether it had a remote socket.
        self._processes: dict[int, tuple[float, bool]] = {}

    def is_remote(self, pid: int, descriptor: str | int) -> bool:
        """Return whether a descriptor is a socket that leads to another host."""
        inode = _internet_socket(f"/proc/{pid}/fd/{descriptor}")
        return inode is not None and self._leads_away(pid, {inode})

    def has_remote(self, pid: int) -> bool:
        """Return whether a process has any connection to another host; what it had up to two seconds ago."""
        now = self._clock()
        asked, found = self._processes.get(pid, (-_KEPT, False))
        if now - asked < _PATIENCE:
            return found
        try:
            with os.scandir(f"/proc/{pid}/fd") as entries:
                sockets = {inode for entry in entries if (inode := _internet_socket(entry.path)) is not None}
        except OSError:
            sockets = set()
        if len(self._processes) >= _MOST_PROCESSES:
            self._processes.clear()
        found = bool(sockets) and self._leads_away(pid, sockets)
        self._processes[pid] = now, found
        return found

    def _leads_away(self, pid: int, sockets: set[int]) -> bool:
        now, space = self._clock(), link_of(f"/proc/{pid}/ns/net") or ""
        read, known, remote = self._tables.get(space, (-_KEPT, set(), set()))
        if now - read > _KEPT or (now - read > _TABLE_PATIENCE and not known.issuperset(sockets)):
            known, remote = _connections(pid)
            self._tables[space] = now, known, remote
        return not remote.isdisjoint(sockets)


def _internet_socket(path: str) -> int | None:
    """Return the inode of a socket of TCP or UDP; None of anything else. path: a link in /proc/PID/fd."""
    target = link_of(path) or ""
    if not target.startswith("socket:["):
        return None
    try:
        protocol = os.getxattr(path, _PROTOCOL)
    except OSError:
        protocol = b"TCP"
    return int(target[8:-1]) if protocol.startswith((b"TCP", b"UDP", b"MPTCP")) else None


def _connections(pid: int) -> tuple[set[int], set[int]]:
    """Return the sockets (inodes) of a process's network, and those of them that are connected to another host."""
    known, remote = set(), set()
    for name in _TABLES:
        for line in readable(f"/proc/{pid}/net/{name}").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[9].isdigit():
                known.add(int(fields[9]))
                if not _is_here(fields[2].split(b":")[0]):
                    remote.add(int(fields[9]))
    return known, remote


def _is_here(address: bytes) -> bool:
    """Return whether an address of /proc/net is none, or this host by its loopback (127.0.0.0/8, ::1, or mapped)."""
    if set(address) <= {ord("0")}:
        return True
    if len(address) == 8:
        return address.endswith(b"7F")
    return address == b"00000000000000000000000001000000" or (address.endswith(b"7F") and b"FFFF0000" in address)
