"""tiering bench: measure shuffled epochs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli.choices import MOST_SEED, Catalog, SharedGroup
from tiering.cli.emulated import show_emulated
from tiering.cli.field_trees import FieldTrees, patterns_of
from tiering.cli.output import JsonFlag, emit_json, note, out, table
from tiering.cli.selected import Split, Where, selected
from tiering.errors import UsageError
from tiering.units import counted, format_count, format_percent, format_rate, format_seconds

if TYPE_CHECKING:
    from tiering.cache.cached_store import CachedStore
    from tiering.images.crops import RandomResizedCrop
    from tiering.measure.measurement import Measurement
    from tiering.store.protocol import Store


def bench(
    stores: Annotated[
        list[str], typer.Argument(help="Stores to measure, and dataset directories to compare them with.")
    ],
    epochs: Annotated[int, typer.Option(help="Epochs to serve from each store. The first one is cold.")] = 3,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1 << 24,
            metavar="COUNT",
            help="Samples in a batch. By default 256, or as many as the emulated job takes.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Measure batches that are ready for training: random crops resized to this size, such as 224 or"
            " 160x320 (height x width), and flipped at random.",
        ),
    ] = None,
    emulate: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Emulate a training job, such as resnet50-h100, with the time that MLPerf Storage sets for each batch."
            " Shows how busy the accelerator is.",
        ),
    ] = None,
    samples_per_second: Annotated[
        str | None,
        typer.Option(
            metavar="COUNT", help="Emulate a training job that consumes this many samples per second, such as 3000."
        ),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Emulate a training job that computes this long on each batch, such as 20ms."
        ),
    ] = None,
    tier: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With an emulated job: the tier of the catalog to predict for. By default the measured device.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the shuffles.")] = 0,
    split: Split = None,
    where: Where = None,
    field: FieldTrees = None,
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
    catalog: Catalog = None,
    json: JsonFlag = False,
) -> None:
    """Measure how fast each store serves shuffled epochs, compared with the plain folder.

    The first epoch is cold if the kernel lets tiering drop the files from the page cache; later epochs are warm. The
    cold epoch is also compared with the device's own speed: random direct reads of 128 KiB, 32 at a time.

    With --emulate, --samples-per-second or --step, a training job computes on each batch, and its accelerator waits
    whenever the next one is late. Its utilisation, the share of time spent computing, is shown beside the prediction.

    With --images, images are decoded, cropped and written to one array a batch. Otherwise encoded images are served.

    With --split and --where, only some samples of each store are served. --field is for the folders among them.

    Example: `tiering bench photos/ photos.lmdb photos.zarr --emulate resnet50-h100`
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
        raise UsageError("--tier", expected="--emulate, --samples-per-second or --step beside it", found="none")

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
                raise UsageError("--metrics-port", expected="--cache-size beside it", found="no cache to count for")
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
    if crop is None:
        _say_what_was_served(found[0].store)
    else:
        _say_what_was_made(crop)
    if job is None:
        (_show_ready if crop else _show)(found)
    else:
        show_emulated(found, job, tier)
    _show_hits(found)
    if not all(each.cold for each in found):
        note("Some files stayed in the page cache, so their first epoch was not cold.")


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


def _say_what_was_served(store: str) -> None:
    from tiering.measure.decoding import decode_seconds
    from tiering.system.machine import usable_cores

    seconds = decode_seconds(store)
    if seconds is None:
        note("Nothing was decoded: the store holds pixels, or images that this machine cannot decode.")
        return
    cores = usable_cores()
    note(
        f"Encoded images were served, and not decoded. Decoding one takes {format_seconds(seconds)} in one thread, so "
        f"{cores} core{'s' if cores > 1 else ''} decode at most {format_count(cores / seconds)}/s. `tiering recommend` "
        "counts decoding; with --encoded it does not."
    )


def _show(found: list[Measurement]) -> None:
    shown = table("store", "kind", "epoch", "samples/s", "throughput", "of device", "vs folder")
    for each in found:
        share = "-" if each.first_vs_device is None else format_percent(each.first_vs_device)
        first = format_count(each.first_samples_per_s), format_rate(each.first_bytes_per_s), share
        later = format_count(each.later_samples_per_s), format_rate(each.later_bytes_per_s), "-"
        shown.add_row(each.store, each.kind, _first_epoch(each), *first, _times(each.first_vs_folder))
        shown.add_row("", "", "later", *later, _times(each.later_vs_folder))
    out().show(shown, drop=("of device", "kind", "throughput"))
    if limits := {format_rate(each.device_bytes_per_s) for each in found if each.device_bytes_per_s}:
        note(f"The device: {' and '.join(sorted(limits))} by random direct reads of 128 KiB, 32 at a time.")


def _say_what_was_made(crop: RandomResizedCrop) -> None:
    from tiering.images.picture import NATIVE
    from tiering.system.machine import usable_cores

    cores, (height, width) = usable_cores(), crop.sides
    how = "by the C extension" if NATIVE else "without the C extension, which is about twice as fast"
    note(
        f"Batches of random crops, 3 x {height} x {width} uint8: decoded, resized (antialiased) and flipped {how}, "
        f"on {counted(cores, 'thread')}."
    )


def _show_ready(found: list[Measurement]) -> None:
    shown = table("store", "kind", "epoch", "images/s", "per CPU-second", "vs folder")
    for each in found:
        per_cpu = format_count(each.samples / each.later_cpu_seconds) if each.later_cpu_seconds else "-"
        first, later = format_count(each.first_samples_per_s), format_count(each.later_samples_per_s)
        shown.add_row(each.store, each.kind, _first_epoch(each), first, "", _times(each.first_vs_folder))
        shown.add_row("", "", "later", later, per_cpu, _times(each.later_vs_folder))
    out().show(shown, drop=("kind", "vs folder"))


def _first_epoch(measured: Measurement) -> str:
    return "first, cold" if measured.cold else "first, cached"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f} x"


def _show_hits(found: list[Measurement]) -> None:
    """Print the measured hit ratio of caches beside the predicted one."""
    for each in found:
        if each.hit_ratio is not None:
            note(
                f"{each.store}: {format_percent(each.hit_ratio, digits=3)} of later epochs' samples "
                f"came from the cache; predicted {format_percent(each.predicted_hit_ratio or 0.0, digits=3)}."
            )
