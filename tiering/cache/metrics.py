"""Metrics: the counts of a cache, for Prometheus to scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tiering.cache.stats import CacheStats
from tiering.errors import from_os_error


@contextmanager
def serve_metrics(stats: Callable[[], CacheStats | None], port: int, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve a cache's counts at http://HOST:PORT/metrics inside a `with` statement.

    Args:
        stats: The `stats` method of a loader or a cached store. While it returns None, there are no metrics.
        port: The port to listen on; 0 for any free one.
        host: The address to listen on. By default only this machine can connect; with "0.0.0.0" every machine can.

    Yields:
        The port.

    Raises:
        MachineError: If the port is taken.

    Example:
        >>> with tiering.serve_metrics(loader.stats, 9090):  # doctest: +SKIP
        ...     train(loader)
    """
    with serve_collector(_Counts(stats), port, host) as bound:
        yield bound


@contextmanager
def serve_collector(collector: Collector, port: int, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve what a collector collects, at each request, inside a `with` statement; yield the port.

    port: 0 for any free one. host: the address to listen on. Raises MachineError if the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        error.filename = f"{host} port {port}"
        raise from_os_error(error) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Counts(Collector):
    def __init__(self, stats: Callable[[], CacheStats | None]) -> None:
        self._stats = stats

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        found = self._stats()
        if found is None:
            return
        samples = CounterMetricFamily("tiering_samples", "Samples served, by where they came from.", labels=["level"])
        size = CounterMetricFamily("tiering_bytes", "Bytes served, by where they came from.", labels=["level"])
        for level, (count, total) in found.levels().items():
            samples.add_metric([level], count)
            size.add_metric([level], total)
        yield from (samples, size)
        for name, value, what in (
            ("tiering_origin_bytes", found.origin_bytes, "Bytes fetched from the origin."),
            ("tiering_origin_requests", found.origin_requests, "Requests to the origin."),
            ("tiering_origin_retries", found.retries, "Requests repeated because they failed."),
            ("tiering_origin_hedged", found.hedged, "Requests sent twice because they were late."),
            ("tiering_cache_admitted_bytes", found.admitted_bytes, "Bytes written into the cache."),
            ("tiering_skipped_samples", found.skipped, "Samples that could not be served and were replaced by others."),
            ("tiering_stall_seconds", found.stall_seconds, "Seconds for which reading waited for the origin."),
        ):
            yield CounterMetricFamily(name, what, value=value)
        for name, value, what in (
            ("tiering_origin_requests_in_flight", found.in_flight, "Requests that are running."),
            ("tiering_origin_requests_limit", found.depth, "Requests that may run at once."),
            ("tiering_samples_ahead", found.ahead, "Samples requested and not yet read."),
        ):
            yield GaugeMetricFamily(name, what, value=value)
