"""Which sockets lead to another host: local ones, connections of this host to itself, and one to another address."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

import pytest

from tiering.system.remote_sockets import RemoteSockets

_NEW_NETWORK = 0x40000000
_SET_ADDRESS, _SET_FLAGS = 0x8916, 0x8914


def far_socket() -> socket.socket:
    """Connect to an address that is not this host's, in a network of its own that has nothing but it."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        address = struct.pack("16sH2x4s8x", b"lo", socket.AF_INET, socket.inet_aton("198.51.100.1"))
        fcntl.ioctl(control, _SET_ADDRESS, address)
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH14x", b"lo", 1))
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    far.connect(("198.51.100.7", 9))
    return far


def test_local_sockets_lead_nowhere():
    left, right = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        sockets = RemoteSockets()
        assert not any(sockets.is_remote(os.getpid(), each.fileno()) for each in (left, right, server, near))
    left.close()
    right.close()


def test_a_connection_to_another_host_is_found_though_the_tables_were_read_before():
    now = 0.0
    to_parent, to_child = os.pipe()
    ask, answer = os.pipe()
    child = os.fork()
    if not child:
        far = far_socket()
        os.write(to_child, f"{far.fileno()}\n".encode())
        os.read(ask, 1)
        os._exit(0)
    try:
        descriptor = os.read(to_parent, 20).decode().strip()
        sockets = RemoteSockets(lambda: now)
        assert sockets.is_remote(child, descriptor)
        assert sockets.has_remote(child)
        assert not sockets.is_remote(child, ask), "a pipe"
        assert not sockets.is_remote(child, "999"), "not open"
    finally:
        os.write(answer, b"x")
        os.waitpid(child, 0)
    now = 10.0
    assert not sockets.has_remote(child), "it has ended"


@pytest.mark.parametrize("pid", [0, 1 << 30])
def test_a_process_that_is_not_there_has_none(pid):
    assert not RemoteSockets().has_remote(pid)
