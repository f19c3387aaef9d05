"""A web server that hands out files to those who bring what opens them, as presigned URLs and passwords do."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

#: What no file, message or log may ever hold.
CANARY = "cAnArY7f3Q"


@contextmanager
def guarded_server(root: Path) -> Iterator[str]:
    """Serve the files below a directory to requests with the right signature or password; give host:port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"root": root}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def presigned(host: str, name: str, secret: str = CANARY) -> str:
    """Return a URL as S3 signs them."""
    signed = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={secret}%2F20260101%2Fs3&X-Amz-Signature={secret}"
    return f"http://{host}/{name}?{signed}"


class _Handler(BaseHTTPRequestHandler):
    root: Path

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(403, b"")  # a signature is for one method

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        path = self.root / unquote(split.path).lstrip("/")
        password = f"Basic {base64.b64encode(f'me:{CANARY}'.encode()).decode()}"
        signed = parse_qs(split.query).get("X-Amz-Signature") == [CANARY]
        credential = parse_qs(split.query).get("X-Amz-Credential") == [f"{CANARY}/20260101/s3"]
        if not (signed and credential) and self.headers.get("Authorization") != password:
            self._answer(403, f"<Error><Code>AccessDenied</Code><Url>{self.path}</Url></Error>".encode())
        elif not path.is_file():
            self._answer(404, f"<Error><Code>NoSuchKey</Code><Url>{self.path}</Url></Error>".encode())
        else:
            self._send(path)

    def _send(self, path: Path) -> None:
        data, asked = path.read_bytes(), self.headers.get("Range", "")
        if not asked.startswith("bytes="):
            self._answer(200, data)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin = int(first) if first else max(0, len(data) - int(last))
        end = min(len(data), int(last) + 1) if first and last else len(data)
        if begin >= len(data):
            self._answer(416, b"")
            return
        self._answer(206, data[begin:end], {"Content-Range": f"bytes {begin}-{end - 1}/{len(data)}"})

    def _answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(data)), "Accept-Ranges": "bytes", "ETag": '"1"'} | (headers or {})
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def spilled(*places: Path) -> list[str]:
    """Return every file below some directories whose name or contents hold the canary."""
    found = []
    for place in places:
        for at, _, names in os.walk(place):
            for name in names:
                path = Path(at, name)
                if CANARY in str(path) or (path.is_file() and CANARY.encode() in path.read_bytes()):
                    found.append(str(path))
    return found
