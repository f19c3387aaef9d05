"""A live view of an epoch: how fast, from where, and what waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.table import Table

from tiering.cache.stats import CacheStats
from tiering.cli.console import line
from tiering.cli.output import talk
from tiering.measure.bench import Moment
from tiering.units import counted, format_bytes, format_count, format_percent


class View:
    """The last moment of a run, and what it looks like."""

    def __init__(self) -> None:
        self.moment: Moment | None = None

    def watch(self, moment: Moment) -> None:
        """Take note of a moment."""
        self.moment = moment

    def stats(self) -> CacheStats | None:
        """Return what the cache had counted by then."""
        return self.moment.stats if self.moment else None

    @contextmanager
    def shown(self, *, live: bool) -> Iterator[None]:
        """Show the last moment on stderr, four times a second, where it is wanted."""
        if not live:
            yield
            return
        with Live(get_renderable=self.render, console=talk(), refresh_per_second=4, transient=True):
            yield

    def render(self) -> Table:
        """Draw the last moment."""
        shown = Table.grid(padding=(0, 2))
        shown.add_column()
        shown.add_column(justify="right")
        shown.add_column(justify="right")
        if (moment := self.moment) is None:
            return shown
        shown.add_row(line(moment.store, "bold"), f"epoch {moment.epoch + 1}", f"of {moment.epochs}")
        shown.add_row("samples", format_count(moment.samples), f"of {format_count(moment.of)}")
        shown.add_row("samples/s", format_count(moment.samples / moment.seconds if moment.seconds else 0), "")
        if (found := moment.stats) is None:
            return shown
        served = found.hits + found.misses
        for level, (count, size) in found.levels().items():
            shown.add_row(f"from {level}", format_percent(count / max(1, served), digits=3), format_bytes(size))
        shown.add_row("fetched", counted(found.origin_requests, "request"), format_bytes(found.origin_bytes))
        shown.add_row("repeated, hedged", f"{format_count(found.retries)}", f"{format_count(found.hedged)}")
        shown.add_row("in flight", format_count(found.in_flight), f"of {format_count(found.depth)}")
        shown.add_row("ahead", counted(found.ahead, "sample"), "")
        shown.add_row("waited", f"{found.stall_seconds:.1f} s", "")
        return shown
