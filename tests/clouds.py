"""Servers that speak as Google's and Azure's buckets do, to test against.

Azure's is Azurite, Microsoft's own emulator. Of Google's, no emulator that runs here speaks the XML interface that
obstore uses; S3 servers nearly do, so that it is moto's behind a proxy which tells ETags as generations.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from tests.s3 import BUCKET, FaultyProxy, Handler, free_port

AZURITE = Path(sysconfig.get_path("scripts")).parent / "azurite/node_modules/.bin/azurite-blob"

#: Of every Azurite, in its documentation.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="session")
def gs_server(s3_endpoint: str) -> Iterator[str]:
    """The address of a server that has a bucket for gs:// URLs."""
    with GenerationsProxy(s3_endpoint, 0.0) as proxy:
        yield proxy.endpoint


@pytest.fixture(scope="session")
def az_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of a server that has a container for az:// URLs."""
    port = free_port()
    options = [
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        str(port),
        "--skipApiVersionCheck",
        "--silent",
        "--disableTelemetry",
    ]
    command = [AZURITE, *options, "--location", tmp_path_factory.mktemp("azurite")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            endpoint = f"http://127.0.0.1:{port}/{_ACCOUNT}"
            _make_container(server, endpoint)
            yield f"AccountName={_ACCOUNT};AccountKey={_KEY};BlobEndpoint={endpoint}"
        finally:
            server.terminate()


@pytest.fixture(params=["gs", "az"])
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a prefix that no other test uses; the environment points to the server."""
    return cloud_url(request, monkeypatch)


def cloud_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what `cloud` gives, to a fixture whose parameter is gs or az."""
    server = request.getfixturevalue(f"{request.param}_server")
    monkeypatch.setenv({"gs": "STORAGE_EMULATOR_HOST", "az": "AZURE_STORAGE_CONNECTION_STRING"}[request.param], server)
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    return f"{request.param}://{BUCKET}/{name}"


class _GenerationsHandler(Handler):
    """Tells generations for ETags: a generation is a number, made of the ETag, which is one of the contents."""

    seen: dict[str, str] = {}  # noqa: RUF012 - one for all requests

    def asked(self) -> list[tuple[str, str]]:
        headers = []
        for name, value in super().asked():
            if name.lower() == "x-goog-if-generation-match":
                known = self.seen.get(value, '"unknown"')
                headers.append(("If-None-Match", "*") if value == "0" else ("If-Match", known))
            elif name.lower() == "x-goog-copy-source":
                headers.append(("x-amz-copy-source", value))
            elif name.lower() == "authorization":
                assert value == "Bearer emulator"
                headers.append(
                    (
                        name,
                        "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
                    )
                )
            else:
                headers.append((name, value))
        return headers

    def told(self, answer: http.client.HTTPResponse) -> list[tuple[str, str]]:
        headers = super().told(answer)
        etag = answer.getheader("ETag")
        if etag:
            generation = str(int.from_bytes(hashlib.sha256(etag.encode()).digest()[:7]))
            self.seen[generation] = etag
            headers.append(("x-goog-generation", generation))
        return headers


class GenerationsProxy(FaultyProxy):
    """A proxy before an S3 server by which Google's clients can speak to it."""

    handler = _GenerationsHandler


def _make_container(server: subprocess.Popen[bytes], endpoint: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        date, version = formatdate(usegmt=True), "2021-08-06"
        resource = f"/{_ACCOUNT}/{_ACCOUNT}/{BUCKET}\nrestype:container"
        said = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{version}\n{resource}"
        signature = base64.b64encode(hmac.new(base64.b64decode(_KEY), said.encode(), hashlib.sha256).digest()).decode()
        headers = {"x-ms-date": date, "x-ms-version": version, "Authorization": f"SharedKey {_ACCOUNT}:{signature}"}
        try:
            urlopen(
                Request(f"{endpoint}/{BUCKET}?restype=container", method="PUT", headers=headers), timeout=10
            ).close()
        except (URLError, OSError) as error:
            if server.poll() is not None or time.monotonic() > deadline:
                message = f"Azurite did not answer at {endpoint} (exit status {server.poll()}): {error}"
                raise RuntimeError(message) from error
            time.sleep(0.2)
        else:
            return
