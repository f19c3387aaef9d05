"""The metrics that Prometheus scrapes, and the live view in a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

import tiering
from tests.once import photographs
from tiering.errors import MachineError


@pytest.fixture(scope="module")
def lmdb(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("metrics") / "photos.lmdb"
    tiering.convert(photographs(tmp_path_factory, 600, classes=3), path, "lmdb", workers=1)
    return path


def scraped(port: int) -> dict[tuple[str, str], float]:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return {
        (sample.name, sample.labels.get("level", "")): sample.value for family in families for sample in family.samples
    }


def test_metrics_are_the_loaders_counts(lmdb, tmp_path):
    whole = tiering.open_store(lmdb).manifest.image_bytes
    store = tiering.cached(lmdb, int(0.7 * whole) + (1 << 20), tmp_path / "cache", ram=whole + (1 << 20))
    loader = tiering.Loader(store, 50)
    with tiering.serve_metrics(loader.stats, 0) as port:
        for _ in range(2):
            for _ in loader:
                pass
        found, stats = scraped(port), loader.stats()
    assert found["tiering_samples_total", "origin"] == stats.misses == 600
    assert found["tiering_samples_total", "memory"] == stats.ram_hits
    assert found["tiering_samples_total", "disk"] == stats.hits - stats.ram_hits > 0
    assert sum(found["tiering_bytes_total", level] for level in ("disk", "memory", "origin")) == 2 * whole
    assert found["tiering_origin_bytes_total", ""] == stats.origin_bytes
    assert found["tiering_origin_requests_in_flight", ""] == 0
    with pytest.raises(URLError):
        scraped(port)
    store.close()


def test_a_taken_port_is_a_named_error():
    with tiering.serve_metrics(lambda: None, 0) as port:
        assert not [name for name, _ in scraped(port) if name.startswith("tiering_")]
        with pytest.raises(MachineError, match=str(port)), tiering.serve_metrics(lambda: None, port):
            pass


def test_the_live_view_shows_rates_and_levels(lmdb, tmp_path):
    main, terminal = pty.openpty()
    command = [
        Path(sys.executable).with_name("tiering"),
        "bench",
        lmdb,
        "--epochs",
        "400",
        "--batch-size",
        "10",
        "--live",
    ]
    settings = ["--cache-size", "64MB", "--cache-dir", tmp_path / "cache", "--metrics-port", "0"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(
        [*command, *settings], stderr=terminal, stdout=subprocess.PIPE, env=environment, text=True
    ) as run:
        os.close(terminal)
        seen = ""
        try:
            while chunk := os.read(main, 4096):
                seen += chunk.decode(errors="replace")
        except OSError:  # the terminal is gone with the process
            pass
        assert run.wait() == 0, seen
    for word in ("Metrics: http://127.0.0.1:", "epoch", "samples/s", "from disk", "from memory", "in flight", "waited"):
        assert word in seen


def test_other_machines_can_connect_only_if_host_allows_it():
    """127.0.0.2 is this machine, too, by another of its addresses."""
    with tiering.serve_metrics(lambda: None, 0) as port:
        assert urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).status == 200
        with pytest.raises(URLError):
            urlopen(f"http://127.0.0.2:{port}/metrics", timeout=60)
    with tiering.serve_metrics(lambda: None, 0, "0.0.0.0") as port:
        assert urlopen(f"http://127.0.0.2:{port}/metrics", timeout=60).status == 200
