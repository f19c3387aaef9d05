"""tiering bench: measure shuffled epochs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli import completion
from tiering.cli.choices import MOST_SEED, Catalog, SharedGroup
from tiering.cli.field_trees import FieldTrees, patterns_of
from tiering.cli.measured import show
from tiering.cli.output import JsonFlag, MetricsHost, MetricsPort, emit_json, note
from tiering.cli.panels import CACHE, JOB, MEASURING, OUTPUT
from tiering.cli.selected import Split, Where, selected
from tiering.errors import UsageError

if TYPE_CHECKING:
    from tiering.cache.cached_store import CachedStore
    from tiering.store.protocol import Store


def bench(
    stores: Annotated[
        list[str],
        typer.Argument(
            metavar="STORE...",
            autocompletion=completion.stores,
            help="Stores to measure, and directories of images to compare them with.",
        ),
    ],
    epochs: Annotated[
        int,
        typer.Option(
            rich_help_panel=MEASURING, metavar="COUNT", help="Epochs to serve from each store. The first one is cold."
        ),
    ] = 3,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1 << 24,
            metavar="COUNT",
            show_default=False,
            rich_help_panel=MEASURING,
            help="Samples in a batch. By default 256, or what the emulated job takes.",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="SIDE|HxW",
            rich_help_panel=MEASURING,
            help="Serve decoded images: random crops, resized to 224 or to 160x320.",
        ),
    ] = None,
    emulate: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=JOB,
            autocompletion=completion.emulated_jobs,
            help="Emulate a job of MLPerf Storage, such as resnet50-h100.",
        ),
    ] = None,
    samples_per_second: Annotated[
        str | None,
        typer.Option(
            metavar="COUNT",
            rich_help_panel=JOB,
            help="Emulate a job that takes this many samples per second, such as 3000.",
        ),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            rich_help_panel=JOB,
            help="Emulate a job that computes this long on each batch, such as 20ms.",
        ),
    ] = None,
    tier: Annotated[
        str | None,
        typer.Option(
            metavar="TIER",
            rich_help_panel=JOB,
            autocompletion=completion.tiers,
            help="Tier to predict an emulated job for. By default the measured device.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, max=MOST_SEED, rich_help_panel=MEASURING, metavar="NUMBER", help="Seed of the shuffles."),
    ] = 0,
    split: Split = None,
    where: Where = None,
    field: FieldTrees = None,
    cache_size: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=CACHE,
            metavar="SIZE",
            help="Put a cache of this size, such as 200GB, in front of each store.",
        ),
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=CACHE, metavar="DIR", help="Directory of the cache. By default below your cache directory."
        ),
    ] = None,
    cache_ram: Annotated[
        str,
        typer.Option(
            rich_help_panel=CACHE, metavar="SIZE", help="Second cache, in memory, for what does not fit into the first."
        ),
    ] = "0",
    shared_group: SharedGroup = False,
    live: Annotated[
        bool,
        typer.Option(
            "--live", rich_help_panel=OUTPUT, help="Show rates, cache levels and waiting times while it runs."
        ),
    ] = False,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    catalog: Catalog = None,
    json: JsonFlag = False,
) -> None:
    """Measure how fast each store serves shuffled epochs, compared with the plain folder.

    The first epoch is cold if the kernel lets tiering drop the files from the page cache; later epochs are warm. The
    cold epoch is also compared with the device's own speed: random direct reads of 128 KiB, 32 at a time.

    With --emulate, --samples-per-second or --step, a training job computes on each batch, and its accelerator waits
    whenever the next one is late. Its utilisation, the share of time spent computing, is shown beside the prediction.
    --emulate takes the time that MLPerf Storage sets for each batch.

    With --images, images are decoded, cropped and flipped at random, and written to one array a batch. Otherwise
    encoded images are served.

    With --split and --where, only some samples of each store are served. --field is for the folders among them.

    Example: `tiering bench photos/ photos.lmdb photos.zarr`
    """
    from tiering import cached
    from tiering.advice.catalog import load_catalog, tier_named
    from tiering.cli.live import View
    from tiering.images.crops import RandomResizedCrop
    from tiering.images.shape import parse_size
    from tiering.measure.bench import bench as run
    from tiering.measure.emulated_job import emulated_job
    from tiering.units import parse_number, parse_seconds

    job = None
    if emulate is not None or samples_per_second is not None or step is not None:
        job = emulated_job(
            emulate,
            samples_per_s=None if samples_per_second is None else parse_number(samples_per_second),
            step_s=None if step is None else parse_seconds(step),
            batch_size=batch_size,
        )
    elif tier is not None:
        raise UsageError("--tier", rule="needs --emulate, --samples-per-second or --step beside it")

    crop = None if images is None else RandomResizedCrop(parse_size(images, "images"), flip=0.5)
    behind = (
        None
        if cache_size is None
        else partial(cached, size=cache_size, directory=cache_dir, ram=cache_ram, shared_group=shared_group)
    )
    view = View()
    with ExitStack() as around:
        if metrics_port is not None:
            if cache_size is None:
                raise UsageError("--metrics-port", rule="needs --cache-size beside it")
            from tiering.cache.metrics import serve_metrics

            port = around.enter_context(serve_metrics(view.stats, metrics_port, metrics_host))
            note(f"Metrics: http://{metrics_host}:{port}/metrics")
        around.enter_context(view.shown(live=live))
        found = run(
            around.enter_context(closing(_opened(stores, split, where, patterns_of(field), behind))),
            epochs=epochs,
            batch_size=batch_size or 256,
            seed=seed,
            images=crop,
            job=job,
            tier=None if tier is None else tier_named(load_catalog(catalog), tier, "tier"),
            progress=None if json else note,
            watch=view.watch if live or metrics_port is not None else None,
        )
    if json:
        emit_json({"measurements": found}, "benchmark")
        return
    show(found, crop, job, tier)


def _opened(
    stores: list[str],
    split: list[str] | None,
    where: str | None,
    fields: dict[str, str],
    behind: Callable[[Store], CachedStore] | None,
) -> Generator[Store, None, None]:
    """Open one store after the other, select from it, and put it behind a cache if there is one."""
    from tiering.store.open import is_store, open_store

    for path in stores:
        with open_store(path, fields=None if fields and is_store(path) else fields) as store:
            chosen = selected(store, split, where)
            if behind is None:
                yield chosen
                continue
            with behind(chosen) as cache:
                yield cache
