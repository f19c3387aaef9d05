"""A real S3 server to test against, and a proxy before it that fails as S3 does."""

from __future__ import annotations

import http.client
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

BUCKET = "photos"

_SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message><RequestId>0</RequestId></Error>"
)
_NOT_IMPLEMENTED = (
    b"<Error><Code>NotImplemented</Code><Message>A header you provided is not implemented.</Message></Error>"
)
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_ANYBODY = "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
_CONDITIONS = ("if-match", "if-none-match")
_PIECE = 1 << 16
_FLIPS_IN_A_ROW = 3


@contextmanager
def s3_server(bucket: str = BUCKET) -> Iterator[str]:
    """Run an S3 server with an empty bucket in a process of its own; give its endpoint, http://127.0.0.1:port."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait(server, endpoint)
            urlopen(Request(f"{endpoint}/{bucket}", method="PUT"), timeout=30).close()
            yield endpoint
        finally:
            server.terminate()


@contextmanager
def s3_environment(endpoint: str) -> Iterator[None]:
    """Point everything that speaks S3 to an endpoint, in this process and the ones it starts."""
    wanted = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        # Without these a client on a machine in the cloud would ask that machine for credentials.
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    forget_connections()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        forget_connections()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The endpoint of one server for all tests of a process."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def s3(s3_endpoint: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a prefix that no other test uses; the environment points to the server."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    with s3_environment(s3_endpoint):
        yield f"s3://{BUCKET}/{name}"


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # clients connect 64 at a time; five wait by default


class FaultyProxy:
    """An HTTP proxy before a server that answers a share of the requests with S3's 503 SlowDown.

    target: the server's endpoint. share: of all requests, in [0, 1], chosen by a generator with that seed.
    endpoint: where the proxy listens, while it is entered. requests, failures: counted so far.
    broken_off: share of the answers with a body whose connection is cut early, counted as failures too; flipped: share
    of those in which a bit is changed, but never more than three times in a row for the same range of an object, so that
    a reader that asks five times is served for certain. dead: no request gets any answer. lost: of so many of the next writes, the answer
    is lost on the way. unconditional: writes under a condition are answered with 501, as by servers that know none.
    deaf: conditions are taken no notice of, as by other servers.
    answer: status and code by which every request is refused, as (403, "AccessDenied").
    key: the access key that every request must be signed with, "" for no signature at all; others are denied.
    """

    handler: type[BaseHTTPRequestHandler]

    def __init__(self, target: str, share: float, seed: int = 0, broken_off: float = 0.0) -> None:
        self.target = urlsplit(target)
        self.share, self.broken_off, self.flipped, self.dead = share, broken_off, 0.0, False
        self.lost, self.unconditional, self.deaf = 0, False, False
        self.key: str | None = None
        self.answer: tuple[int, str] | None = None
        self.requests = self.failures = 0
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._flips: Counter[tuple[str, str | None]] = Counter()

    def __enter__(self) -> Self:
        handler = type("Handler", (self.handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def draw(self, path: str, extent: str | None) -> tuple[bool, bool, bool]:
        """Count a request; return whether it fails, and whether its answer breaks off or has a wrong bit."""
        with self._lock:
            self.requests += 1
            shares = (self.share, self.broken_off, self.flipped)
            refused, cut, flip = (self._random.random() < share for share in shares)
            flip = flip and self._flips[path, extent] < _FLIPS_IN_A_ROW
            self._flips[path, extent] = self._flips[path, extent] + 1 if flip else 0
            self.failures += refused or cut or flip
            return refused, cut, flip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def log_message(self, *_: Any) -> None:
        pass

    def _forward(self) -> None:
        refused, cut, flip = self.proxy.draw(self.path, self.headers.get("Range"))
        if self.proxy.dead:
            self.close_connection = True
            return
        if refused:
            self._refuse()
            return
        if self._denied():
            return
        upstream = http.client.HTTPConnection(self.proxy.target.hostname, self.proxy.target.port, timeout=60)
        try:
            self._pass_on(upstream)
            answer = upstream.getresponse()
            if self.proxy.lost and self.command == "PUT":
                self.proxy.lost -= 1
                self.close_connection = True
                return
            self._relay(answer, cut=cut, flip=flip)
        finally:
            upstream.close()

    def _denied(self) -> bool:
        """Answer a request that the server would not let pass."""
        if self.proxy.answer is not None:
            status, code = self.proxy.answer
            self._refuse(status, f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode())
            return True
        signed = self.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]
        if self.proxy.key not in (None, signed):
            self._refuse(403, _DENIED)
            return True
        if (
            self.proxy.unconditional
            and self.command == "PUT"
            and any(name.lower() in _CONDITIONS for name in self.headers)
        ):
            self._refuse(501, _NOT_IMPLEMENTED)
            return True
        return False

    def _pass_on(self, upstream: http.client.HTTPConnection) -> None:
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.asked():
            upstream.putheader(name, value)
        if self.proxy.key == "":
            upstream.putheader("Authorization", _ANYBODY)  # the server itself lets nobody in unsigned
        upstream.endheaders()
        for piece in self._body(keep_chunks=True):
            upstream.send(piece)

    def asked(self) -> list[tuple[str, str]]:
        """Return the headers to ask the server with."""
        dropped = ("connection", "expect", *(_CONDITIONS if self.proxy.deaf else ()))
        return [(name, value) for name, value in self.headers.items() if name.lower() not in dropped]

    def told(self, answer: http.client.HTTPResponse) -> list[tuple[str, str]]:
        """Return the headers to answer with."""
        dropped = ("connection", "transfer-encoding", "server", "date")
        return [(name, value) for name, value in answer.getheaders() if name.lower() not in dropped]

    def _relay(self, answer: http.client.HTTPResponse, *, cut: bool, flip: bool) -> None:
        self.send_response(answer.status, answer.reason)
        for name, value in self.told(answer):
            self.send_header(name, value)
        length = answer.getheader("Content-Length")
        chunked = length is None and self.command != "HEAD"
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while self.command != "HEAD" and (piece := answer.read(_PIECE)):
            if flip:
                piece = piece[:-1] + bytes([piece[-1] ^ 1])
            if cut:
                self.wfile.write(piece[: len(piece) // 2])
                self.close_connection = True
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, status: int = 503, said: bytes = _SLOW_DOWN) -> None:
        for _ in self._body():
            pass
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    def _body(self, *, keep_chunks: bool = False) -> Iterator[bytes]:
        """Yield the request's body piece by piece, in chunks of HTTP's own where it came so."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data = self.rfile.read(size + 2)
                yield b"%x\r\n%s" % (size, data) if keep_chunks else data[:-2]
            self.rfile.readline()
            if keep_chunks:
                yield b"0\r\n\r\n"
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left and (piece := self.rfile.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward  # noqa: N815 - names that http.server calls


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], endpoint: str) -> None:
    deadline = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < deadline:
        try:
            urlopen(endpoint, timeout=5).close()
        except HTTPError:
            return
        except (URLError, OSError):
            time.sleep(0.05)
        else:
            return
    message = f"moto's server did not answer at {endpoint} (exit status {server.poll()})"
    raise RuntimeError(message)


def forget_connections() -> None:
    """Make s3fs connect anew: a connected file system keeps the endpoint that it began with."""
    s3fs = sys.modules.get("s3fs")
    if s3fs is not None:
        s3fs.S3FileSystem.clear_instance_cache()


FaultyProxy.handler = Handler
