"""An object store on loopback with the limits of a shared system: what all clients together get, and what each gets.

It serves the files below a directory as a bucket: listings, whole objects and byte ranges, as much of S3 as tiering's
readers need. Only reads of ranges are held back, so that opening a store costs nothing. Each request waits for its turn
(`total_iops`, `iops` of one client), then for the latency, and then for the bytes in front of it on the link of all
(`total_bandwidth`) and on that of its client (`bandwidth`). A client is the access key that signed the request.

It is a process of its own, whose processor time counts as that of the machine, not of a node.
"""

from __future__ import annotations

import asyncio
import mmap
import multiprocessing
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from html import escape
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "origin"


@dataclass(frozen=True)
class Limits:
    """What the server gives: B/s and requests/s of all clients together and of one, and s before each answer."""

    total_bandwidth: float = 1e12
    total_iops: float = 1e12
    bandwidth: float = 1e12
    iops: float = 1e12
    latency: float = 0.0


@dataclass
class Counts:
    """Requests for ranges, their bytes, how many were given up by the client, and s of processor time."""

    requests: int = 0
    bytes: int = 0
    given_up: int = 0
    cpu: float = 0.0


@dataclass
class Turns:
    """When the next request may pass, in s of the loop's clock. FIFO: each takes its turn after the one before."""

    free_at: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def take(self, name: str, now: float, seconds: float) -> float:
        self.free_at[name] = max(self.free_at[name], now) + seconds
        return self.free_at[name]


class Origin:
    """The bucket, its limits, and what they have been used for."""

    def __init__(self, root: Path) -> None:
        self.files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
        self.maps: dict[str, mmap.mmap] = {}
        self.reset(Limits())

    def reset(self, limits: Limits) -> None:
        self.limits, self.counts = limits, Counts(cpu=-time.process_time())
        self.turns = Turns()

    def ready_at(self, client: str, size: int, now: float) -> float:
        """Return when a request that arrives now has its last byte."""
        limits, take = self.limits, self.turns.take
        begun = max(
            take("requests", now, 1 / limits.total_iops) - 1 / limits.total_iops,
            take(f"requests of {client}", now, 1 / limits.iops) - 1 / limits.iops,
        )
        first = begun + limits.latency
        own = take(f"link of {client}", first, size / limits.bandwidth)
        return max(own, take("link", first, size / limits.total_bandwidth))

    def data(self, key: str) -> memoryview:
        if key not in self.maps:
            with self.files[key].open("rb") as file:
                self.maps[key] = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        return memoryview(self.maps[key])

    def listing(self, prefix: str, delimiter: str) -> bytes:
        keys, prefixes = [], set()
        for key in sorted(self.files):
            name, more, _ = key.removeprefix(prefix).partition(delimiter) if delimiter else (key, "", "")
            if key.startswith(prefix) and more:
                prefixes.add(f"{prefix}{name}{delimiter}")
            elif key.startswith(prefix):
                keys.append(key)
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;1&quot;</ETag><Size>{self.files[key].stat().st_size}</Size></Contents>"
            for key in keys
        )
        common = "".join(f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in prefixes)
        return (
            f'<?xml version="1.0"?><ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix>'
            f"<KeyCount>{len(keys)}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{contents}{common}"
            "</ListBucketResult>"
        ).encode()


class Answers(asyncio.Protocol):
    """One connection."""

    def __init__(self, origin: Origin) -> None:
        self._origin, self._received, self._waiting = origin, b"", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - a method of asyncio's
        self._origin.counts.given_up += self._waiting

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            self._answer(head.decode())

    def _answer(self, head: str) -> None:
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        split = urlsplit(target)
        key = unquote(split.path).removeprefix(f"/{BUCKET}").lstrip("/")
        if not key:
            asked = parse_qs(split.query)
            listing = self._origin.listing(asked.get("prefix", [""])[0], asked.get("delimiter", [""])[0])
            self._send(200, listing, method)
        elif key not in self._origin.files:
            self._send(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>", method)
        else:
            self._send_object(head, method, self._origin.data(key))

    def _send_object(self, head: str, method: str, data: memoryview) -> None:
        found = re.search(r"^range: bytes=(\d+)-(\d+)", head, re.IGNORECASE | re.MULTILINE)
        if not found:
            self._send(200, data, method)
            return
        begin, end = int(found[1]), min(len(data), int(found[2]) + 1)
        client = re.search(r"Credential=([^/]+)/", head)
        loop = asyncio.get_running_loop()
        ready = self._origin.ready_at(client[1] if client else "", end - begin, loop.time())
        self._origin.counts.requests += 1
        self._origin.counts.bytes += end - begin
        self._waiting += 1
        loop.call_at(ready, self._finish, data[begin:end], f"Content-Range: bytes {begin}-{end - 1}/{len(data)}\r\n")

    def _finish(self, data: memoryview, header: str) -> None:
        if not self._transport.is_closing():
            self._waiting -= 1
            self._send(206, data, "GET", header)

    def _send(self, status: int, data: bytes | memoryview, method: str, header: str = "") -> None:
        head = (
            f"HTTP/1.1 {status} {'OK' if status < 300 else 'Not Found'}\r\nContent-Length: {len(data)}\r\n{header}"
            'ETag: "1"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n'
            "Content-Type: binary/octet-stream\r\n\r\n"
        )
        self._transport.write(head.encode())  # type: ignore[attr-defined]
        if method != "HEAD":
            self._transport.write(data)  # type: ignore[attr-defined]


class Server:
    """The server as its clients' coordinator sees it. endpoint: http://127.0.0.1:port."""

    def __init__(self, port: int, control: Connection) -> None:
        self.endpoint, self._control = f"http://127.0.0.1:{port}", control

    def limit(self, limits: Limits) -> None:
        """Set the limits, and begin to count."""
        self._control.send(asdict(limits))
        self._control.recv()

    def counts(self) -> Counts:
        self._control.send(None)
        return Counts(**self._control.recv())


@contextmanager
def shared_origin(root: Path) -> Iterator[Server]:
    """Serve the files below a directory as a bucket, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(root, theirs), daemon=True)
    process.start()
    try:
        yield Server(ours.recv(), ours)
    finally:
        process.terminate()
        process.join()


def _run(root: Path, control: Connection) -> None:
    asyncio.run(_serve(Origin(root), control))


async def _serve(origin: Origin, control: Connection) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answers(origin), "127.0.0.1", 0, backlog=1024)

    def obey() -> None:
        try:
            wanted = control.recv()
        except EOFError:
            os._exit(0)
        if wanted is not None:
            origin.reset(Limits(**wanted))
        counts = asdict(origin.counts)
        control.send(counts | {"cpu": counts["cpu"] + time.process_time()})

    loop.add_reader(control.fileno(), obey)
    control.send(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()
