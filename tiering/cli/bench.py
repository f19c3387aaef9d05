"""tiering bench: measure shuffled epochs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli.choices import MOST_SEED, SharedGroup
from tiering.cli.output import JsonFlag, emit_json, note, out, table
from tiering.errors import UsageError
from tiering.units import format_count, format_percent, format_rate

if TYPE_CHECKING:
    from tiering.cache.cached_store import CachedStore
    from tiering.measure.bench import Measurement


def bench(
    stores: Annotated[
        list[str], typer.Argument(help="Stores to measure, and dataset directories to compare them with.")
    ],
    epochs: Annotated[int, typer.Option(help="Epochs to serve from each store. The first one is cold.")] = 3,
    batch_size: Annotated[int, typer.Option(min=1, max=1 << 24, help="Samples in a batch.")] = 256,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the shuffles.")] = 0,
    cache_size: Annotated[
        str | None, typer.Option(help="Put a cache of this size, such as 200GB, in front of each store.")
    ] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Directory of the cache. By default below your cache directory.")
    ] = None,
    cache_ram: Annotated[
        str, typer.Option(help="Size of a second cache in memory, for samples that do not fit into the first.")
    ] = "0",
    shared_group: SharedGroup = False,
    live: Annotated[
        bool, typer.Option("--live", help="Show rates, cache levels and waiting times during the run.")
    ] = False,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve Prometheus metrics on this port, at /metrics.")
    ] = None,
    metrics_host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address for the metrics. 0.0.0.0 lets other machines read them.")
    ] = "127.0.0.1",
    json: JsonFlag = False,
) -> None:
    """Measure how fast each store serves shuffled epochs, compared with the plain folder.

    The first epoch is cold if the kernel lets tiering drop the files from the page cache; later epochs are warm. The
    cold epoch is also compared with the device's own speed: random direct reads of 128 KiB, 32 at a time.

    Example: `tiering bench photos/ photos.lmdb photos.zarr`
    """
    from tiering.cache.open import cached
    from tiering.cli.live import View
    from tiering.measure.bench import bench as run

    def behind_caches(size: str) -> Generator[CachedStore, None, None]:
        for path in stores:
            with cached(path, size, cache_dir, ram=cache_ram, shared_group=shared_group) as store:
                yield store

    view = View()
    with ExitStack() as around:
        if metrics_port is not None:
            if cache_size is None:
                raise UsageError("--metrics-port", expected="--cache-size beside it", found="no cache to count for")
            from tiering.cache.metrics import serve_metrics

            port = around.enter_context(serve_metrics(view.stats, metrics_port, metrics_host))
            note(f"Metrics: http://{metrics_host}:{port}/metrics")
        around.enter_context(view.shown(live=live))
        found = run(
            stores if cache_size is None else around.enter_context(closing(behind_caches(cache_size))),
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            progress=None if json else note,
            watch=view.watch if live or metrics_port is not None else None,
        )
    if json:
        emit_json({"measurements": found}, "benchmark")
        return
    _show(found)


def _show(found: list[Measurement]) -> None:
    shown = table("store", "kind", "epoch", "samples/s", "throughput", "of device", "vs folder")
    for each in found:
        rows = (
            ("first, cold" if each.cold else "first, cached", each.first_samples_per_s, each.first_bytes_per_s,
             each.first_vs_device, each.first_vs_folder),
            ("later", each.later_samples_per_s, each.later_bytes_per_s, None, each.later_vs_folder),
        )  # fmt: skip
        for number, (epoch, samples, size, share, ratio) in enumerate(rows):
            head = ("", "") if number else (each.store, each.kind)
            shares = ("-" if share is None else format_percent(share), "-" if ratio is None else f"{ratio:.1f} x")
            shown.add_row(*head, epoch, format_count(samples), format_rate(size), *shares)
    out().print(shown)
    if limits := {format_rate(each.device_bytes_per_s) for each in found if each.device_bytes_per_s}:
        note(f"The device: {' and '.join(sorted(limits))} by random direct reads of 128 KiB, 32 at a time.")
    for each in found:
        if each.hit_ratio is not None:
            note(
                f"{each.store}: {format_percent(each.hit_ratio, digits=3)} of later epochs' samples "
                f"came from the cache; predicted {format_percent(each.predicted_hit_ratio or 0.0, digits=3)}."
            )
    if not all(each.cold for each in found):
        note("Some files stayed in the page cache, so their first epoch was not cold.")
